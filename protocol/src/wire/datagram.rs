//! Datagrams of `sandbox/1`. Layout: `docs/PROTOCOL.md`, "Datagrams". All little endian.
//!
//! The first byte is the class. Nothing here allocates: headers are written into the caller's
//! buffers, and what is read borrows from the bytes that came.

mod feedback;
mod fragment;
mod nack;
mod small;

pub use self::feedback::{Arrivals, FEEDBACK_HEADER_LEN, Feedback, FeedbackHeader};
pub use self::fragment::{FRAGMENT_HEADER_LEN, Fragment, FragmentFlags, FragmentHeader};
pub use self::nack::{ALL_FRAGMENTS, Nack, Wanted};
pub use self::small::{Cursor, Ping, Pong, ReferenceLost, SOUND_HEADER_LEN, SoundHeader};

use super::input::{InputError, KIND_ACK, KIND_INPUT, Packet};
use super::reader::Reader;
use crate::limits::DATAGRAM_BYTES_MAX;

const CLASS_FRAGMENT: u8 = 3;
const CLASS_SOUND: u8 = 4;
const CLASS_FEEDBACK: u8 = 5;
const CLASS_NACK: u8 = 6;
const CLASS_REFERENCE_LOST: u8 = 7;
const CLASS_CURSOR: u8 = 8;
const CLASS_PING: u8 = 9;
const CLASS_PONG: u8 = 10;

/// Numbers the settings of a stream; updates count from 1 in each. Wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Epoch(pub u16);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Whether this one began after `other`.
    pub const fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }
}

/// A datagram from a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromViewer<'a> {
    /// Keys, buttons, moves.
    Input(Packet),
    /// What arrived, and when.
    Feedback(Feedback<'a>),
    /// Updates that miss fragments.
    Nack(Nack<'a>),
    /// Video that cannot be repaired in time.
    ReferenceLost(ReferenceLost),
    /// Asks for the server's clock.
    Ping(Ping),
}

/// A datagram from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromServer<'a> {
    /// Input that has been applied.
    InputAck {
        /// Which input stream.
        stream: u64,
        /// Everything up to and including it has been applied.
        seq: u32,
    },
    /// A piece of an update.
    Fragment(Fragment<'a>),
    /// Coded sound.
    Sound(SoundHeader, &'a [u8]),
    /// Where the pointer is.
    Cursor(Cursor),
    /// The server's clock.
    Pong(Pong),
}

/// Why bytes were no datagram of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// It ends inside a field.
    #[error("datagram of class {class} ends inside a field")]
    Short {
        /// Its first byte.
        class: u8,
    },
    /// Nothing in it.
    #[error("empty datagram")]
    Empty,
    /// The first byte names nothing that this end receives.
    #[error("datagram of unknown class {0}")]
    Class(u8),
    /// A field outside its range.
    #[error("datagram with {what} {value}")]
    Field {
        /// Which field.
        what: &'static str,
        /// What it held.
        value: u32,
    },
    /// Bytes follow the last field.
    #[error("{0} bytes after the datagram")]
    Trailing(usize),
    /// More bytes than any path carries.
    #[error("datagram of {0} bytes, more than {DATAGRAM_BYTES_MAX}")]
    Long(usize),
    /// An input packet was malformed.
    #[error(transparent)]
    Input(#[from] InputError),
}

impl<'a> FromViewer<'a> {
    /// Parses and checks one datagram from a viewer.
    ///
    /// # Errors
    ///
    /// Returns [`DatagramError`] for anything but a whole datagram within the limits.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        let (class, reader) = begin(bytes)?;
        Ok(match class {
            KIND_INPUT => Self::Input(Packet::decode(bytes)?),
            CLASS_FEEDBACK => Self::Feedback(Feedback::decode(reader)?),
            CLASS_NACK => Self::Nack(Nack::decode(reader)?),
            CLASS_REFERENCE_LOST => Self::ReferenceLost(ReferenceLost::decode(reader)?),
            CLASS_PING => Self::Ping(Ping::decode(reader)?),
            class => return Err(DatagramError::Class(class)),
        })
    }
}

impl<'a> FromServer<'a> {
    /// Parses and checks one datagram from the server.
    ///
    /// # Errors
    ///
    /// Returns [`DatagramError`] for anything but a whole datagram within the limits.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        let (class, mut reader) = begin(bytes)?;
        Ok(match class {
            KIND_ACK => {
                let short = DatagramError::Short { class };
                let ack = Self::InputAck {
                    stream: reader.u64().ok_or(short)?,
                    seq: reader.u32().ok_or(short)?,
                };
                end(reader)?;
                ack
            }
            CLASS_FRAGMENT => Self::Fragment(Fragment::decode(reader)?),
            CLASS_SOUND => {
                let (header, sound) = SoundHeader::decode(reader)?;
                Self::Sound(header, sound)
            }
            CLASS_CURSOR => Self::Cursor(Cursor::decode(reader)?),
            CLASS_PONG => Self::Pong(Pong::decode(reader)?),
            class => return Err(DatagramError::Class(class)),
        })
    }
}

/// The class, and a reader at the byte after it.
fn begin(bytes: &[u8]) -> Result<(u8, Reader<'_>), DatagramError> {
    if bytes.len() > DATAGRAM_BYTES_MAX {
        return Err(DatagramError::Long(bytes.len()));
    }
    let (class, rest) = bytes.split_first().ok_or(DatagramError::Empty)?;
    Ok((*class, Reader(rest)))
}

/// Nothing may follow.
fn end(reader: Reader<'_>) -> Result<(), DatagramError> {
    match reader.0.len() {
        0 => Ok(()),
        trailing => Err(DatagramError::Trailing(trailing)),
    }
}

/// Flags that the layout does not know are refused.
fn known(flags: u8, known: u8) -> Result<u8, DatagramError> {
    if flags & !known == 0 {
        return Ok(flags);
    }
    Err(DatagramError::Field {
        what: "flags",
        value: u32::from(flags),
    })
}

#[cfg(test)]
#[path = "datagram/tests.rs"]
mod tests;
