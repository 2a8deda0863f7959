//! The small datagrams: lost references, pointer, sound, clocks.

use super::{
    CLASS_CURSOR, CLASS_PING, CLASS_PONG, CLASS_REFERENCE_LOST, CLASS_SOUND, DatagramError, Epoch,
    end, known,
};
use crate::limits::SOUND_BYTES_MAX;
use crate::wire::reader::Reader;

/// Bytes before a sound datagram's content.
pub const SOUND_HEADER_LEN: usize = 11;

const CURSOR_VISIBLE: u8 = 1;

/// Updates that a viewer cannot put together in time, and what its decoder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceLost {
    /// Epoch of the updates.
    pub epoch: Epoch,
    /// First update that is missing.
    pub first: u32,
    /// Last update that is missing.
    pub last: u32,
    /// Newest update handed out; 0 where there was none.
    pub good: u32,
}

/// Where the pointer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Counts the places; an older one is dropped. Wraps.
    pub number: u16,
    /// Whether it is shown.
    pub is_visible: bool,
    /// Pixels from the left.
    pub x: u16,
    /// Pixels from the top.
    pub y: u16,
}

/// What stands before coded sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundHeader {
    /// Epoch of the sound's settings.
    pub epoch: Epoch,
    /// Counts the packets that feedback speaks of. Wraps.
    pub packet: u16,
    /// Counts the sound datagrams. Wraps.
    pub number: u16,
    /// When the sound was taken: the server's clock in microseconds. Wraps.
    pub taken: u32,
}

/// A viewer's question for the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Counts the questions. Wraps.
    pub number: u16,
}

/// The answer to a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// Number of the question.
    pub number: u16,
    /// The server's clock in microseconds.
    pub clock: u64,
}

impl ReferenceLost {
    /// The whole datagram.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(CLASS_REFERENCE_LOST);
        out.extend(self.epoch.0.to_le_bytes());
        for number in [self.first, self.last, self.good] {
            out.extend(number.to_le_bytes());
        }
    }

    pub(super) fn decode(reader: Reader<'_>) -> Result<Self, DatagramError> {
        let lost = whole(reader, CLASS_REFERENCE_LOST, |it| {
            Some(Self {
                epoch: Epoch(it.u16()?),
                first: it.u32()?,
                last: it.u32()?,
                good: it.u32()?,
            })
        })?;
        if lost.good >= lost.first || lost.first > lost.last {
            return Err(DatagramError::Field {
                what: "first lost update",
                value: lost.first,
            });
        }
        Ok(lost)
    }
}

impl Cursor {
    /// The whole datagram.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend([CLASS_CURSOR, u8::from(self.is_visible) * CURSOR_VISIBLE]);
        for number in [self.number, self.x, self.y] {
            out.extend(number.to_le_bytes());
        }
    }

    pub(super) fn decode(reader: Reader<'_>) -> Result<Self, DatagramError> {
        let (flags, cursor) = whole(reader, CLASS_CURSOR, |it| {
            let flags = it.u8()?;
            let cursor = Self {
                is_visible: flags & CURSOR_VISIBLE != 0,
                number: it.u16()?,
                x: it.u16()?,
                y: it.u16()?,
            };
            Some((flags, cursor))
        })?;
        known(flags, CURSOR_VISIBLE).map(|_| cursor)
    }
}

impl SoundHeader {
    /// Writes the whole datagram.
    ///
    /// # Panics
    ///
    /// When the sound exceeds [`SOUND_BYTES_MAX`].
    pub fn encode_into(&self, sound: &[u8], out: &mut Vec<u8>) {
        assert!(
            sound.len() <= SOUND_BYTES_MAX,
            "sound of {} bytes",
            sound.len()
        );
        out.clear();
        out.push(CLASS_SOUND);
        for number in [self.epoch.0, self.packet, self.number] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.taken.to_le_bytes());
        out.extend(sound);
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<(Self, &[u8]), DatagramError> {
        let mut header = || {
            Some(Self {
                epoch: Epoch(reader.u16()?),
                packet: reader.u16()?,
                number: reader.u16()?,
                taken: reader.u32()?,
            })
        };
        let header = header().ok_or(DatagramError::Short { class: CLASS_SOUND })?;
        match reader.0.len() {
            0 => Err(DatagramError::Short { class: CLASS_SOUND }),
            1..=SOUND_BYTES_MAX => Ok((header, reader.0)),
            length => Err(DatagramError::Long(length)),
        }
    }
}

impl Ping {
    /// The whole datagram.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(CLASS_PING);
        out.extend(self.number.to_le_bytes());
    }

    pub(super) fn decode(reader: Reader<'_>) -> Result<Self, DatagramError> {
        whole(reader, CLASS_PING, |it| Some(Self { number: it.u16()? }))
    }
}

impl Pong {
    /// The whole datagram.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(CLASS_PONG);
        out.extend(self.number.to_le_bytes());
        out.extend(self.clock.to_le_bytes());
    }

    pub(super) fn decode(reader: Reader<'_>) -> Result<Self, DatagramError> {
        whole(reader, CLASS_PONG, |it| {
            Some(Self {
                number: it.u16()?,
                clock: it.u64()?,
            })
        })
    }
}

/// Reads fields that fill the datagram to its end.
fn whole<'a, T>(
    mut reader: Reader<'a>,
    class: u8,
    read: impl FnOnce(&mut Reader<'a>) -> Option<T>,
) -> Result<T, DatagramError> {
    let fields = read(&mut reader).ok_or(DatagramError::Short { class })?;
    end(reader).map(|()| fields)
}
