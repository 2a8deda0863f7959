//! How one encoded frame travels from the worker to the daemon on the media socket (STREAM).
//!
//! Layout, little endian: `length u32` (bytes after it) · [`HEADER_LEN`] bytes of header · payload
//! (H.264 Annex B). Hand-laid: the header is fixed and its fields are read in place.

use crate::limits::ACCESS_UNIT_BYTES_MAX;
use crate::{Micros, Size};

/// Bytes of the length prefix.
pub const PREFIX_LEN: usize = 4;

/// Bytes of the header.
pub const HEADER_LEN: usize = 48;

const FLAG_KEYFRAME: u8 = 1;
const FLAG_REFINEMENT: u8 = 2;

/// What the worker says about one access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessUnitHeader {
    /// Decodable alone, with parameter sets.
    pub is_keyframe: bool,
    /// Nothing changed on the screen: the picture only gets sharper.
    pub is_refinement: bool,
    /// Quantiser of the frame.
    pub qp: u8,
    /// Counts the frames of one attach from 1.
    pub frame: u32,
    /// Size of the picture.
    pub size: Size,
    /// Newest input sequence number applied before the capture.
    pub input_seq: u32,
    /// When that input was injected.
    pub injected: Micros,
    /// When the damage was reported.
    pub damaged: Micros,
    /// When the copy out of the framebuffer began.
    pub captured: Micros,
    /// When the encoder returned.
    pub encoded: Micros,
}

/// Bytes on the media socket were no access unit; the worker is lying or of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessUnitError {
    /// The length prefix is outside what an access unit can be.
    #[error("access unit of {0} bytes")]
    Length(usize),
    /// Unknown bits in the flags.
    #[error("unknown flags {0:#04x}")]
    Flags(u8),
    /// Fewer bytes than a header has.
    #[error("header of {0} bytes")]
    Short(usize),
}

impl AccessUnitHeader {
    /// Prefix and header for a payload of `payload_len` bytes.
    ///
    /// # Panics
    ///
    /// When the payload exceeds [`ACCESS_UNIT_BYTES_MAX`]: the encoder's limits are ours.
    pub fn encode(&self, payload_len: usize) -> [u8; PREFIX_LEN + HEADER_LEN] {
        let length = HEADER_LEN + payload_len;
        assert!(
            length <= ACCESS_UNIT_BYTES_MAX,
            "access unit of {length} bytes"
        );
        let flags = u8::from(self.is_keyframe) * FLAG_KEYFRAME
            + u8::from(self.is_refinement) * FLAG_REFINEMENT;
        let mut out = [0; PREFIX_LEN + HEADER_LEN];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            if let Some(slot) = out.get_mut(at..at + bytes.len()) {
                slot.copy_from_slice(bytes);
            }
            at += bytes.len();
        };
        put(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        put(&[flags, self.qp, 0, 0]);
        put(&self.frame.to_le_bytes());
        put(&self.size.width.to_le_bytes());
        put(&self.size.height.to_le_bytes());
        put(&self.input_seq.to_le_bytes());
        for stamp in [self.injected, self.damaged, self.captured, self.encoded] {
            put(&stamp.0.to_le_bytes());
        }
        out
    }

    /// Bytes that follow the prefix.
    ///
    /// # Errors
    ///
    /// Returns [`AccessUnitError::Length`] when it cannot be an access unit.
    pub fn decode_prefix(prefix: [u8; PREFIX_LEN]) -> Result<usize, AccessUnitError> {
        let length = u32::from_le_bytes(prefix) as usize;
        if (HEADER_LEN..=ACCESS_UNIT_BYTES_MAX).contains(&length) {
            Ok(length)
        } else {
            Err(AccessUnitError::Length(length))
        }
    }

    /// Splits the bytes after the prefix into header and payload.
    ///
    /// # Errors
    ///
    /// Returns [`AccessUnitError`] when the bytes are too few or carry unknown flags.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), AccessUnitError> {
        let Some((header, payload)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(AccessUnitError::Short(bytes.len()));
        };
        let mut rest = header.as_slice();
        let [flags, qp, _, _] = take(&mut rest);
        if flags & !(FLAG_KEYFRAME | FLAG_REFINEMENT) != 0 {
            return Err(AccessUnitError::Flags(flags));
        }
        let frame = u32::from_le_bytes(take(&mut rest));
        let width = u16::from_le_bytes(take(&mut rest));
        let height = u16::from_le_bytes(take(&mut rest));
        let input_seq = u32::from_le_bytes(take(&mut rest));
        let mut stamp = || Micros(u64::from_le_bytes(take(&mut rest)));
        let header = Self {
            is_keyframe: flags & FLAG_KEYFRAME != 0,
            is_refinement: flags & FLAG_REFINEMENT != 0,
            qp,
            frame,
            size: Size { width, height },
            input_seq,
            injected: stamp(),
            damaged: stamp(),
            captured: stamp(),
            encoded: stamp(),
        };
        Ok((header, payload))
    }
}

/// Takes the next `N` bytes; the header's length was checked by the caller.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest
        .split_first_chunk::<N>()
        .expect("the header holds all its fields");
    *rest = tail;
    *head
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: AccessUnitHeader = AccessUnitHeader {
        is_keyframe: true,
        is_refinement: false,
        qp: 21,
        frame: 7,
        size: Size {
            width: 1920,
            height: 1080,
        },
        input_seq: 42,
        injected: Micros(1),
        damaged: Micros(2),
        captured: Micros(3),
        encoded: Micros(u64::MAX),
    };

    #[test]
    fn every_header_survives_a_round_trip() {
        let mut bytes = HEADER.encode(3).to_vec();
        bytes.extend(b"abc");
        let (prefix, rest) = bytes.split_first_chunk::<PREFIX_LEN>().unwrap();
        assert_eq!(AccessUnitHeader::decode_prefix(*prefix), Ok(rest.len()));
        assert_eq!(
            AccessUnitHeader::decode(rest),
            Ok((HEADER, b"abc".as_slice()))
        );
    }

    #[test]
    fn lengths_and_flags_outside_the_layout_are_refused() {
        for length in [
            0,
            HEADER_LEN - 1,
            ACCESS_UNIT_BYTES_MAX + 1,
            u32::MAX as usize,
        ] {
            let prefix = u32::try_from(length).unwrap().to_le_bytes();
            assert_eq!(
                AccessUnitHeader::decode_prefix(prefix),
                Err(AccessUnitError::Length(length))
            );
        }
        let mut bytes = HEADER.encode(0)[PREFIX_LEN..].to_vec();
        assert_eq!(
            AccessUnitHeader::decode(&bytes[1..]),
            Err(AccessUnitError::Short(47))
        );
        bytes[0] = 0x84;
        assert_eq!(
            AccessUnitHeader::decode(&bytes),
            Err(AccessUnitError::Flags(0x84))
        );
    }
}
