//! The next moment a machine wants to be woken, and why.

use std::time::Instant;

/// Why a machine asked to be woken. Shows up in traces and in test failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wakeup {
    /// The next frame slot of the display opens.
    FrameSlot,
    /// The screen has been still long enough for the next refinement step.
    Refinement,
    /// Keys are held and the viewer has not confirmed them for too long.
    HeldKeys,
    /// An offered paste has not been fetched.
    PasteOffer,
    /// A program has not handed over what it copied.
    ClipboardRead,
    /// A detached session's timeout has run out.
    SessionTimeout,
    /// A step of a start, attach or end took too long.
    StepTimeout,
    /// The encoder has not come back with a frame.
    StuckEncoder,
    /// A session's state could not be written down.
    UnwrittenRecord,
    /// A process has not spoken since it was asked.
    Silence,
    /// What moved has been still long enough to be shown exactly.
    Handover,
    /// The rate estimator wants to look at the link.
    Rate,
    /// The pacer lets more through.
    Pacer,
    /// Nothing was heard of what was sent last.
    TailProbe,
    /// Video that recovers from a loss is overdue.
    Recovery,
    /// A report on what arrived is due.
    Feedback,
    /// An update misses fragments.
    Nack,
    /// Input has not been acknowledged.
    InputRepeat,
    /// The newest pointer place may be sent.
    PointerMove,
    /// A clock is to be asked.
    Ping,
}

/// A point in time with its reason. The earliest of many wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When to call `handle_timeout`.
    pub at: Instant,
    /// What the machine will do then.
    pub why: Wakeup,
}

impl Deadline {
    /// Returns the sooner of two optional deadlines; the first wins a tie.
    pub fn soonest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (a, None) => a,
            (None, b) => b,
        }
    }
}
