//! How often a process may fail before no other is started.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Failures within [`WINDOW`] that end it: one may be an accident, and each costs a whole picture.
const FAILURES_MAX: usize = 5;

const WINDOW: Duration = Duration::from_secs(60);

/// Remembers failures.
#[derive(Debug)]
pub(super) struct Failures {
    recent: VecDeque<Instant>,
}

impl Failures {
    pub(super) const fn new() -> Self {
        Self {
            recent: VecDeque::new(),
        }
    }

    /// Another failure. Returns whether it is one too many.
    pub(super) fn handle_failure(&mut self, now: Instant) -> bool {
        while self.recent.front().is_some_and(|it| *it + WINDOW <= now) {
            self.recent.pop_front();
        }
        if self.recent.len() < FAILURES_MAX {
            self.recent.push_back(now);
        }
        self.recent.len() == FAILURES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_fifth_within_a_minute_is_one_too_many() {
        let (mut failures, now) = (Failures::new(), clock::now());
        for second in 0..4 {
            assert!(!failures.handle_failure(now + Duration::from_secs(second)));
        }
        assert!(failures.handle_failure(now + Duration::from_secs(59)));
    }

    #[test]
    fn what_fails_now_and_then_goes_on() {
        let (mut failures, now) = (Failures::new(), clock::now());
        for n in 0..100 {
            assert!(!failures.handle_failure(now + Duration::from_secs(15) * n));
        }
    }
}
