//! Messages of the control stream. Layout: `docs/PROTOCOL.md`, "Control stream".
//!
//! A frame is `length u32` (bytes after it), then the message: its kind as `u32`, its fields as
//! bincode lays them out (fixed integers, little endian), and extensions: `kind u16`,
//! `length u16`, bytes. What this version does not know is skipped, unless its kind is critical.

mod message;
mod negotiation;

pub use self::message::{
    AuthFailure, AuthMethod, Chroma, Codec, Display, FromServer, FromViewer, Profile, Secret,
    StreamConfig, VideoCapability,
};
pub use self::negotiation::{
    Agreement, FEATURES, Features, MINOR_MAX, MINOR_MIN, NegotiationError, Offer, negotiate,
};

use bincode::{Decode, Encode};

use super::reader::Reader;
use crate::codec::{self, CodecError};
use crate::limits::{CONTROL_BYTES_BEFORE_AUTH_MAX, CONTROL_BYTES_MAX};

/// Bytes of the length before a message.
pub const LENGTH_LEN: usize = 4;

/// A message kind with this bit closes the connection where it is not known.
pub const CRITICAL_KIND: u32 = 1 << 31;

/// An extension kind with this bit closes the connection where it is not known.
pub const CRITICAL_EXTENSION: u16 = 1 << 15;

/// How long messages may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The peer has not signed in.
    Stranger,
    /// It has.
    SignedIn,
}

/// Why bytes on the control stream were refused. All of them close the connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// A message longer than its sender may send.
    #[error("control message of {length} bytes, more than {most}")]
    Long {
        /// As the peer announced it.
        length: usize,
        /// What it may be.
        most: usize,
    },
    /// A kind that this version does not know and must.
    #[error("control message of unknown kind {0:#x}")]
    Kind(u32),
    /// An extension that this version does not know and must.
    #[error("control message with unknown extension {0:#x}")]
    Extension(u16),
    /// Fields or extensions are cut short or outside their range.
    #[error("malformed control message of kind {kind}")]
    Malformed {
        /// Its kind.
        kind: u32,
        /// What the codec said; nothing where an extension is cut short.
        #[source]
        source: Option<CodecError>,
    },
}

/// Messages of one direction: how many kinds this version knows.
pub trait Message: Encode + Decode<()> {
    /// Kinds count from 0 to this.
    const KINDS: u32;
}

/// Takes frames out of the bytes of a stream, in whatever pieces they come.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Bytes at the front that were handed out.
    taken: usize,
}

impl Trust {
    /// Bytes of one message.
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Stranger => CONTROL_BYTES_BEFORE_AUTH_MAX,
            Self::SignedIn => CONTROL_BYTES_MAX,
        }
    }
}

impl Frames {
    /// How many bytes the stream may be read for: the rest of the message at hand, a whole one at
    /// most. So a peer fills no more memory than one message takes.
    pub fn room(&self, trust: Trust) -> usize {
        (LENGTH_LEN + trust.bytes_max()).saturating_sub(self.bytes.len() - self.taken)
    }

    /// Bytes came, at most [`room`](Self::room).
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend(bytes);
    }

    /// The next whole message, without its length.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError::Long`] as soon as the length says so.
    pub fn poll_frame(&mut self, trust: Trust) -> Result<Option<&[u8]>, ControlError> {
        let mut reader = Reader(self.bytes.get(self.taken..).unwrap_or_default());
        let Some(length) = reader.u32() else {
            return Ok(None);
        };
        let (length, most) = (length as usize, trust.bytes_max());
        if length > most {
            return Err(ControlError::Long { length, most });
        }
        let Some(frame) = reader.bytes(length) else {
            return Ok(None);
        };
        self.taken += LENGTH_LEN + length;
        Ok(Some(frame))
    }
}

/// Reads a message; `None` is one that this version may skip.
///
/// # Errors
///
/// Returns [`ControlError`] for what this version must know and does not, and for what is
/// malformed.
pub fn decode<M: Message>(frame: &[u8]) -> Result<Option<M>, ControlError> {
    let kind = Reader(frame).u32().unwrap_or(CRITICAL_KIND);
    if kind >= M::KINDS {
        return match kind & CRITICAL_KIND {
            0 => Ok(None),
            _ => Err(ControlError::Kind(kind)),
        };
    }
    let malformed = |source| ControlError::Malformed { kind, source };
    let (message, used) = codec::decode_first::<M>(frame).map_err(|it| malformed(Some(it)))?;
    let mut reader = Reader(frame.get(used..).unwrap_or_default());
    while !reader.0.is_empty() {
        let extension = reader.u16().ok_or_else(|| malformed(None))?;
        let length = reader.u16().ok_or_else(|| malformed(None))?;
        reader
            .bytes(usize::from(length))
            .ok_or_else(|| malformed(None))?;
        // This version has none.
        if extension & CRITICAL_EXTENSION != 0 {
            return Err(ControlError::Extension(extension));
        }
    }
    Ok(Some(message))
}

/// Writes a message with its length after what `out` holds.
///
/// # Errors
///
/// Returns [`CodecError`] when it exceeds the limit.
pub fn encode_into<M: Message>(message: &M, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let bytes = codec::encode(message)?;
    // At most `CONTROL_BYTES_MAX`.
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
    Ok(())
}

#[cfg(test)]
#[path = "control/tests.rs"]
mod tests;
