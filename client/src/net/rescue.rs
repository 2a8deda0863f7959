//! Decides what is done about a connection by UDP that is not answered: at first it speaks from
//! another socket, for this machine may have another address; and another way is looked for.

use std::time::{Duration, Instant};

/// No way is given up sooner: a machine that is busy, a radio that changes its cell.
const SILENT_MIN: Duration = Duration::from_millis(1_500);

/// A probe's timeout (RFC 9002 §6.2.1) is a round trip and four times how much it varies; four of
/// them on a path that varies by an eighth.
const ROUND_TRIPS: u32 = 6;

/// After a search that found nothing.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// What is done, and when.
#[derive(Debug)]
pub(super) struct Rescue {
    /// There may be another way.
    may_search: bool,
    /// When the connection has not been answered for too long.
    due: Option<Instant>,
    has_rebound: bool,
    /// No search before that.
    again: Option<Instant>,
}

impl Rescue {
    pub(super) const fn new(may_search: bool) -> Self {
        Self {
            may_search,
            due: None,
            has_rebound: false,
            again: None,
        }
    }

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
            self.has_rebound = false;
            self.again = None;
        }
    }

    /// The search found nothing.
    pub(super) fn handle_failed(&mut self, now: Instant) {
        self.again = Some(now + AGAIN_AFTER);
    }

    /// Whether another socket is due: once in a silence.
    pub(super) fn poll_rebind(&mut self, now: Instant) -> bool {
        let is_due = !self.has_rebound && self.due.is_some_and(|it| it <= now);
        self.has_rebound |= is_due;
        is_due
    }

    /// Whether another way is looked for.
    pub(super) fn wants_search(&self, now: Instant) -> bool {
        self.search_due().is_some_and(|it| it <= now)
    }

    /// When to look again, where nothing is looked for yet.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.has_rebound {
            self.search_due()
        } else {
            self.due
        }
    }

    fn search_due(&self) -> Option<Instant> {
        let due = self.due.filter(|_| self.may_search);
        due.map(|it| self.again.map_or(it, |again| it.max(again)))
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
        let mut rescue = Rescue::new(true);
        assert_eq!(rescue.poll_timeout(), None);
        for (round_trip, wait) in [(None, 1_500), (Some(20), 1_500), (Some(600), 3_600)] {
            rescue.handle_silence(now, Some(now), round_trip.map(|it| it * MS));
            let due = now + wait * MS;
            assert_eq!(rescue.poll_timeout(), Some(due));
            assert!(!rescue.wants_search(due - MS) && rescue.wants_search(due));
            assert!(!rescue.poll_rebind(due - MS));
        }
    }

    #[test]
    fn an_answer_ends_the_search() {
        let now = Instant::now();
        let mut rescue = Rescue::new(true);
        rescue.handle_silence(now, Some(now - 2_000 * MS), None);
        assert!(rescue.wants_search(now));
        rescue.handle_silence(now, Some(now - 10 * MS), None);
        assert!(!rescue.wants_search(now));
        rescue.handle_silence(now, None, None);
        assert_eq!(rescue.poll_timeout(), None);
    }

    #[test]
    fn another_socket_is_tried_once_in_a_silence() {
        let now = Instant::now();
        let silent = Some(now - 2_000 * MS);
        for may_search in [false, true] {
            let mut rescue = Rescue::new(may_search);
            for _ in 0..2 {
                rescue.handle_silence(now, silent, None);
                assert!(rescue.poll_rebind(now));
                rescue.handle_silence(now, silent, None);
                assert!(!rescue.poll_rebind(now));
                assert_eq!(rescue.wants_search(now), may_search);
                assert_eq!(rescue.poll_timeout().is_some(), may_search);
                rescue.handle_silence(now, None, None);
            }
        }
    }

    #[test]
    fn a_search_that_found_nothing_is_followed_by_another_while_there_is_silence() {
        let now = Instant::now();
        let silent = Some(now - 2_000 * MS);
        let mut rescue = Rescue::new(true);
        rescue.handle_silence(now, silent, None);
        assert!(rescue.poll_rebind(now));
        rescue.handle_failed(now);
        rescue.handle_silence(now, silent, None);
        assert!(!rescue.wants_search(now));
        assert_eq!(rescue.poll_timeout(), Some(now + AGAIN_AFTER));
        assert!(rescue.wants_search(now + AGAIN_AFTER));
        // The next silence is another one.
        rescue.handle_silence(now, None, None);
        rescue.handle_silence(now, silent, None);
        assert!(rescue.wants_search(now));
    }
}
