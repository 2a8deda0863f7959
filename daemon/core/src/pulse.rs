//! Decides when a worker that says nothing is taken for one that hangs.
//!
//! Input starts it: a question goes along, and any word of the worker answers. While nobody types
//! or moves nothing is asked, and no deadline runs.

use std::time::{Duration, Instant};

use sandbox_protocol::{Deadline, Wakeup};

/// How long a worker may be silent after a question, and how long its answer holds. Answers take
/// a millisecond; a machine that starts ten desktops at once makes them wait for two seconds.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// The pulse of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse(State);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing was asked yet.
    #[default]
    Unknown,
    /// It must have spoken by then.
    Asked { until: Instant },
    /// It has spoken; nothing is asked before then.
    Felt { until: Instant },
}

impl Pulse {
    /// Input goes to the worker; says whether a question shall go along.
    #[must_use]
    pub fn handle_input(&mut self, now: Instant) -> bool {
        match self.0 {
            State::Asked { .. } => return false,
            State::Felt { until } if now < until => return false,
            State::Unknown | State::Felt { .. } => {}
        }
        self.0 = State::Asked {
            until: now + SILENCE_MAX,
        };
        true
    }

    /// The worker has spoken.
    pub fn handle_word(&mut self, now: Instant) {
        if let State::Asked { .. } = self.0 {
            self.0 = State::Felt {
                until: now + SILENCE_MAX,
            };
        }
    }

    /// Lets time pass; says whether the worker hangs. It is said once.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        match self.0 {
            State::Asked { until } if now >= until => {
                self.0 = State::Unknown;
                true
            }
            State::Asked { .. } | State::Felt { .. } | State::Unknown => false,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub const fn poll_timeout(&self) -> Option<Deadline> {
        match self.0 {
            State::Asked { until } => Some(Deadline {
                at: until,
                why: Wakeup::SilentWorker,
            }),
            State::Felt { .. } | State::Unknown => None,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a first instant")]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    #[test]
    fn a_worker_that_answers_is_asked_once_in_a_while_and_no_timer_runs() {
        let mut pulse = Pulse::default();
        let began = Instant::now();
        let mut questions = 0;
        for milliseconds in 0..10_000 {
            let now = began + TICK * milliseconds;
            if pulse.handle_input(now) {
                questions += 1;
                pulse.handle_word(now + TICK);
            }
            assert_eq!(pulse.poll_timeout(), None);
            assert!(!pulse.handle_timeout(now));
        }
        assert_eq!(questions, 3);
    }

    #[test]
    fn a_silent_worker_is_noticed_once() {
        let mut pulse = Pulse::default();
        let began = Instant::now();
        assert!(pulse.handle_input(began));
        assert!(!pulse.handle_input(began + TICK), "one question is enough");
        let due = pulse.poll_timeout().unwrap().at;
        assert_eq!(due, began + SILENCE_MAX);
        assert!(!pulse.handle_timeout(due - TICK));
        assert!(pulse.handle_timeout(due));
        assert!(!pulse.handle_timeout(due));
        assert_eq!(pulse.poll_timeout(), None);
        assert!(pulse.handle_input(due), "the next worker is asked anew");
    }

    #[test]
    fn words_that_nobody_asked_for_start_nothing() {
        let mut pulse = Pulse::default();
        let began = Instant::now();
        pulse.handle_word(began);
        assert_eq!(pulse, Pulse::default());
        assert!(pulse.handle_input(began));
    }
}
