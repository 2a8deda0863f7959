//! The round trip: smoothed for timers, smallest for telling the path from its queues.

use std::time::{Duration, Instant};

/// What is taken for a round trip before one was measured.
const GUESS: Duration = Duration::from_millis(100);

/// Longest sample that counts: beyond, the path was cut and says nothing about its length.
const SAMPLE_MAX: Duration = Duration::from_secs(2);

/// The smallest is searched in windows of this length, so that a longer path is noticed.
const WINDOW: Duration = Duration::from_secs(10);

/// The round trip of one path.
#[derive(Debug, Default)]
pub(crate) struct RoundTrip {
    smooth: Option<Duration>,
    present: Option<Duration>,
    before: Option<Duration>,
    since: Option<Instant>,
}

impl RoundTrip {
    /// One was measured.
    pub(crate) fn handle_sample(&mut self, now: Instant, sample: Duration) {
        if sample > SAMPLE_MAX {
            return;
        }
        self.smooth = Some(match self.smooth {
            Some(smooth) => (smooth * 7 + sample) / 8,
            None => sample,
        });
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) > WINDOW {
            self.since = Some(now);
            self.before = self.present.take();
        }
        self.present = Some(self.present.map_or(sample, |it| it.min(sample)));
    }

    /// Whether one was measured.
    pub(crate) const fn is_known(&self) -> bool {
        self.smooth.is_some()
    }

    /// Smoothed; a guess before the first.
    pub(crate) fn smooth(&self) -> Duration {
        self.smooth.unwrap_or(GUESS)
    }

    /// Smallest of late; a guess before the first.
    pub(crate) fn smallest(&self) -> Duration {
        let both = self.present.into_iter().chain(self.before);
        both.min().unwrap_or(GUESS)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_is_forgotten_after_two_windows() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut trip = RoundTrip::default();
        assert_eq!((trip.smooth(), trip.smallest()), (GUESS, GUESS));
        for (at, sample, smallest) in [(0, 20, 20), (1, 60, 20), (12, 60, 20), (23, 60, 60)] {
            trip.handle_sample(start + Duration::from_secs(at), ms(sample));
            assert_eq!(trip.smallest(), ms(smallest), "{at}");
        }
        trip.handle_sample(start, Duration::from_secs(3));
        assert!(trip.smooth() < ms(61));
    }
}
