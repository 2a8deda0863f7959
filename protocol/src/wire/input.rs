//! Input packets of the `in` channel. Layout: `docs/PROTOCOL.md`, "Input". All little endian.
//!
//! Keys, buttons and wheel steps carry consecutive sequence numbers and are resent until
//! acknowledged; pointer moves are latest-wins and name the event that they follow.

use bincode::{Decode, Encode};

use crate::limits::{INPUT_EVENTS_MAX, KEYS_HELD_MAX};
use crate::stream::input::Input;

/// First byte of a packet from the viewer.
pub const KIND_INPUT: u8 = 1;
/// First byte of an acknowledgement from the server.
pub const KIND_ACK: u8 = 2;

const FLAG_MOVE: u8 = 1;
const FLAG_HELD: u8 = 2;
const EVENT_KEY: u8 = 1;
const EVENT_BUTTON: u8 = 2;
const EVENT_WHEEL: u8 = 3;
const EVENT_RELEASE_ALL: u8 = 4;
const EVENT_MOVE_BY: u8 = 5;

/// The place, of a button or a wheel step, that is where the pointer is: a viewer that moves it
/// by steps does not know.
pub const HERE: (u16, u16) = (u16::MAX, u16::MAX);

/// One step that must be applied exactly once and in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// A key goes down or up.
    Key {
        /// Linux evdev code (`KEY_A` = 30): the key's place on the keyboard.
        code: u16,
        /// X keysym of what the viewer's layout makes of it; 0 where unknown.
        keysym: u32,
        /// `true` = pressed.
        is_down: bool,
    },
    /// A pointer button goes down or up at a place.
    Button {
        /// 0 left, 1 middle, 2 right, 3 back, 4 forward (DOM numbering).
        button: u8,
        /// `true` = pressed.
        is_down: bool,
        /// Pixels from the left; clamped to the desktop by the receiver, or [`HERE`].
        x: u16,
        /// Pixels from the top.
        y: u16,
    },
    /// The wheel turned at a place; 120 units are one step.
    Wheel {
        /// Right is positive.
        dx: i16,
        /// Down is positive.
        dy: i16,
        /// Pixels from the left.
        x: u16,
        /// Pixels from the top.
        y: u16,
    },
    /// Every key and button goes up (the viewer lost the focus).
    ReleaseAll,
    /// The pointer moves by so much, for programs that hold it.
    MoveBy {
        /// Right is positive.
        dx: i16,
        /// Down is positive.
        dy: i16,
    },
}

impl Event {
    /// The event that does what this one and the next do, where there is one.
    pub const fn joined(self, next: Self) -> Option<Self> {
        let (Self::MoveBy { dx, dy }, Self::MoveBy { dx: x, dy: y }) = (self, next) else {
            return None;
        };
        match (dx.checked_add(x), dy.checked_add(y)) {
            (Some(dx), Some(dy)) => Some(Self::MoveBy { dx, dy }),
            _ => None,
        }
    }
}

/// Newest pointer position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Move {
    /// Sequence number of the last event that the viewer issued before this move.
    pub after: u32,
    /// Counts the moves of the stream; an older one is dropped.
    pub number: u32,
    /// Pixels from the left.
    pub x: u16,
    /// Pixels from the top.
    pub y: u16,
}

/// One packet from a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Chosen at random by the viewer for each of its lives.
    pub stream: u64,
    /// Sequence number of the first event; counts from 1.
    pub first_seq: u32,
    /// All events not yet acknowledged, oldest first.
    pub events: Vec<Event>,
    /// Newest pointer position, where it moved.
    pub pointer: Option<Move>,
    /// Evdev codes of all keys that are down; sent every 500 ms while there are any.
    pub held: Option<Vec<u16>>,
}

/// Why bytes from a viewer were no input packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The packet ends inside a field.
    #[error("input packet ends inside a field")]
    Short,
    /// The first byte names no packet that a viewer sends.
    #[error("input packet of unknown kind {0}")]
    Kind(u8),
    /// An event, flag or value that the layout does not know.
    #[error("input packet holds an unknown {what} {value}")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// What it held.
        value: u8,
    },
    /// More events or held keys than one packet may carry.
    #[error("input packet holds {0} items")]
    TooMany(usize),
    /// Bytes follow the packet.
    #[error("{0} bytes after the input packet")]
    Trailing(usize),
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], InputError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(InputError::Short)?;
        self.0 = tail;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, InputError> {
        self.take().map(|[it]| it)
    }

    fn short(&mut self) -> Result<u16, InputError> {
        self.take().map(u16::from_le_bytes)
    }

    fn signed(&mut self) -> Result<i16, InputError> {
        self.take().map(i16::from_le_bytes)
    }

    fn word(&mut self) -> Result<u32, InputError> {
        self.take().map(u32::from_le_bytes)
    }

    fn is_down(&mut self) -> Result<bool, InputError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(InputError::Unknown {
                what: "direction",
                value,
            }),
        }
    }

    fn event(&mut self) -> Result<Event, InputError> {
        Ok(match self.byte()? {
            EVENT_KEY => Event::Key {
                is_down: self.is_down()?,
                code: self.short()?,
                keysym: self.word()?,
            },
            EVENT_BUTTON => Event::Button {
                is_down: self.is_down()?,
                button: self.byte()?,
                x: self.short()?,
                y: self.short()?,
            },
            EVENT_WHEEL => Event::Wheel {
                dx: self.signed()?,
                dy: self.signed()?,
                x: self.short()?,
                y: self.short()?,
            },
            EVENT_RELEASE_ALL => Event::ReleaseAll,
            EVENT_MOVE_BY => Event::MoveBy {
                dx: self.signed()?,
                dy: self.signed()?,
            },
            value => {
                return Err(InputError::Unknown {
                    what: "event",
                    value,
                });
            }
        })
    }
}

impl Packet {
    /// Parses and checks one packet.
    ///
    /// # Errors
    ///
    /// Returns [`InputError`] for anything but a whole packet within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, InputError> {
        let mut reader = Reader(bytes);
        match reader.byte()? {
            KIND_INPUT => (),
            kind => return Err(InputError::Kind(kind)),
        }
        let flags = reader.byte()?;
        if flags & !(FLAG_MOVE | FLAG_HELD) != 0 {
            return Err(InputError::Unknown {
                what: "flag",
                value: flags,
            });
        }
        let stream = reader.take().map(u64::from_le_bytes)?;
        let first_seq = reader.word()?;
        let count = usize::from(reader.byte()?);
        if count > INPUT_EVENTS_MAX {
            return Err(InputError::TooMany(count));
        }
        let events = (0..count)
            .map(|_| reader.event())
            .collect::<Result<_, _>>()?;
        let pointer = (flags & FLAG_MOVE != 0)
            .then(|| {
                Ok(Move {
                    after: reader.word()?,
                    number: reader.word()?,
                    x: reader.short()?,
                    y: reader.short()?,
                })
            })
            .transpose()?;
        let held = (flags & FLAG_HELD != 0)
            .then(|| {
                let count = usize::from(reader.byte()?);
                if count > KEYS_HELD_MAX {
                    return Err(InputError::TooMany(count));
                }
                (0..count).map(|_| reader.short()).collect()
            })
            .transpose()?;
        match reader.0.len() {
            0 => Ok(Self {
                stream,
                first_seq,
                events,
                pointer,
                held,
            }),
            trailing => Err(InputError::Trailing(trailing)),
        }
    }

    /// Writes the packet, as a viewer does.
    ///
    /// # Panics
    ///
    /// When it holds more events or held keys than the limits allow.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let input = Input {
            stream: self.stream,
            first_seq: self.first_seq,
            events: &self.events,
            pointer: self.pointer,
            held: self.held.as_deref(),
        };
        encode_into(&input, &mut out);
        out
    }
}

/// Writes a packet into a buffer that is used again.
///
/// # Panics
///
/// When it holds more events or held keys than the limits allow.
pub fn encode_into(input: &Input<'_>, out: &mut Vec<u8>) {
    let count = input.events.len();
    assert!(count <= INPUT_EVENTS_MAX, "{count} events");
    let flags =
        u8::from(input.pointer.is_some()) * FLAG_MOVE + u8::from(input.held.is_some()) * FLAG_HELD;
    out.clear();
    out.extend([KIND_INPUT, flags]);
    out.extend(input.stream.to_le_bytes());
    out.extend(input.first_seq.to_le_bytes());
    out.push(u8::try_from(count).unwrap_or(u8::MAX));
    for event in input.events {
        encode_event(*event, out);
    }
    if let Some(pointer) = input.pointer {
        out.extend(pointer.after.to_le_bytes());
        out.extend(pointer.number.to_le_bytes());
        out.extend(pointer.x.to_le_bytes());
        out.extend(pointer.y.to_le_bytes());
    }
    if let Some(held) = input.held {
        assert!(held.len() <= KEYS_HELD_MAX, "{} held keys", held.len());
        out.push(u8::try_from(held.len()).unwrap_or(u8::MAX));
        out.extend(held.iter().flat_map(|it| it.to_le_bytes()));
    }
}

fn encode_event(event: Event, out: &mut Vec<u8>) {
    match event {
        Event::Key {
            code,
            keysym,
            is_down,
        } => {
            out.extend([EVENT_KEY, u8::from(is_down)]);
            out.extend(code.to_le_bytes());
            out.extend(keysym.to_le_bytes());
        }
        Event::Button {
            button,
            is_down,
            x,
            y,
        } => {
            out.extend([EVENT_BUTTON, u8::from(is_down), button]);
            out.extend(x.to_le_bytes());
            out.extend(y.to_le_bytes());
        }
        Event::Wheel { dx, dy, x, y } => {
            out.push(EVENT_WHEEL);
            out.extend(dx.to_le_bytes());
            out.extend(dy.to_le_bytes());
            out.extend(x.to_le_bytes());
            out.extend(y.to_le_bytes());
        }
        Event::ReleaseAll => out.push(EVENT_RELEASE_ALL),
        Event::MoveBy { dx, dy } => {
            out.push(EVENT_MOVE_BY);
            out.extend(dx.to_le_bytes());
            out.extend(dy.to_le_bytes());
        }
    }
}

/// Acknowledgement: everything up to and including `seq` of `stream` has been applied.
pub fn encode_ack(stream: u64, seq: u32) -> [u8; 13] {
    let mut out = [KIND_ACK; 13];
    let (_, rest) = out.split_at_mut(1);
    let (to_stream, to_seq) = rest.split_at_mut(8);
    to_stream.copy_from_slice(&stream.to_le_bytes());
    to_seq.copy_from_slice(&seq.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Packet {
        Packet {
            stream: 0x0102_0304_0506_0708,
            first_seq: 9,
            events: vec![
                Event::Key {
                    code: 30,
                    keysym: 0x61,
                    is_down: true,
                },
                Event::Button {
                    button: 2,
                    is_down: false,
                    x: 640,
                    y: 65_535,
                },
                Event::Wheel {
                    dx: -120,
                    dy: 240,
                    x: 1,
                    y: 2,
                },
                Event::ReleaseAll,
            ],
            pointer: Some(Move {
                after: 12,
                number: 77,
                x: 3,
                y: 4,
            }),
            held: Some(vec![30, 42]),
        }
    }

    /// These bytes are the contract with every viewer ever shipped.
    const GOLDEN: &[u8] = &[
        1, 3, 8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 4, 1, 1, 30, 0, 0x61, 0, 0, 0, 2, 0, 2, 128, 2,
        255, 255, 3, 136, 255, 240, 0, 1, 0, 2, 0, 4, 12, 0, 0, 0, 77, 0, 0, 0, 3, 0, 4, 0, 2, 30,
        0, 42, 0,
    ];

    #[test]
    fn the_bytes_of_a_packet_never_change() {
        assert_eq!(packet().encode(), GOLDEN);
        assert_eq!(Packet::decode(GOLDEN), Ok(packet()));
        assert_eq!(encode_ack(1, 2), [2, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn the_bytes_of_a_step_of_the_pointer_never_change() {
        let packet = Packet {
            stream: 1,
            first_seq: 2,
            events: vec![Event::MoveBy { dx: -3, dy: 260 }],
            pointer: None,
            held: None,
        };
        let golden = [
            1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 5, 253, 255, 4, 1,
        ];
        assert_eq!(packet.encode(), golden);
        assert_eq!(Packet::decode(&golden), Ok(packet));
    }

    #[test]
    fn steps_of_the_pointer_join_while_their_sum_can_be_told() {
        let by = |dx, dy| Event::MoveBy { dx, dy };
        assert_eq!(by(1, -2).joined(by(3, 4)), Some(by(4, 2)));
        assert_eq!(by(i16::MAX, 0).joined(by(1, 0)), None);
        assert_eq!(by(0, i16::MIN).joined(by(0, -1)), None);
        assert_eq!(by(1, 1).joined(Event::ReleaseAll), None);
        assert_eq!(Event::ReleaseAll.joined(Event::ReleaseAll), None);
    }

    #[test]
    fn every_cut_of_a_packet_is_refused() {
        for end in 0..GOLDEN.len() {
            assert_eq!(
                Packet::decode(&GOLDEN[..end]),
                Err(InputError::Short),
                "{end}"
            );
        }
    }

    #[test]
    fn what_the_layout_does_not_know_is_refused() {
        #[track_caller]
        fn check(at: usize, value: u8, expected: InputError) {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] = value;
            assert_eq!(Packet::decode(&bytes), Err(expected));
        }
        check(0, 9, InputError::Kind(9));
        check(
            1,
            7,
            InputError::Unknown {
                what: "flag",
                value: 7,
            },
        );
        check(14, 33, InputError::TooMany(33));
        check(
            15,
            200,
            InputError::Unknown {
                what: "event",
                value: 200,
            },
        );
        check(
            16,
            2,
            InputError::Unknown {
                what: "direction",
                value: 2,
            },
        );
        let mut bytes = GOLDEN.to_vec();
        bytes.push(0);
        assert_eq!(Packet::decode(&bytes), Err(InputError::Trailing(1)));
    }
}
