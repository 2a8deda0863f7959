//! What the encoder is asked for when a viewer has lost video: go on without the lost pictures;
//! a key frame only where that fails, and seldom; a whole picture where updates are gone for good.

use std::time::{Duration, Instant};

use crate::{Deadline, Wakeup};

/// A key frame costs a good part of a second of the link: at most one in this time, or in two
/// round trips.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(250);

/// What the encoder and the composer are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// The next video may refer to nothing from `first` on, and says so by
    /// [`UpdateKind::recovers`](super::packetize::UpdateKind::recovers).
    Invalidate {
        /// First update whose video is lost.
        first: u32,
        /// Newest update that the viewer surely has.
        good: u32,
    },
    /// The next video is a key frame, and *recovers*.
    KeyFrame,
    /// The next update is a whole picture.
    Whole,
}

/// Whether an encoder can go on from a picture before the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// It can leave out references that are lost.
    Invalidates,
    /// It has key frames only.
    KeyFramesOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Steady,
    /// Asked for video that recovers; from `first` on all is lost.
    Asked {
        first: u32,
        until: Instant,
    },
    /// A key frame is due, as soon as one is allowed.
    KeyFrameDue {
        first: u32,
        at: Instant,
    },
    /// A key frame was asked for.
    KeyFrameAsked {
        first: u32,
    },
    /// Nothing but a whole picture helps.
    Whole,
}

/// The way from a lost picture to the next good one.
#[derive(Debug)]
pub(crate) struct Recovery {
    encoder: Encoder,
    state: State,
    demand: Option<Demand>,
    last_key_frame: Option<Instant>,
}

impl Recovery {
    pub(crate) const fn new(encoder: Encoder) -> Self {
        Self {
            encoder,
            state: State::Steady,
            demand: None,
            last_key_frame: None,
        }
    }

    /// Video from `first` on is lost at the viewer; `good` is the newest update it surely has.
    pub(crate) fn handle_lost(
        &mut self,
        now: Instant,
        first: u32,
        good: u32,
        round_trip: Duration,
    ) {
        match self.state {
            State::Steady => match self.encoder {
                Encoder::Invalidates => {
                    self.demand = Some(Demand::Invalidate { first, good });
                    let until = overdue_at(now, round_trip);
                    self.state = State::Asked { first, until };
                }
                Encoder::KeyFramesOnly => self.ask_for_key_frame(now, first, round_trip),
            },
            // It is being repaired from an earlier loss on.
            State::Asked { .. }
            | State::KeyFrameDue { .. }
            | State::KeyFrameAsked { .. }
            | State::Whole => (),
        }
    }

    /// Updates that cannot be given up are gone.
    pub(crate) fn handle_gone(&mut self) {
        if self.state != State::Whole {
            self.state = State::Whole;
            self.demand = Some(Demand::Whole);
        }
    }

    /// A whole picture is on its way.
    pub(crate) fn handle_whole(&mut self) {
        self.state = State::Steady;
        self.demand = None;
    }

    /// Video that needs nothing lost is on its way. Returns the first update that it makes void.
    pub(crate) fn handle_recovery(&mut self) -> Option<u32> {
        match self.state {
            State::Asked { first, .. }
            | State::KeyFrameDue { first, .. }
            | State::KeyFrameAsked { first } => {
                self.state = State::Steady;
                self.demand = None;
                Some(first)
            }
            State::Steady | State::Whole => None,
        }
    }

    /// Nothing but a whole picture helps the viewer.
    pub(crate) fn needs_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// The path is back from the dead: nothing could be sent until now.
    pub(crate) fn handle_return(&mut self, now: Instant, round_trip: Duration) {
        if let State::Asked { until, .. } = &mut self.state {
            *until = overdue_at(now, round_trip);
        }
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, now: Instant, round_trip: Duration) {
        match self.state {
            State::Asked { first, until } if until <= now => {
                self.ask_for_key_frame(now, first, round_trip);
            }
            State::KeyFrameDue { first, at } if at <= now => {
                self.last_key_frame = Some(now);
                self.demand = Some(Demand::KeyFrame);
                self.state = State::KeyFrameAsked { first };
            }
            State::Steady
            | State::Asked { .. }
            | State::KeyFrameDue { .. }
            | State::KeyFrameAsked { .. }
            | State::Whole => (),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let at = match self.state {
            State::Asked { until, .. } => until,
            State::KeyFrameDue { at, .. } => at,
            State::Steady | State::KeyFrameAsked { .. } | State::Whole => return None,
        };
        Some(Deadline {
            at,
            why: Wakeup::Recovery,
        })
    }

    pub(crate) fn poll_demand(&mut self) -> Option<Demand> {
        self.demand.take()
    }

    fn ask_for_key_frame(&mut self, now: Instant, first: u32, round_trip: Duration) {
        let interval = KEY_FRAME_INTERVAL.max(2 * round_trip);
        let at = self.last_key_frame.map_or(now, |it| it + interval);
        self.state = State::KeyFrameDue { first, at };
        self.handle_timeout(now, round_trip);
    }
}

/// When an encoder should long have made a picture that recovers.
fn overdue_at(now: Instant, round_trip: Duration) -> Instant {
    now + 2 * round_trip + KEY_FRAME_INTERVAL
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    const TRIP: Duration = Duration::from_millis(40);

    #[test]
    fn an_encoder_that_can_is_asked_to_leave_out_what_is_lost() {
        let now = Instant::now();
        let mut recovery = Recovery::new(Encoder::Invalidates);
        recovery.handle_lost(now, 7, 6, TRIP);
        let demand = Demand::Invalidate { first: 7, good: 6 };
        assert_eq!(recovery.poll_demand(), Some(demand));
        recovery.handle_lost(now, 8, 6, TRIP);
        assert_eq!(recovery.poll_demand(), None);
        assert_eq!(recovery.handle_recovery(), Some(7));
        assert_eq!(recovery.handle_recovery(), None);
        assert_eq!(recovery.poll_timeout(), None);
    }

    #[test]
    fn a_key_frame_is_the_last_resort() {
        let now = Instant::now();
        let mut recovery = Recovery::new(Encoder::Invalidates);
        recovery.handle_lost(now, 7, 6, TRIP);
        recovery.poll_demand();
        let early = recovery.poll_timeout().unwrap().at;
        recovery.handle_return(early, TRIP);
        recovery.handle_timeout(early, TRIP);
        assert_eq!(recovery.poll_demand(), None);
        let late = recovery.poll_timeout().unwrap().at;
        recovery.handle_timeout(late, TRIP);
        assert_eq!(recovery.poll_demand(), Some(Demand::KeyFrame));
        assert_eq!(recovery.handle_recovery(), Some(7));
    }

    #[test]
    fn key_frames_are_far_apart() {
        let now = Instant::now();
        let mut recovery = Recovery::new(Encoder::KeyFramesOnly);
        let mut asked = Vec::new();
        for ms in 0..1_000 {
            let now = now + Duration::from_millis(ms);
            recovery.handle_lost(now, 7, 6, TRIP);
            recovery.handle_timeout(now, TRIP);
            if recovery.poll_demand() == Some(Demand::KeyFrame) {
                asked.push(ms);
                recovery.handle_recovery();
            }
        }
        assert_eq!(asked, [0, 250, 500, 750]);
    }

    #[test]
    fn a_whole_picture_ends_everything_else() {
        let now = Instant::now();
        let mut recovery = Recovery::new(Encoder::Invalidates);
        recovery.handle_lost(now, 7, 6, TRIP);
        recovery.handle_gone();
        assert_eq!(recovery.poll_demand(), Some(Demand::Whole));
        recovery.handle_gone();
        assert_eq!(recovery.poll_demand(), None);
        assert!(recovery.needs_whole());
        recovery.handle_whole();
        assert!(!recovery.needs_whole());
        assert_eq!(recovery.poll_timeout(), None);
    }
}
