//! Decides when a still picture is sent again, sharper, and when it is sharp enough to rest.

use std::time::{Duration, Instant};

use sandbox_protocol::{Bitrate, Deadline, Wakeup};

/// Where refinement ends: text is beyond 50 dB.
pub const SHARP_QP: u8 = 14;

/// A step takes the link for this long at most: that is how late the answer to a key can be when
/// it is typed just then.
const STEP_MAX: Duration = Duration::from_millis(150);

/// All that has been spent on a picture doubles with every 12 quantisers. Text and noise at 1080p,
/// x264: 32 KB at 51, 193 KB at 24, 268 KB at 18, 338 KB at 14.
const QP_TO_DOUBLE: f64 = 12.0;

/// A step below this is not worth a frame.
const STEP_QP_MIN: u8 = 2;

/// After a change: motion at 15 frames a second is not interrupted, and a pause in it is.
const QUIET_AFTER_CHANGE: Duration = Duration::from_millis(80);

/// Between two steps, where the link carried the one before sooner: input finds the encoder free.
const QUIET_BETWEEN_STEPS: Duration = Duration::from_millis(40);

/// After a small change, legible already: worth less than the encoder's time between two keys of
/// somebody typing (5 to 8 a second).
const QUIET_WHEN_TYPING: Duration = Duration::from_millis(220);

/// Up to this quantiser small text is legible.
const LEGIBLE_QP: u8 = 28;

/// A legible change of this many bytes left most of the picture as it was.
const SMALL_CHANGE_BYTES: usize = 16 << 10;

/// Small changes (typing, a spinner in a corner) put a step off no longer than this: what is
/// coarse elsewhere must not stay so.
const PUT_OFF_MAX: Duration = Duration::from_secs(1);

/// What has been encoded and has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its quantiser.
    pub qp: u8,
    /// Its size.
    pub bytes: usize,
    /// What the link carries.
    pub target: Bitrate,
    /// Whether it was a step of this machine, or showed a change.
    pub is_refinement: bool,
}

impl Sent {
    /// Little changed. On a starved link a frame is small because it is coarse: that is no sign.
    fn is_small(&self) -> bool {
        self.qp <= LEGIBLE_QP && self.bytes <= SMALL_CHANGE_BYTES
    }
}

/// The way of one display's picture to sharpness.
#[derive(Debug, Default)]
pub struct Refinement {
    state: State,
    /// Bytes spent on what is not sharp in the present picture.
    spent: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The picture is as sharp as it gets, or is on its way there.
    #[default]
    Resting,
    /// The picture stands still until then.
    Settling(Step),
    /// A step is due and waits until nothing else wants the encoder.
    Due { qp: u8 },
}

/// What is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    at: Instant,
    /// Small changes may move `at` up to here.
    latest: Instant,
    qp: u8,
}

impl Refinement {
    /// A frame has left. What was planned for the picture before it is void, unless the change is
    /// a small one, which leaves most of that picture as it was.
    pub fn handle_sent(&mut self, sent: Sent, now: Instant) {
        let is_small = !sent.is_refinement && sent.is_small();
        let goes_on = sent.is_refinement || (is_small && self.state != State::Resting);
        self.spent = sent.bytes + if goes_on { self.spent } else { 0 };
        let step = self.step_after(sent, now);
        self.state = match (self.state, step) {
            (State::Settling(before), Some(step)) if is_small => State::Settling(Step {
                at: before.at.max(step.at.min(before.latest)),
                latest: before.latest,
                qp: before.qp.max(step.qp),
            }),
            (State::Due { qp }, Some(step)) if is_small => State::Due {
                qp: qp.max(step.qp),
            },
            (state, None) if is_small => state,
            (_, step) => step.map_or(State::Resting, State::Settling),
        };
    }

    /// What follows from a frame alone.
    fn step_after(&self, sent: Sent, now: Instant) -> Option<Step> {
        if sent.qp <= SHARP_QP {
            return None;
        }
        let sharpest = sent.qp.saturating_sub(STEP_QP_MIN).max(SHARP_QP);
        let is_carried = |qp: &u8| {
            let bytes = cost(self.spent, sent.qp - *qp);
            sent.target.time_for(bytes).is_some_and(|it| it <= STEP_MAX)
        };
        let (quiet, latest) = match (sent.is_refinement, sent.is_small()) {
            (true, _) => (QUIET_BETWEEN_STEPS, QUIET_BETWEEN_STEPS),
            (false, true) => (QUIET_WHEN_TYPING, PUT_OFF_MAX),
            (false, false) => (QUIET_AFTER_CHANGE, QUIET_AFTER_CHANGE),
        };
        let carried = now + sent.target.time_for(sent.bytes).unwrap_or(PUT_OFF_MAX);
        Some(Step {
            at: carried.max(now + quiet),
            latest: carried.max(now + latest),
            qp: (SHARP_QP..sharpest).find(is_carried).unwrap_or(sharpest),
        })
    }

    /// Nobody watches any more.
    pub const fn handle_detached(&mut self) {
        self.state = State::Resting;
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let State::Settling(Step { at, qp, .. }) = self.state
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
            State::Resting | State::Settling(_) => None,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub const fn poll_timeout(&self) -> Option<Deadline> {
        match self.state {
            State::Settling(Step { at, .. }) => Some(Deadline {
                at,
                why: Wakeup::Refinement,
            }),
            State::Resting | State::Due { .. } => None,
        }
    }
}

/// Bytes that a picture on which `spent` have been spent costs to get `quantisers` sharper.
fn cost(spent: usize, quantisers: u8) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate of some megabytes"
    )]
    let bytes = (spent as f64 * ((f64::from(quantisers) / QP_TO_DOUBLE).exp2() - 1.0)) as usize;
    bytes
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    const LARGE: usize = 100 << 10;
    const FAST: Bitrate = Bitrate::kbps(20_000);
    const SLOW: Bitrate = Bitrate::kbps(1_000);

    fn change(qp: u8, bytes: usize, target: Bitrate) -> Sent {
        Sent {
            qp,
            bytes,
            target,
            is_refinement: false,
        }
    }

    /// A step costs what this machine believes.
    fn refined(qp: u8, sent: Sent, spent: usize) -> Sent {
        Sent {
            qp,
            bytes: cost(spent, sent.qp - qp),
            is_refinement: true,
            ..sent
        }
    }

    /// Lets the machine do all it wants after one frame; returns the steps' quantisers and bytes,
    /// and the time taken.
    fn run(qp: u8, bytes: usize, target: Bitrate) -> (Vec<(u8, usize)>, Duration) {
        let start = Instant::now();
        let mut now = start;
        let mut refinement = Refinement::default();
        let mut sent = change(qp, bytes, target);
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
            sent = refined(qp, sent, refinement.spent);
            steps.push((qp, sent.bytes));
            assert!(steps.len() <= 20, "{steps:?}");
        }
    }

    #[test]
    fn a_fast_link_makes_a_coarse_picture_sharp_in_one_step() {
        let (steps, took) = run(25, LARGE, FAST);
        assert_eq!(steps.iter().map(|it| it.0).collect::<Vec<_>>(), [SHARP_QP]);
        assert_eq!(took, QUIET_AFTER_CHANGE);
        assert_eq!(run(20, 200, FAST).1, QUIET_WHEN_TYPING);
    }

    #[test]
    fn a_slow_link_is_never_taken_for_longer_than_a_step_may() {
        let (steps, took) = run(51, 32 << 10, SLOW);
        assert!(steps.len() > 5, "{steps:?}");
        assert_eq!(steps.last().map(|it| it.0), Some(SHARP_QP));
        assert!(steps.is_sorted_by(|a, b| a.0 > b.0), "{steps:?}");
        let above = steps.iter().filter(|it| it.0 > SHARP_QP + STEP_QP_MIN);
        for (qp, bytes) in above.rev().skip(3) {
            let time = SLOW.time_for(*bytes).unwrap();
            assert!(time <= STEP_MAX, "{time:?} for {qp}");
        }
        let bytes = steps.iter().map(|it| it.1).sum();
        assert!(
            took >= SLOW.time_for(bytes).unwrap(),
            "more than it carries"
        );
    }

    #[test]
    fn a_sharp_picture_needs_nothing() {
        for qp in [SHARP_QP, SHARP_QP - 1, 0] {
            assert_eq!(run(qp, LARGE, FAST).0, []);
        }
        assert_eq!(run(SHARP_QP + 1, LARGE, SLOW).0.len(), 1);
    }

    #[test]
    fn a_link_that_carries_nothing_is_not_divided_by() {
        let (steps, _) = run(SHARP_QP + 3, 1, Bitrate::default());
        assert_eq!(steps.len(), 2, "{steps:?}");
    }

    #[test]
    fn motion_is_not_refined_neither_on_a_fast_link_nor_on_a_starved_one() {
        for (qp, bytes, target) in [(40, LARGE, FAST), (20, LARGE, FAST), (40, 500, SLOW)] {
            let start = Instant::now();
            let mut refinement = Refinement::default();
            for frame in 0..100 {
                let now = start + frame * QUIET_AFTER_CHANGE / 2;
                refinement.handle_timeout(now);
                assert_eq!(refinement.poll_step(), None, "in motion");
                refinement.handle_sent(change(qp, bytes, target), now);
            }
        }
    }

    /// Sends small legible frames every `gap` for five seconds; returns the steps taken.
    fn run_small_changes(before: Option<Sent>, gap: Duration) -> Vec<u8> {
        let start = Instant::now();
        let mut refinement = Refinement::default();
        let mut steps = Vec::new();
        let mut newest = change(20, 200, FAST);
        if let Some(sent) = before {
            refinement.handle_sent(sent, start);
            newest = sent;
        }
        let mut next = start;
        while next < start + Duration::from_secs(5) {
            match refinement.poll_timeout() {
                Some(deadline) if deadline.at < next => {
                    refinement.handle_timeout(deadline.at);
                    let qp = refinement.poll_step().expect("its time has come");
                    steps.push(qp);
                    newest = refined(qp, newest, refinement.spent);
                    refinement.handle_sent(newest, deadline.at);
                }
                Some(_) | None => {
                    let small = change(20, 200, FAST);
                    newest.qp = newest.qp.max(small.qp);
                    refinement.handle_sent(small, next);
                    next += gap;
                }
            }
        }
        steps
    }

    #[test]
    fn a_spinner_in_a_corner_does_not_keep_the_rest_coarse() {
        let coarse = change(45, LARGE, FAST);
        let steps = run_small_changes(Some(coarse), Duration::from_millis(20));
        assert!(steps.first().is_some_and(|it| *it < 40), "{steps:?}");
        assert!(steps.iter().take(4).any(|it| *it == SHARP_QP), "{steps:?}");
    }

    #[test]
    fn small_changes_without_end_are_sharpened_once_a_second() {
        let steps = run_small_changes(None, Duration::from_millis(100));
        assert!((4..=5).contains(&steps.len()), "{steps:?}");
        assert!(steps.iter().all(|it| *it == SHARP_QP), "{steps:?}");
    }

    #[test]
    fn a_due_step_waits_without_a_timer() {
        let start = Instant::now();
        let mut refinement = Refinement::default();
        refinement.handle_sent(change(40, 1_000, FAST), start);
        refinement.handle_timeout(start + QUIET_AFTER_CHANGE);
        assert_eq!(refinement.poll_timeout(), None);
        assert_eq!(refinement.poll_step(), Some(SHARP_QP));
        assert_eq!(refinement.poll_step(), None, "handed out once");
        refinement.handle_detached();
        assert_eq!(refinement.poll_timeout(), None);
    }
}
