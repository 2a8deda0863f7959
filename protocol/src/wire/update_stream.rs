//! What stands before an update that is too large for datagrams, on a stream of its own.

use super::datagram::{DatagramError, Epoch, FragmentFlags};
use super::reader::Reader;
use crate::limits::UPDATE_BYTES_MAX;

/// First byte of the stream.
pub const STREAM_UPDATE: u8 = 0x10;

/// Bytes before the update's own.
pub const STREAM_HEADER_LEN: usize = 16;

const VIDEO_ONLY: u8 = 2;
const RECOVERS: u8 = 4;

/// Which update the stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    /// What is known of the update; never a repair.
    pub flags: FragmentFlags,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its number, from 1.
    pub update: u32,
    /// Updates before this one that need not be waited for: bit 0 is the one just before.
    pub void: u32,
    /// Bytes that follow.
    pub length: u32,
}

impl StreamHeader {
    /// The bytes before the update's.
    pub fn encode(&self) -> [u8; STREAM_HEADER_LEN] {
        let flags = u8::from(self.flags.is_video_only) * VIDEO_ONLY
            + u8::from(self.flags.recovers) * RECOVERS;
        let [e0, e1] = self.epoch.0.to_le_bytes();
        let mut out = [0; STREAM_HEADER_LEN];
        let fields = [self.update, self.void, self.length];
        let (head, rest) = out.split_at_mut(4);
        head.copy_from_slice(&[STREAM_UPDATE, flags, e0, e1]);
        for (slot, field) in rest.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
            *slot = field.to_le_bytes();
        }
        out
    }

    /// Parses and checks what stands before an update.
    ///
    /// # Errors
    ///
    /// Returns [`DatagramError`] when it is outside the layout or its limits.
    pub fn decode(bytes: [u8; STREAM_HEADER_LEN]) -> Result<Self, DatagramError> {
        let mut reader = Reader(&bytes);
        let short = DatagramError::Short {
            class: STREAM_UPDATE,
        };
        match reader.u8().ok_or(short)? {
            STREAM_UPDATE => (),
            class => return Err(DatagramError::Class(class)),
        }
        let flags = reader.u8().ok_or(short)?;
        let field = |what, value| DatagramError::Field { what, value };
        if flags & !(VIDEO_ONLY | RECOVERS) != 0 {
            return Err(field("flags", u32::from(flags)));
        }
        let header = Self {
            flags: FragmentFlags {
                is_repair: false,
                is_video_only: flags & VIDEO_ONLY != 0,
                recovers: flags & RECOVERS != 0,
            },
            epoch: Epoch(reader.u16().ok_or(short)?),
            update: reader.u32().ok_or(short)?,
            void: reader.u32().ok_or(short)?,
            length: reader.u32().ok_or(short)?,
        };
        if header.update == 0 {
            return Err(field("update", 0));
        }
        if !(1..=UPDATE_BYTES_MAX).contains(&(header.length as usize)) {
            return Err(field("length", header.length));
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: StreamHeader = StreamHeader {
        flags: FragmentFlags {
            is_repair: false,
            is_video_only: false,
            recovers: true,
        },
        epoch: Epoch(1),
        update: 2,
        void: 3,
        length: 4,
    };

    #[test]
    fn the_bytes_before_a_large_update_never_change() {
        let bytes = [16, 4, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0];
        assert_eq!(HEADER.encode(), bytes);
        assert_eq!(StreamHeader::decode(bytes), Ok(HEADER));
    }

    #[test]
    fn what_the_layout_does_not_know_is_refused() {
        for (at, value) in [(0, 17), (1, 1), (1, 8), (4, 0), (12, 0), (15, 2)] {
            let mut bytes = HEADER.encode();
            bytes[at] = value;
            assert!(StreamHeader::decode(bytes).is_err(), "{at} {value}");
        }
    }
}
