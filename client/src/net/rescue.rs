//! Decides when another way is looked for beside a connection that is not answered.

use std::time::{Duration, Instant};

/// No way is given up sooner: a machine that is busy, a radio that changes its cell.
const SILENT_MIN: Duration = Duration::from_millis(1_500);

/// A probe's timeout (RFC 9002 §6.2.1) is a round trip and four times how much it varies; four of
/// them on a path that varies by an eighth.
const ROUND_TRIPS: u32 = 6;

/// After a search that found nothing.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// Whether and when.
#[derive(Debug, Default)]
pub(super) struct Rescue {
    /// When the connection has not been answered for too long.
    due: Option<Instant>,
    /// Not before.
    again: Option<Instant>,
}

impl Rescue {
    /// Since when the connection has not been answered, and how long that takes.
    pub(super) fn handle_silence(
        &mut self,
        now: Instant,
        since: Option<Instant>,
        round_trip: Option<Duration>,
    ) {
        let far = round_trip.unwrap_or_default() * ROUND_TRIPS;
        self.due = since.map(|it| it + far.max(SILENT_MIN));
        if self.due.is_none_or(|it| it > now) {
            self.again = None;
        }
    }

    /// The search found nothing.
    pub(super) fn handle_failed(&mut self, now: Instant) {
        self.again = Some(now + AGAIN_AFTER);
    }

    /// Whether another way is looked for.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|it| it <= now)
    }

    /// When that begins, or began.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
            .map(|it| self.again.map_or(it, |again| it.max(again)))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn silence_means_something_after_a_while_that_grows_with_the_way() {
        let now = Instant::now();
        let mut rescue = Rescue::default();
        assert_eq!(rescue.poll_timeout(), None);
        for (round_trip, wait) in [(None, 1_500), (Some(20), 1_500), (Some(600), 3_600)] {
            rescue.handle_silence(now, Some(now), round_trip.map(|it| it * MS));
            let due = now + wait * MS;
            assert_eq!(rescue.poll_timeout(), Some(due));
            assert!(!rescue.is_due(due - MS) && rescue.is_due(due));
        }
    }

    #[test]
    fn an_answer_ends_the_search() {
        let now = Instant::now();
        let mut rescue = Rescue::default();
        rescue.handle_silence(now, Some(now - 2_000 * MS), None);
        assert!(rescue.is_due(now));
        rescue.handle_silence(now, Some(now - 10 * MS), None);
        assert!(!rescue.is_due(now));
        rescue.handle_silence(now, None, None);
        assert_eq!(rescue.poll_timeout(), None);
    }

    #[test]
    fn a_search_that_found_nothing_is_followed_by_another_while_there_is_silence() {
        let now = Instant::now();
        let silent = Some(now - 2_000 * MS);
        let mut rescue = Rescue::default();
        rescue.handle_silence(now, silent, None);
        rescue.handle_failed(now);
        rescue.handle_silence(now, silent, None);
        assert!(!rescue.is_due(now));
        assert_eq!(rescue.poll_timeout(), Some(now + AGAIN_AFTER));
        assert!(rescue.is_due(now + AGAIN_AFTER));
        // The next silence is another one.
        rescue.handle_silence(now, None, None);
        rescue.handle_silence(now, silent, None);
        assert!(rescue.is_due(now));
    }
}
