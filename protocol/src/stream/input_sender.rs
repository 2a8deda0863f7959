//! A viewer's input on its way to the server: keys, buttons and wheel steps are sent again until
//! they are acknowledged, moves only while they are the newest.

use std::time::{Duration, Instant};

use super::input::Input;
use crate::limits::{INPUT_EVENTS_MAX, INPUT_WAITING_MAX, KEYS_HELD_MAX};
use crate::wire::input::{Event, Move, encode_into};
use crate::{Deadline, Wakeup};

/// A lone event is sent twice, so far apart, where no acknowledgement can have come in between:
/// at 2 % loss one in fifty would else be late by half a round trip.
const COPY_AFTER: Duration = Duration::from_millis(6);

/// Repeats go on at half the round trip, but not faster.
const REPEAT_MIN: Duration = Duration::from_millis(8);

/// So many repeats before the pauses double, and the longest pause: the path is cut.
const REPEATS_UNTIL_SLOW: u32 = 8;
const REPEAT_MAX: Duration = Duration::from_millis(250);

/// The held set is repeated while keys are down: the server lets go after six that it misses.
const HELD_INTERVAL: Duration = Duration::from_millis(500);

/// At most 250 moves a second: no screen shows more. Steps in between join.
const MOVE_INTERVAL: Duration = Duration::from_millis(4);

/// The last place of a movement is sent again so long after it.
const MOVE_REPEATS: [Duration; 2] = [Duration::from_millis(40), Duration::from_millis(200)];

/// Without an acknowledgement for so long the server does not know the stream: a fresh one is
/// begun. Longer than an outage that a connection survives unnoticed.
const UNHEARD_MAX: Duration = Duration::from_secs(8);

/// What is taken for a round trip before one was measured.
const ROUND_TRIP_GUESS: Duration = Duration::from_millis(100);

/// The sending end of one viewer's input.
#[derive(Debug)]
pub struct InputSender {
    stream: u64,
    /// Events that are not acknowledged, the oldest first.
    waiting: Vec<Event>,
    /// Number of the first of them, or of the next event.
    first_seq: u32,
    /// How many of them have been sent.
    sent: usize,
    /// When the oldest of them was first sent.
    unheard_since: Option<Instant>,
    /// When the events are due, for the first time or again.
    events_due: Option<Instant>,
    repeats: u32,
    pointer: Option<Pointer>,
    moves: u32,
    moved_at: Option<Instant>,
    /// Evdev codes of the keys that are down.
    held: Vec<u16>,
    held_due: Option<Instant>,
    round_trip: Duration,
    /// Since when there is nobody to send it to, where there was before.
    interrupted: Option<Instant>,
}

/// The newest place of the pointer, while it is worth sending.
#[derive(Clone, Copy, Debug)]
struct Pointer {
    place: Move,
    due: Instant,
    /// How often it was sent.
    sent: usize,
}

impl InputSender {
    /// A sender whose `stream` is a number by chance.
    pub const fn new(stream: u64) -> Self {
        Self {
            stream,
            waiting: Vec::new(),
            first_seq: 1,
            sent: 0,
            unheard_since: None,
            events_due: None,
            repeats: 0,
            pointer: None,
            moves: 0,
            moved_at: None,
            held: Vec::new(),
            held_due: None,
            round_trip: ROUND_TRIP_GUESS,
            interrupted: None,
        }
    }

    /// Something was pressed, released or turned. What waits beyond
    /// [`INPUT_WAITING_MAX`] begins a fresh stream: the server lets go of everything, and what was
    /// not acknowledged is given up.
    pub fn handle_event(&mut self, now: Instant, event: Event) {
        if let Some(last) = self.waiting.get_mut(self.sent..).and_then(<[_]>::last_mut)
            && let Some(both) = last.joined(event)
        {
            *last = both;
            return;
        }
        if self.waiting.len() == INPUT_WAITING_MAX {
            self.start_over(now);
        }
        if !self.hold(now, event) {
            return;
        }
        let due = match event {
            // They bring the pointer along: a move from before them must not undo that.
            Event::Button { .. } | Event::Wheel { .. } => {
                self.pointer = None;
                now
            }
            Event::MoveBy { .. } => {
                self.pointer = None;
                self.next_move(now)
            }
            Event::Key { .. } | Event::ReleaseAll => now,
        };
        self.waiting.push(event);
        if self.waiting.len() <= INPUT_EVENTS_MAX {
            self.repeats = 0;
            self.events_due = Some(self.events_due.map_or(due, |it| it.min(due)));
        }
    }

    /// When another move may leave.
    fn next_move(&self, now: Instant) -> Instant {
        self.moved_at
            .map_or(now, |it| (it + MOVE_INTERVAL).max(now))
    }

    /// The pointer moved.
    pub fn handle_move(&mut self, now: Instant, x: u16, y: u16) {
        self.moves = self.moves.wrapping_add(1);
        let place = Move {
            after: self.last_seq(),
            number: self.moves,
            x,
            y,
        };
        self.pointer = Some(Pointer {
            place,
            due: self.next_move(now),
            sent: 0,
        });
    }

    /// The connection is lost. What is pressed meanwhile waits for the next one.
    pub fn handle_interrupted(&mut self, now: Instant) {
        self.interrupted.get_or_insert(now);
    }

    /// Another connection goes on. After a long while nothing that waits is what the user means.
    pub fn handle_resumed(&mut self, now: Instant) {
        let Some(since) = self.interrupted.take() else {
            return;
        };
        if now.saturating_duration_since(since) >= UNHEARD_MAX {
            self.start_over(now);
            return;
        }
        self.unheard_since = None;
        self.repeats = 0;
        self.events_due = (!self.waiting.is_empty()).then_some(now);
    }

    /// Whether it waits for another connection.
    pub const fn is_interrupted(&self) -> bool {
        self.interrupted.is_some()
    }

    /// The window lost the focus, or the viewer leaves: everything goes up.
    pub fn handle_focus_lost(&mut self, now: Instant) {
        self.handle_event(now, Event::ReleaseAll);
    }

    /// The server has applied all events up to `seq`.
    pub fn handle_ack(&mut self, now: Instant, stream: u64, seq: u32) {
        let applied = seq.checked_sub(self.first_seq).map(|it| it as usize + 1);
        let applied = applied.filter(|it| stream == self.stream && *it <= self.sent);
        let Some(applied) = applied else {
            return;
        };
        self.waiting.drain(..applied);
        self.first_seq += applied as u32;
        self.sent -= applied;
        self.repeats = 0;
        self.unheard_since = (self.sent > 0).then_some(now);
        self.events_due = match self.waiting.len() {
            0 => None,
            waiting if waiting > self.sent => Some(now),
            _ => Some(now + self.interval()),
        };
    }

    /// A round trip was measured.
    pub fn handle_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// The viewer speaks from another address: what is not acknowledged leaves at once.
    pub fn handle_path_change(&mut self, now: Instant) {
        self.repeats = 0;
        self.events_due = (!self.waiting.is_empty()).then_some(now);
        self.held_due = (!self.held.is_empty()).then_some(now);
    }

    /// When to call [`poll_packet`](Self::poll_packet).
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let deadline = |at: Option<Instant>, why| at.map(|at| Deadline { at, why });
        let events = deadline(self.events_due, Wakeup::InputRepeat);
        let held = deadline(self.held_due, Wakeup::HeldKeys);
        let pointer = deadline(self.pointer.map(|it| it.due), Wakeup::PointerMove);
        Deadline::soonest(Deadline::soonest(events, held), pointer)
    }

    /// Hands out the next packet, written into `out`.
    pub fn poll_packet(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<()> {
        let is_due = |it: &Instant| *it <= now;
        if self
            .unheard_since
            .is_some_and(|it| now.saturating_duration_since(it) >= UNHEARD_MAX)
        {
            self.start_over(now);
        }
        let has_events = self.events_due.as_ref().is_some_and(is_due);
        let is_held_due = self.held_due.as_ref().is_some_and(is_due);
        let moves = self.pointer.is_some_and(|it| is_due(&it.due));
        if !has_events && !is_held_due && !moves {
            return None;
        }
        let count = self.waiting.len().min(INPUT_EVENTS_MAX);
        // A set from after events that are not in the packet would release too much.
        let is_all = count == self.waiting.len();
        let input = Input {
            stream: self.stream,
            first_seq: self.first_seq,
            events: self.waiting.get(..count).unwrap_or_default(),
            pointer: self.pointer.filter(|_| moves).map(|it| it.place),
            held: (is_held_due && is_all).then_some(self.held.as_slice()),
        };
        encode_into(&input, out);
        self.handle_sent(now, count);
        Some(())
    }

    /// Events that are not acknowledged.
    pub const fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn handle_sent(&mut self, now: Instant, count: usize) {
        if count > 0 {
            let fresh = self.waiting.get(self.sent..count).unwrap_or_default();
            if fresh.iter().any(|it| matches!(it, Event::MoveBy { .. })) {
                self.moved_at = Some(now);
            }
            self.sent = count;
            self.unheard_since.get_or_insert(now);
            self.events_due = Some(now + self.interval());
            self.repeats += 1;
        }
        if self.held_due.is_some_and(|it| it <= now) {
            self.held_due = Some(now + HELD_INTERVAL);
        }
        if let Some(pointer) = self.pointer.as_mut().filter(|it| it.due <= now) {
            self.moved_at = Some(now);
            match MOVE_REPEATS.get(pointer.sent) {
                Some(wait) => {
                    pointer.sent += 1;
                    pointer.due = now + *wait;
                }
                None => self.pointer = None,
            }
        }
    }

    /// Until the events are sent again.
    fn interval(&self) -> Duration {
        if self.repeats == 0 && self.round_trip > COPY_AFTER {
            return COPY_AFTER;
        }
        let half = (self.round_trip / 2).max(REPEAT_MIN);
        let doublings = self.repeats.saturating_sub(REPEATS_UNTIL_SLOW).min(8);
        (half * (1 << doublings)).min(REPEAT_MAX.max(half))
    }

    /// Keeps the held set. Returns whether the event is worth sending: X repeats keys by itself.
    fn hold(&mut self, now: Instant, event: Event) -> bool {
        match event {
            Event::Key { code: 0, .. }
            | Event::Button { .. }
            | Event::Wheel { .. }
            | Event::MoveBy { .. } => return true,
            Event::Key {
                code,
                is_down: true,
                ..
            } => {
                if self.held.contains(&code) || self.held.len() == KEYS_HELD_MAX {
                    return false;
                }
                self.held.push(code);
            }
            Event::Key { code, .. } => {
                let Some(index) = self.held.iter().position(|it| *it == code) else {
                    return false;
                };
                self.held.remove(index);
            }
            Event::ReleaseAll => self.held.clear(),
        }
        self.held_due = match self.held_due {
            _ if self.held.is_empty() => None,
            due => due.or(Some(now + HELD_INTERVAL)),
        };
        true
    }

    /// The server does not know the stream, or is too far behind.
    fn start_over(&mut self, now: Instant) {
        // The step of a linear congruential generator: another number, by chance enough.
        self.stream = self
            .stream
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.waiting.clear();
        self.waiting.push(Event::ReleaseAll);
        self.first_seq = 1;
        self.sent = 0;
        self.unheard_since = None;
        self.repeats = 0;
        self.events_due = Some(now);
        self.pointer = None;
        self.moves = 0;
        // What is held is released, and a key's end is then no event.
        self.held.clear();
        self.held_due = None;
    }

    /// Number of the newest event; 0 before the first.
    pub const fn last_seq(&self) -> u32 {
        // At most `INPUT_WAITING_MAX` wait.
        self.first_seq - 1 + self.waiting.len() as u32
    }
}

#[cfg(test)]
#[path = "input_sender_tests.rs"]
mod tests;
