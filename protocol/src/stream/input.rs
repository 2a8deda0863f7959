//! Applies a viewer's input exactly once and in order, whatever the network did to its packets.
//!
//! Events wait for nothing but their predecessor; a pointer move is dropped rather than applied
//! late. What is held down is known here, so that everything held can be released.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bincode::{Decode, Encode};

use crate::limits::{INPUT_EVENTS_MAX, KEYS_HELD_MAX};
use crate::wire::input::{Event, HERE, Move};
use crate::{Deadline, Wakeup};

/// Keys go up when the viewer has not confirmed them for this long: six missed repeats of the
/// held set (500 ms each) are a dead link, not a lost packet.
const HELD_CONFIRMATION_MAX: Duration = Duration::from_secs(3);

/// Streams whose progress is remembered, the least recently used forgotten first. A late packet
/// of a stream left behind must not look like the start of a fresh one.
const STREAMS_REMEMBERED: usize = 8;

/// Buttons a viewer can name (DOM numbering 0 to 4).
pub const BUTTONS: u8 = 5;

/// One packet's content, borrowed from whatever message brought it.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Which stream of which viewer.
    pub stream: u64,
    /// Sequence number of the first event.
    pub first_seq: u32,
    /// All events not acknowledged so far, oldest first.
    pub events: &'a [Event],
    /// Newest pointer position, where it moved.
    pub pointer: Option<Move>,
    /// Evdev codes of all keys that are down.
    pub held: Option<&'a [u16]>,
}

/// What to tell the viewer: everything up to and including `seq` has been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which stream.
    pub stream: u64,
    /// Newest applied sequence number.
    pub seq: u32,
}

/// One act on the desktop, to be done in the order in which they are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key goes down or up. Down and up of one key alternate.
    Key {
        /// Evdev code, 0 where unknown; the `keysym` then tells keys apart.
        code: u16,
        /// What the viewer's layout makes of the key; 0 where unknown.
        keysym: u32,
        /// `true` = pressed.
        is_down: bool,
    },
    /// The pointer goes to a place. Coordinates are the viewer's, not clamped.
    Place {
        /// Pixels from the left.
        x: u16,
        /// Pixels from the top.
        y: u16,
    },
    /// A button below [`BUTTONS`] goes down or up where the pointer is.
    Button {
        /// DOM numbering.
        button: u8,
        /// `true` = pressed.
        is_down: bool,
    },
    /// The wheel turns where the pointer is; 120 units are one step.
    Wheel {
        /// Right is positive.
        dx: i16,
        /// Down is positive.
        dy: i16,
    },
    /// The pointer moves by so much.
    MoveBy {
        /// Right is positive.
        dx: i16,
        /// Down is positive.
        dy: i16,
    },
}

/// How far one stream has come: what outlives a worker, so that no key is applied twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Progress {
    stream: u64,
    /// Newest applied event.
    applied: u32,
    /// Newest applied event that placed the pointer: an older move must not undo it.
    placed: u32,
    /// Newest applied move.
    moved: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    code: u16,
    keysym: u32,
}

/// Receives the input of one desktop.
#[derive(Debug, Default)]
pub struct Receiver {
    /// Most recently used first; the first one is the stream that has the desktop.
    streams: Vec<Progress>,
    keys: Vec<Key>,
    buttons: [bool; BUTTONS as usize],
    /// When the viewer last confirmed `keys`; `None` where no key is down.
    confirmed: Option<Instant>,
    steps: VecDeque<Step>,
    applied_count: u64,
}

impl Receiver {
    /// Goes on where another one stopped; nothing counts as held down.
    pub fn resume(mut streams: Vec<Progress>) -> Self {
        streams.truncate(STREAMS_REMEMBERED);
        Self {
            streams,
            ..Self::default()
        }
    }

    /// What [`resume`](Self::resume) needs, newest stream first.
    pub fn progress(&self) -> &[Progress] {
        &self.streams
    }

    /// Takes one packet. Returns what to acknowledge *after* the steps have been done; `None`
    /// where the packet carried no events or its stream is unknown.
    pub fn handle_input(&mut self, input: &Input<'_>, now: Instant) -> Option<Ack> {
        let mut progress = self.progress_of(input)?;
        if self.brings_news(&progress, input) {
            self.give_desktop_to(progress);
            self.apply_events(&mut progress, input);
            self.apply_move(&mut progress, input);
            self.apply_held(&progress, input, now);
            if let Some(first) = self.streams.first_mut() {
                *first = progress;
            }
        }
        (!input.events.is_empty()).then_some(Ack {
            stream: progress.stream,
            seq: progress.applied,
        })
    }

    /// The viewer is gone: everything goes up. Sequence numbers stay, it may come back.
    pub fn handle_detached(&mut self) {
        self.release_all();
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|it| it.at <= now) {
            self.release_all();
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.confirmed.map(|it| Deadline {
            at: it + HELD_CONFIRMATION_MAX,
            why: Wakeup::HeldKeys,
        })
    }

    /// Hands out the next act.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Newest applied event of the stream that has the desktop; 0 before the first.
    pub fn applied(&self) -> u32 {
        self.streams.first().map_or(0, |it| it.applied)
    }

    /// Events applied since the start, of all streams.
    pub const fn applied_count(&self) -> u64 {
        self.applied_count
    }

    /// What is known of the packet's stream. An unknown stream begins with event 1: its viewer
    /// sends that until it is acknowledged, so anything later belongs to a stream long left.
    fn progress_of(&self, input: &Input<'_>) -> Option<Progress> {
        let known = self.streams.iter().find(|it| it.stream == input.stream);
        known.copied().or_else(|| {
            (input.first_seq == 1).then_some(Progress {
                stream: input.stream,
                applied: 0,
                placed: 0,
                moved: None,
            })
        })
    }

    /// A duplicate from another stream must not take the desktop away from the present one.
    fn brings_news(&self, progress: &Progress, input: &Input<'_>) -> bool {
        let is_present = self.streams.first().map(|it| it.stream) == Some(input.stream);
        is_present
            || !unapplied(progress, input).is_empty()
            || input.pointer.is_some_and(|it| is_due(progress, &it))
    }

    fn give_desktop_to(&mut self, progress: Progress) {
        if let Some(first) = self.streams.first()
            && first.stream != progress.stream
        {
            self.release_all();
        }
        self.streams.retain(|it| it.stream != progress.stream);
        self.streams.truncate(STREAMS_REMEMBERED - 1);
        self.streams.insert(0, progress);
    }

    fn apply_events(&mut self, progress: &mut Progress, input: &Input<'_>) {
        for event in unapplied(progress, input) {
            progress.applied += 1;
            self.applied_count += 1;
            match *event {
                Event::Key {
                    code,
                    keysym,
                    is_down,
                } => self.apply_key(Key { code, keysym }, is_down),
                Event::Button {
                    button,
                    is_down,
                    x,
                    y,
                } => {
                    progress.placed = progress.applied;
                    self.place(x, y);
                    self.apply_button(button, is_down);
                }
                Event::Wheel { dx, dy, x, y } => {
                    progress.placed = progress.applied;
                    self.place(x, y);
                    self.steps.push_back(Step::Wheel { dx, dy });
                }
                Event::ReleaseAll => self.release_all(),
                Event::MoveBy { dx, dy } => {
                    progress.placed = progress.applied;
                    self.steps.push_back(Step::MoveBy { dx, dy });
                }
            }
        }
    }

    fn place(&mut self, x: u16, y: u16) {
        if (x, y) != HERE {
            self.steps.push_back(Step::Place { x, y });
        }
    }

    /// A key that is down already does not go down again: the X server repeats by itself.
    fn apply_key(&mut self, key: Key, is_down: bool) {
        let at = self.keys.iter().position(|it| it.is_same(&key));
        match (at, is_down) {
            (None, true) if self.keys.len() < KEYS_HELD_MAX => self.keys.push(key),
            (Some(at), false) => {
                // What went down goes up, whatever the viewer's layout makes of it meanwhile.
                let pressed = self.keys.remove(at);
                self.push_key(pressed, false);
                return;
            }
            (None, true) | (Some(_), true) | (None, false) => return,
        }
        self.push_key(key, true);
    }

    fn push_key(&mut self, Key { code, keysym }: Key, is_down: bool) {
        self.steps.push_back(Step::Key {
            code,
            keysym,
            is_down,
        });
    }

    fn apply_button(&mut self, button: u8, is_down: bool) {
        if let Some(was_down) = self.buttons.get_mut(usize::from(button))
            && *was_down != is_down
        {
            *was_down = is_down;
            self.steps.push_back(Step::Button { button, is_down });
        }
    }

    fn apply_move(&mut self, progress: &mut Progress, input: &Input<'_>) {
        if let Some(pointer) = input.pointer
            && is_due(progress, &pointer)
        {
            progress.moved = Some(pointer.number);
            self.steps.push_back(Step::Place {
                x: pointer.x,
                y: pointer.y,
            });
        }
    }

    /// Releases what the viewer does not name. Only a set that was taken after the newest applied
    /// event counts; keys without a code cannot be named, so only time and the viewer's events
    /// release them.
    fn apply_held(&mut self, progress: &Progress, input: &Input<'_>, now: Instant) {
        let last = input.first_seq.wrapping_sub(1).wrapping_add(count(input));
        let held = input.held.filter(|_| last == progress.applied);
        if let Some(held) = held {
            let is_gone = |it: &Key| it.code != 0 && !held.contains(&it.code);
            for key in self.keys.extract_if(.., |it| is_gone(it)) {
                self.steps.push_back(Step::Key {
                    code: key.code,
                    keysym: key.keysym,
                    is_down: false,
                });
            }
        }
        self.confirmed = match self.confirmed {
            _ if self.keys.is_empty() => None,
            Some(before) if held.is_none() && input.events.is_empty() => Some(before),
            Some(_) | None => Some(now),
        };
    }

    fn release_all(&mut self) {
        self.confirmed = None;
        // The newest first, so that a modifier outlives the keys it modifies.
        while let Some(key) = self.keys.pop() {
            self.push_key(key, false);
        }
        for button in 0..BUTTONS {
            self.apply_button(button, false);
        }
    }
}

impl Key {
    fn is_same(&self, other: &Self) -> bool {
        match (self.code, other.code) {
            (0, 0) => self.keysym == other.keysym,
            (a, b) => a == b,
        }
    }
}

fn count(input: &Input<'_>) -> u32 {
    u32::try_from(input.events.len()).unwrap_or(u32::MAX)
}

/// The events that follow the applied ones without a gap; empty where one is missing between.
fn unapplied<'a>(progress: &Progress, input: &Input<'a>) -> &'a [Event] {
    let events = input.events.get(..INPUT_EVENTS_MAX).unwrap_or(input.events);
    let is_countable = input.first_seq.checked_add(count(input)).is_some();
    if input.first_seq == 0 || !is_countable {
        return &[];
    }
    progress
        .applied
        .checked_add(1)
        .and_then(|next| next.checked_sub(input.first_seq))
        .and_then(|done| events.get(usize::try_from(done).ok()?..))
        .unwrap_or_default()
}

/// A move counts when it is newer than the last one and no event after it has placed the pointer.
fn is_due(progress: &Progress, pointer: &Move) -> bool {
    let is_newer = progress
        .moved
        .is_none_or(|last| pointer.number.wrapping_sub(last).cast_signed() > 0);
    is_newer && (progress.placed..=progress.applied).contains(&pointer.after)
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
