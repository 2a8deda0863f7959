//! Decides when a process that says nothing is taken for one that hangs.
//!
//! Input starts it: a question goes along, and any word of the process answers. What comes while
//! an answer is fresh is asked about later. While nobody types or moves nothing is asked, and no
//! deadline runs.

use std::time::{Duration, Instant};

use sandbox_protocol::{Deadline, Wakeup};

/// The pulse of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// How long it may be silent after a question, and how long its answer is fresh.
    silence_max: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was asked yet.
    Unknown,
    /// It must have spoken by then.
    Asked { until: Instant },
    /// It has spoken; nothing is asked before then.
    Felt { until: Instant, had_input: bool },
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A question.
    Question,
    /// The end of patience: the process hangs. It is said once.
    End,
}

impl Pulse {
    /// Of a process that may be silent for so long.
    pub const fn new(silence_max: Duration) -> Self {
        Self {
            silence_max,
            state: State::Unknown,
        }
    }

    /// Input goes to the process; says whether a question shall go along.
    #[must_use]
    pub fn handle_input(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Asked { .. } => false,
            State::Felt { until, had_input } if now < *until => {
                *had_input = true;
                false
            }
            State::Unknown | State::Felt { .. } => {
                self.ask(now);
                true
            }
        }
    }

    /// The process has spoken.
    pub fn handle_word(&mut self, now: Instant) {
        if let State::Asked { .. } = self.state {
            self.state = State::Felt {
                until: now + self.silence_max,
                had_input: false,
            };
        }
    }

    /// Lets time pass.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        if self.poll_timeout().is_none_or(|it| now < it.at) {
            return None;
        }
        if let State::Asked { .. } = self.state {
            self.state = State::Unknown;
            return Some(Due::End);
        }
        self.ask(now);
        Some(Due::Question)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub const fn poll_timeout(&self) -> Option<Deadline> {
        match self.state {
            State::Asked { until }
            | State::Felt {
                until,
                had_input: true,
            } => Some(Deadline {
                at: until,
                why: Wakeup::Silence,
            }),
            State::Felt { .. } | State::Unknown => None,
        }
    }

    fn ask(&mut self, now: Instant) {
        self.state = State::Asked {
            until: now + self.silence_max,
        };
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a first instant")]
mod tests {
    use super::*;

    const SILENCE_MAX: Duration = Duration::from_secs(4);
    const TICK: Duration = Duration::from_millis(1);

    #[test]
    fn a_process_that_answers_is_asked_once_in_a_while_and_then_left_alone() {
        let mut pulse = Pulse::new(SILENCE_MAX);
        let began = Instant::now();
        let mut questions = 0;
        for milliseconds in 0..60_000 {
            let now = began + TICK * milliseconds;
            let is_typing = milliseconds < 10_000;
            let is_due = pulse.handle_timeout(now) == Some(Due::Question);
            if is_due || is_typing && pulse.handle_input(now) {
                questions += 1;
                pulse.handle_word(now + TICK);
            }
        }
        assert_eq!(questions, 4, "at 0, 4, 8, and about the rest at 12 s");
        assert_eq!(pulse.poll_timeout(), None);
    }

    #[test]
    fn a_silent_process_is_noticed_once() {
        let mut pulse = Pulse::new(SILENCE_MAX);
        let began = Instant::now();
        assert!(pulse.handle_input(began));
        assert!(!pulse.handle_input(began + TICK), "one question is enough");
        let due = pulse.poll_timeout().unwrap().at;
        assert_eq!(due, began + SILENCE_MAX);
        assert_eq!(pulse.handle_timeout(due - TICK), None);
        assert_eq!(pulse.handle_timeout(due), Some(Due::End));
        assert_eq!(pulse.handle_timeout(due), None);
        assert_eq!(pulse.poll_timeout(), None);
        assert!(pulse.handle_input(due), "the next one is asked anew");
    }

    #[test]
    fn input_right_after_an_answer_is_asked_about_too() {
        let mut pulse = Pulse::new(SILENCE_MAX);
        let began = Instant::now();
        assert!(pulse.handle_input(began));
        pulse.handle_word(began + TICK);
        assert_eq!(pulse.poll_timeout(), None);
        assert!(!pulse.handle_input(began + TICK));
        let asks = pulse.poll_timeout().unwrap().at;
        assert_eq!(pulse.handle_timeout(asks), Some(Due::Question));
        let due = pulse.poll_timeout().unwrap().at;
        assert_eq!(pulse.handle_timeout(due), Some(Due::End));
    }

    #[test]
    fn words_that_nobody_asked_for_start_nothing() {
        let mut pulse = Pulse::new(SILENCE_MAX);
        let began = Instant::now();
        pulse.handle_word(began);
        assert_eq!(pulse, Pulse::new(SILENCE_MAX));
        assert!(pulse.handle_input(began));
    }
}
