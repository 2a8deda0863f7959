//! How one encoded frame travels from the worker to the daemon on the media socket (STREAM).
//!
//! Layout, little endian: `length u32` (bytes after it) · [`HEADER_LEN`] bytes of header · payload
//! (an access unit in H.264 Annex B, or an update). Hand-laid: the header is fixed and its fields
//! are read in place.

use crate::limits::{ACCESS_UNIT_BYTES_MAX, UPDATE_BYTES_MAX};
use crate::{Micros, Size};

/// Bytes of the length prefix.
pub const PREFIX_LEN: usize = 4;

/// Bytes of the header.
pub const HEADER_LEN: usize = 48;

/// Bytes after the prefix at most.
const FRAME_BYTES_MAX: usize = HEADER_LEN + UPDATE_BYTES_MAX;

const FLAG_KEYFRAME: u8 = 1;
const FLAG_REFINEMENT: u8 = 2;
const FLAG_UPDATE: u8 = 4;
const FLAG_WHOLE: u8 = 8;
const FLAG_VIDEO_ONLY: u8 = 16;
const FLAG_RECOVERS: u8 = 32;
const FLAGS_OF_UPDATES: u8 = FLAG_WHOLE | FLAG_VIDEO_ONLY | FLAG_RECOVERS;

/// What the payload of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An access unit, for viewers that take video alone.
    AccessUnit,
    /// An update of the screen layer, for viewers that apply such.
    Update {
        /// It needs nothing before it.
        is_whole: bool,
        /// It holds video and nothing else, so that it may be given up.
        is_video_only: bool,
        /// What was lost of the video is not needed from here on.
        recovers: bool,
    },
}

/// What the worker says about one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the payload is.
    pub content: Content,
    /// The access unit, or the one in the update, is decodable alone, with parameter sets.
    pub is_keyframe: bool,
    /// Nothing changed on the screen: the picture only gets sharper.
    pub is_refinement: bool,
    /// Quantiser of the frame.
    pub qp: u8,
    /// Counts the access units of one attach from 1; in an update the number of the one that it
    /// holds, 0 without.
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

/// Bytes on the media socket were no frame; the worker is lying or of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length is outside what a frame of its content can be.
    #[error("frame of {0} bytes")]
    Length(usize),
    /// Bits in the flags that are unknown or do not go together.
    #[error("unknown flags {0:#04x}")]
    Flags(u8),
    /// Fewer bytes than a header has.
    #[error("header of {0} bytes")]
    Short(usize),
}

impl Content {
    /// Bytes that it may have.
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::AccessUnit => ACCESS_UNIT_BYTES_MAX,
            Self::Update { .. } => UPDATE_BYTES_MAX,
        }
    }

    fn flags(self) -> u8 {
        match self {
            Self::AccessUnit => 0,
            Self::Update {
                is_whole,
                is_video_only,
                recovers,
            } => {
                FLAG_UPDATE
                    + u8::from(is_whole) * FLAG_WHOLE
                    + u8::from(is_video_only) * FLAG_VIDEO_ONLY
                    + u8::from(recovers) * FLAG_RECOVERS
            }
        }
    }

    /// `None` for flags that do not go together, or are not known.
    fn from_flags(flags: u8) -> Option<Self> {
        let known = FLAG_KEYFRAME | FLAG_REFINEMENT | FLAG_UPDATE | FLAGS_OF_UPDATES;
        if flags & !known != 0 {
            return None;
        }
        if flags & FLAG_UPDATE != 0 {
            return Some(Self::Update {
                is_whole: flags & FLAG_WHOLE != 0,
                is_video_only: flags & FLAG_VIDEO_ONLY != 0,
                recovers: flags & FLAG_RECOVERS != 0,
            });
        }
        (flags & FLAGS_OF_UPDATES == 0).then_some(Self::AccessUnit)
    }
}

impl FrameHeader {
    /// Prefix and header for a payload of `payload_len` bytes.
    ///
    /// # Panics
    ///
    /// When the payload exceeds what its content may have: the encoder's limits are ours.
    pub fn encode(&self, payload_len: usize) -> [u8; PREFIX_LEN + HEADER_LEN] {
        let length = HEADER_LEN + payload_len;
        assert!(
            payload_len <= self.content.bytes_max(),
            "frame of {payload_len} bytes"
        );
        let flags = u8::from(self.is_keyframe) * FLAG_KEYFRAME
            + u8::from(self.is_refinement) * FLAG_REFINEMENT
            + self.content.flags();
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
    /// Returns [`FrameError::Length`] when it cannot be a frame.
    pub fn decode_prefix(prefix: [u8; PREFIX_LEN]) -> Result<usize, FrameError> {
        let length = u32::from_le_bytes(prefix) as usize;
        if (HEADER_LEN..=FRAME_BYTES_MAX).contains(&length) {
            Ok(length)
        } else {
            Err(FrameError::Length(length))
        }
    }

    /// Splits the bytes after the prefix into header and payload.
    ///
    /// # Errors
    ///
    /// Returns [`FrameError`] when the bytes are too few or too many or carry unknown flags.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        let Some((header, payload)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(FrameError::Short(bytes.len()));
        };
        let mut rest = header.as_slice();
        let [flags, qp, _, _] = take(&mut rest);
        let content = Content::from_flags(flags).ok_or(FrameError::Flags(flags))?;
        if payload.len() > content.bytes_max() {
            return Err(FrameError::Length(bytes.len()));
        }
        let frame = u32::from_le_bytes(take(&mut rest));
        let width = u16::from_le_bytes(take(&mut rest));
        let height = u16::from_le_bytes(take(&mut rest));
        let input_seq = u32::from_le_bytes(take(&mut rest));
        let mut stamp = || Micros(u64::from_le_bytes(take(&mut rest)));
        let header = Self {
            content,
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

    const HEADER: FrameHeader = FrameHeader {
        content: Content::AccessUnit,
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
        assert_eq!(FrameHeader::decode_prefix(*prefix), Ok(rest.len()));
        assert_eq!(FrameHeader::decode(rest), Ok((HEADER, b"abc".as_slice())));
        for flags in 0..8 {
            let content = Content::Update {
                is_whole: flags & 1 != 0,
                is_video_only: flags & 2 != 0,
                recovers: flags & 4 != 0,
            };
            let header = FrameHeader { content, ..HEADER };
            let bytes = header.encode(0);
            let decoded = FrameHeader::decode(&bytes[PREFIX_LEN..]);
            assert_eq!(decoded, Ok((header, [].as_slice())));
        }
    }

    #[test]
    fn lengths_and_flags_outside_the_layout_are_refused() {
        for length in [0, HEADER_LEN - 1, FRAME_BYTES_MAX + 1, u32::MAX as usize] {
            let prefix = u32::try_from(length).unwrap().to_le_bytes();
            assert_eq!(
                FrameHeader::decode_prefix(prefix),
                Err(FrameError::Length(length))
            );
        }
        let mut bytes = HEADER.encode(0)[PREFIX_LEN..].to_vec();
        assert_eq!(FrameHeader::decode(&bytes[1..]), Err(FrameError::Short(47)));
        for flags in [0x84, 0x40, FLAG_WHOLE, FLAG_VIDEO_ONLY, FLAG_RECOVERS] {
            bytes[0] = flags;
            assert_eq!(FrameHeader::decode(&bytes), Err(FrameError::Flags(flags)));
        }
        let mut long = vec![0; HEADER_LEN + ACCESS_UNIT_BYTES_MAX + 1];
        assert_eq!(
            FrameHeader::decode(&long),
            Err(FrameError::Length(long.len()))
        );
        long[0] = FLAG_UPDATE;
        assert!(FrameHeader::decode(&long).is_ok());
    }
}
