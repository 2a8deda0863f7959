//! Decides when a display is captured: on damage, never faster than its frame interval, never
//! while the picture before is still on its way, never while the link is full.

use std::time::{Duration, Instant};

use sandbox_protocol::{Deadline, Wakeup};

/// What the shell must do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Capture the damaged part of the display and encode it.
    Capture,
}

/// Paces the frames of one display.
#[derive(Debug)]
pub struct FrameClock {
    interval: Duration,
    state: State,
    gate: Gate,
    /// When the slot of the newest capture opened.
    slot: Option<Instant>,
    effect: Option<Effect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing changed since the last capture.
    Clean,
    /// There is damage, and its capture waits for a slot or for the gate.
    Damaged,
    /// A frame is being encoded or written out.
    InFlight { damaged_meanwhile: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Shut,
}

impl FrameClock {
    /// Makes a clock for a display that shows at most one frame per `interval`. It is shut until
    /// somebody watches.
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            state: State::Clean,
            gate: Gate::Shut,
            slot: None,
            effect: None,
        }
    }

    /// The display changed, or somebody wants a frame of it as it is.
    pub fn handle_damage(&mut self, now: Instant) {
        self.state = match self.state {
            State::Clean | State::Damaged => State::Damaged,
            State::InFlight { .. } => State::InFlight {
                damaged_meanwhile: true,
            },
        };
        self.decide(now);
    }

    /// Frames may flow: there is a viewer, and its link has room.
    pub fn handle_open(&mut self, now: Instant) {
        self.gate = Gate::Open;
        self.decide(now);
    }

    /// No frame may start. Damage is kept in mind.
    pub const fn handle_shut(&mut self) {
        self.gate = Gate::Shut;
    }

    /// The frame in flight has left, or was dropped.
    pub fn handle_finished(&mut self, now: Instant) {
        self.state = match self.state {
            State::InFlight {
                damaged_meanwhile: true,
            } => State::Damaged,
            State::InFlight {
                damaged_meanwhile: false,
            } => State::Clean,
            state @ (State::Clean | State::Damaged) => {
                debug_assert!(false, "a frame finished that never started");
                state
            }
        };
        self.decide(now);
    }

    /// A frame of the unchanged picture starts, outside the slots.
    ///
    /// # Panics
    ///
    /// When the display is not at rest.
    pub fn handle_refining(&mut self) {
        assert!(self.is_at_rest(), "refining in {:?}", self.state);
        self.state = State::InFlight {
            damaged_meanwhile: false,
        };
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.decide(now);
    }

    /// Nothing is in flight, nothing is damaged, and a frame could leave.
    pub fn is_at_rest(&self) -> bool {
        self.state == State::Clean && self.gate == Gate::Open
    }

    /// Hands out the next effect.
    pub const fn poll_effect(&mut self) -> Option<Effect> {
        self.effect.take()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Deadline> {
        match (self.state, self.gate) {
            (State::Damaged, Gate::Open) => self.next_slot().map(|at| Deadline {
                at,
                why: Wakeup::FrameSlot,
            }),
            (State::Clean | State::InFlight { .. }, _) | (State::Damaged, Gate::Shut) => None,
        }
    }

    fn next_slot(&self) -> Option<Instant> {
        self.slot.map(|it| it + self.interval)
    }

    fn decide(&mut self, now: Instant) {
        if self.state != State::Damaged || self.gate == Gate::Shut {
            return;
        }
        let next = self.next_slot().unwrap_or(now);
        if next > now {
            return;
        }
        // A capture that is late by less than an interval keeps the slots where they are: the
        // wake-up's delay must not add up and turn 60 frames a second into 55.
        let is_in_step = now < next + self.interval;
        self.slot = Some(if is_in_step { next } else { now });
        self.state = State::InFlight {
            damaged_meanwhile: false,
        };
        self.effect = Some(Effect::Capture);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(16);
    const MS: Duration = Duration::from_millis(1);

    fn open(now: Instant) -> FrameClock {
        let mut clock = FrameClock::new(INTERVAL);
        clock.handle_open(now);
        clock
    }

    #[test]
    fn the_first_damage_after_rest_is_captured_at_once() {
        let now = Instant::now();
        let mut clock = open(now);
        assert_eq!(clock.poll_effect(), None);
        assert_eq!(clock.poll_timeout(), None, "a still display costs no timer");
        clock.handle_damage(now);
        assert_eq!(clock.poll_effect(), Some(Effect::Capture));
        assert_eq!(clock.poll_effect(), None);
        clock.handle_finished(now + MS);
        assert_eq!(clock.poll_timeout(), None);
    }

    #[test]
    fn damage_during_a_frame_waits_for_its_end_and_for_the_next_slot() {
        let now = Instant::now();
        let mut clock = open(now);
        clock.handle_damage(now);
        clock.poll_effect();
        clock.handle_damage(now + MS);
        clock.handle_damage(now + 2 * MS);
        assert_eq!((clock.poll_effect(), clock.poll_timeout()), (None, None));
        clock.handle_finished(now + 3 * MS);
        let slot = Deadline {
            at: now + INTERVAL,
            why: Wakeup::FrameSlot,
        };
        assert_eq!(
            (clock.poll_effect(), clock.poll_timeout()),
            (None, Some(slot))
        );
        clock.handle_timeout(slot.at);
        assert_eq!(clock.poll_effect(), Some(Effect::Capture));
    }

    #[test]
    fn late_wake_ups_do_not_add_up() {
        let start = Instant::now();
        let mut clock = open(start);
        let mut now = start;
        clock.handle_damage(now);
        for _ in 0..1_000 {
            assert_eq!(clock.poll_effect(), Some(Effect::Capture));
            clock.handle_damage(now + MS);
            clock.handle_finished(now + 4 * MS);
            now = clock.poll_timeout().expect("there is damage").at + 3 * MS;
            clock.handle_timeout(now);
        }
        assert_eq!(now - start, 1_000 * INTERVAL + 3 * MS);
    }

    #[test]
    fn never_are_two_captures_nearer_than_the_rate_allows() {
        let start = Instant::now();
        let mut clock = open(start);
        let mut captures = 0;
        for ms in 0..1_600 {
            let now = start + ms * MS;
            clock.handle_timeout(now);
            clock.handle_damage(now);
            if clock.poll_effect().is_some() {
                captures += 1;
                clock.handle_finished(now);
            }
        }
        assert_eq!(captures, 100);
    }

    #[test]
    fn a_shut_gate_keeps_the_damage_and_costs_no_timer() {
        let now = Instant::now();
        let mut clock = open(now);
        clock.handle_shut();
        clock.handle_damage(now);
        clock.handle_timeout(now + INTERVAL);
        assert_eq!((clock.poll_effect(), clock.poll_timeout()), (None, None));
        assert!(!clock.is_at_rest());
        clock.handle_open(now + INTERVAL);
        assert_eq!(clock.poll_effect(), Some(Effect::Capture));
    }

    #[test]
    fn a_frame_in_flight_survives_a_shut_gate() {
        let now = Instant::now();
        let mut clock = open(now);
        clock.handle_damage(now);
        clock.poll_effect();
        clock.handle_shut();
        clock.handle_damage(now);
        clock.handle_open(now + INTERVAL);
        assert_eq!(clock.poll_effect(), None, "one frame at a time");
        clock.handle_finished(now + INTERVAL);
        assert_eq!(clock.poll_effect(), Some(Effect::Capture));
    }

    #[test]
    fn refining_counts_as_a_frame_in_flight() {
        let now = Instant::now();
        let mut clock = open(now);
        clock.handle_refining();
        clock.handle_damage(now);
        assert_eq!(clock.poll_effect(), None);
        clock.handle_finished(now + MS);
        assert_eq!(clock.poll_effect(), Some(Effect::Capture));
    }
}
