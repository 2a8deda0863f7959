//! Decides when a still picture is sent again, sharper, and when it is sharp enough to rest.

use std::time::{Duration, Instant};

use sandbox_protocol::{Deadline, Wakeup};

/// Quantisers of the steps, coarse to sharp: from 14 on text is beyond 45 dB.
pub const STEPS: [u8; 3] = [24, 18, 14];

/// After a change: motion at 15 frames a second is not interrupted, and a pause in it is.
const QUIET_AFTER_CHANGE: Duration = Duration::from_millis(80);

/// Between two steps: the link carries the step before, and input finds the encoder free.
const QUIET_BETWEEN_STEPS: Duration = Duration::from_millis(40);

/// A change that is legible already is worth less than the encoder's time between two keys of
/// somebody typing (5 to 8 a second).
const QUIET_WHEN_LEGIBLE: Duration = Duration::from_millis(220);

/// Up to this quantiser small text is legible.
const LEGIBLE_QP: u8 = 28;

/// A change of this many bytes gets its last step at once: that costs some three times as much,
/// which one burst of the pacer holds.
const SMALL_CHANGE_BYTES: usize = 16 << 10;

/// What has been encoded and has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its quantiser.
    pub qp: u8,
    /// Its size.
    pub bytes: usize,
    /// Whether it was a step of this machine, or showed a change.
    pub is_refinement: bool,
}

/// The way of one display's picture to sharpness.
#[derive(Debug, Default)]
pub struct Refinement {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The picture is as sharp as it gets, or is on its way there.
    #[default]
    Resting,
    /// The picture stands still until `at`, then gets sharper.
    Settling { at: Instant, qp: u8 },
    /// A step is due and waits until nothing else wants the encoder.
    Due { qp: u8 },
}

impl Refinement {
    /// A frame has left: whatever was planned for the picture before it is void.
    pub fn handle_sent(&mut self, sent: Sent, now: Instant) {
        let is_legible = sent.qp <= LEGIBLE_QP;
        let mut steps = STEPS.iter().filter(|it| **it < sent.qp);
        let step = if is_legible && sent.bytes <= SMALL_CHANGE_BYTES {
            steps.next_back()
        } else {
            steps.next()
        };
        let quiet = match (sent.is_refinement, is_legible) {
            (true, _) => QUIET_BETWEEN_STEPS,
            (false, true) => QUIET_WHEN_LEGIBLE,
            (false, false) => QUIET_AFTER_CHANGE,
        };
        self.state = step.map_or(State::Resting, |qp| State::Settling {
            at: now + quiet,
            qp: *qp,
        });
    }

    /// Nobody watches any more.
    pub const fn handle_detached(&mut self) {
        self.state = State::Resting;
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let State::Settling { at, qp } = self.state
            && at <= now
        {
            self.state = State::Due { qp };
        }
    }

    /// The quantiser to send the picture with. To be asked only when nothing else wants the
    /// encoder and the link has room; a step that is due waits for that.
    pub const fn poll_step(&mut self) -> Option<u8> {
        match self.state {
            State::Due { qp } => {
                self.state = State::Resting;
                Some(qp)
            }
            State::Resting | State::Settling { .. } => None,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub const fn poll_timeout(&self) -> Option<Deadline> {
        match self.state {
            State::Settling { at, .. } => Some(Deadline {
                at,
                why: Wakeup::Refinement,
            }),
            State::Resting | State::Due { .. } => None,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    const LARGE: usize = 100 << 10;

    /// Lets the machine do all it wants after one frame; returns the steps and the time taken.
    fn run(qp: u8, bytes: usize) -> (Vec<u8>, Duration) {
        let start = Instant::now();
        let mut now = start;
        let mut refinement = Refinement::default();
        let mut sent = Sent {
            qp,
            bytes,
            is_refinement: false,
        };
        let mut steps = Vec::new();
        loop {
            refinement.handle_sent(sent, now);
            let Some(deadline) = refinement.poll_timeout() else {
                return (steps, now - start);
            };
            assert_eq!(refinement.poll_step(), None, "before its time");
            now = deadline.at;
            refinement.handle_timeout(now);
            let qp = refinement.poll_step().expect("its time has come");
            steps.push(qp);
            assert!(steps.len() <= STEPS.len(), "{steps:?}");
            sent = Sent {
                qp,
                bytes: LARGE,
                is_refinement: true,
            };
        }
    }

    #[test]
    fn a_coarse_picture_becomes_sharp_step_by_step_and_then_rests() {
        let (steps, took) = run(45, LARGE);
        assert_eq!(steps, STEPS);
        assert_eq!(took, QUIET_AFTER_CHANGE + 2 * QUIET_BETWEEN_STEPS);
    }

    #[test]
    fn steps_that_would_not_sharpen_are_left_out() {
        assert_eq!(run(24, LARGE).0, [18, 14]);
        assert_eq!(run(15, LARGE).0, [14]);
        assert_eq!(run(14, LARGE).0, []);
        assert_eq!(run(1, LARGE).0, []);
    }

    #[test]
    fn a_small_legible_change_gets_its_last_step_at_once_but_later() {
        assert_eq!(run(20, SMALL_CHANGE_BYTES), (vec![14], QUIET_WHEN_LEGIBLE));
        assert_eq!(run(LEGIBLE_QP + 1, 1).0, STEPS, "a starved link stays slow");
    }

    #[test]
    fn a_new_frame_makes_the_planned_step_void() {
        let start = Instant::now();
        let mut refinement = Refinement::default();
        let sent = Sent {
            qp: 40,
            bytes: LARGE,
            is_refinement: false,
        };
        for frame in 0..10 {
            let now = start + frame * QUIET_AFTER_CHANGE / 2;
            refinement.handle_timeout(now);
            assert_eq!(refinement.poll_step(), None, "in motion");
            refinement.handle_sent(sent, now);
        }
    }

    #[test]
    fn a_due_step_waits_without_a_timer() {
        let start = Instant::now();
        let mut refinement = Refinement::default();
        let sent = Sent {
            qp: 40,
            bytes: LARGE,
            is_refinement: false,
        };
        refinement.handle_sent(sent, start);
        refinement.handle_timeout(start + QUIET_AFTER_CHANGE);
        assert_eq!(refinement.poll_timeout(), None);
        assert_eq!(refinement.poll_step(), Some(24));
        assert_eq!(refinement.poll_step(), None, "handed out once");
        refinement.handle_detached();
        assert_eq!(refinement.poll_timeout(), None);
    }
}
