//! Tells changes that the link hardly notices from motion.

use std::time::{Duration, Instant};

use sandbox_protocol::Bitrate;

/// What one part in so many of the link carries is no motion, however often it comes: video would
/// wait milliseconds for an encoder and a decoder each time, and be sharp only at rest.
const SHARE: u32 = 4;

/// So much of the link's time at once is none either: a window that comes to the front, and the
/// pages that are turned in it.
const BURST: Duration = Duration::from_millis(16);

/// Changes of so few bytes are none on any link.
const BYTES_MIN: usize = 2 << 10;

/// How long the link may be busy with changes that are no motion.
#[derive(Debug)]
pub(super) struct Allowance {
    left: Duration,
    at: Option<Instant>,
}

impl Allowance {
    pub(super) const fn new() -> Self {
        Self {
            left: BURST,
            at: None,
        }
    }

    /// A change of so many bytes is no motion. One that is uses up what there is.
    pub(super) fn covers(&mut self, bytes: usize, link: Bitrate, now: Instant) -> bool {
        let passed = self.at.map_or(Duration::ZERO, |it| {
            now.saturating_duration_since(it) / SHARE
        });
        self.at = Some(now);
        self.left = (self.left + passed).min(BURST);
        if bytes <= BYTES_MIN {
            return true;
        }
        let bits = bytes as f64 * 8.0;
        let takes = Duration::try_from_secs_f64(bits / link.bps() as f64).unwrap_or(Duration::MAX);
        let is_covered = takes <= self.left;
        self.left = self.left.saturating_sub(takes);
        is_covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const LINK: Bitrate = Bitrate::kbps(20_000);
    /// What it carries in a millisecond.
    const MILLI: usize = 2_500;

    /// Of so many changes at even distances, how many are covered.
    fn covered(changes: u32, gap: Duration, bytes: usize) -> u32 {
        let mut allowance = Allowance::new();
        let start = clock::now();
        let is_covered = |n: &u32| allowance.covers(bytes, LINK, start + gap * *n);
        u32::try_from((0..changes).filter(is_covered).count()).unwrap()
    }

    #[test]
    fn a_quarter_of_the_link_is_covered_for_ever_and_more_is_not() {
        let gap = Duration::from_millis(16);
        assert_eq!(covered(600, gap, 4 * MILLI), 600);
        let of_more = covered(600, gap, 9 * MILLI);
        assert!(of_more < 10, "{of_more} of 600");
    }

    #[test]
    fn a_few_pages_at_once_are_covered() {
        assert_eq!(covered(4, Duration::from_millis(5), 4 * MILLI), 4);
        assert!(covered(40, Duration::from_millis(5), 4 * MILLI) < 10);
        // One that the whole burst is too short for is motion from the start.
        assert_eq!(covered(1, Duration::ZERO, 17 * MILLI), 0);
    }

    #[test]
    fn little_is_covered_on_any_link() {
        let mut allowance = Allowance::new();
        let now = clock::now();
        assert!(!allowance.covers(1 << 20, Bitrate::kbps(100), now));
        assert!(allowance.covers(BYTES_MIN, Bitrate::kbps(100), now));
    }
}
