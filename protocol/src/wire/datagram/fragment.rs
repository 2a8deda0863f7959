//! One piece of an update: data, or parity for repairing others.

use super::{CLASS_FRAGMENT, DatagramError, Epoch, known};
use crate::limits::{FRAGMENTS_MAX, PARITY_MAX};
use crate::wire::reader::Reader;

/// Bytes before a fragment's content.
pub const FRAGMENT_HEADER_LEN: usize = 22;

const REPAIR: u8 = 1;
const VIDEO_ONLY: u8 = 2;
const RECOVERS: u8 = 4;
const KNOWN: u8 = REPAIR | VIDEO_ONLY | RECOVERS;

/// What a viewer must know of an update before it has all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentFlags {
    /// Sent again, or more parity: its lateness says nothing about the path.
    pub is_repair: bool,
    /// The update holds video and nothing else, so that it may be given up.
    pub is_video_only: bool,
    /// The update's video needs nothing of what was given up.
    pub recovers: bool,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentHeader {
    /// What is known of the update.
    pub flags: FragmentFlags,
    /// Epoch of the update.
    pub epoch: Epoch,
    /// Counts the packets that feedback speaks of. Wraps.
    pub packet: u16,
    /// Number of the update in its epoch, from 1.
    pub update: u32,
    /// When it left: the server's clock in microseconds. Wraps.
    pub sent: u32,
    /// Bytes of the whole update.
    pub length: u16,
    /// Data fragments come first, parity after them.
    pub index: u8,
    /// Parity fragments that follow the data unasked.
    pub parity: u8,
    /// Updates before this one that need not be waited for: bit 0 is the one just before.
    pub void: u32,
}

/// A fragment and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Where it belongs.
    pub header: FragmentHeader,
    /// The content: all fragments of an update have the same even length.
    pub shard: &'a [u8],
}

impl FragmentHeader {
    /// The bytes before a shard.
    pub fn encode(&self) -> [u8; FRAGMENT_HEADER_LEN] {
        let flags = u8::from(self.flags.is_repair) * REPAIR
            + u8::from(self.flags.is_video_only) * VIDEO_ONLY
            + u8::from(self.flags.recovers) * RECOVERS;
        let [e0, e1] = self.epoch.0.to_le_bytes();
        let [p0, p1] = self.packet.to_le_bytes();
        let [u0, u1, u2, u3] = self.update.to_le_bytes();
        let [s0, s1, s2, s3] = self.sent.to_le_bytes();
        let [l0, l1] = self.length.to_le_bytes();
        let [v0, v1, v2, v3] = self.void.to_le_bytes();
        [
            CLASS_FRAGMENT,
            flags,
            e0,
            e1,
            p0,
            p1,
            u0,
            u1,
            u2,
            u3,
            s0,
            s1,
            s2,
            s3,
            l0,
            l1,
            self.index,
            self.parity,
            v0,
            v1,
            v2,
            v3,
        ]
    }
}

impl<'a> Fragment<'a> {
    pub(super) fn decode(mut reader: Reader<'a>) -> Result<Self, DatagramError> {
        let short = DatagramError::Short {
            class: CLASS_FRAGMENT,
        };
        let header = read_header(&mut reader).ok_or(short)??;
        let shard = reader.0;
        let field = |what, value| DatagramError::Field { what, value };
        if header.update == 0 {
            return Err(field("update", 0));
        }
        if header.length == 0 {
            return Err(field("length", 0));
        }
        if shard.is_empty() || !shard.len().is_multiple_of(2) {
            // At most `DATAGRAM_BYTES_MAX`, so it fits.
            return Err(field("shard of bytes", shard.len() as u32));
        }
        let fragment = Self { header, shard };
        let data = fragment.data_count();
        if data > FRAGMENTS_MAX {
            return Err(field("fragments", data as u32));
        }
        if usize::from(header.index) >= data + PARITY_MAX {
            return Err(field("index", u32::from(header.index)));
        }
        if usize::from(header.parity) > PARITY_MAX {
            return Err(field("parity", u32::from(header.parity)));
        }
        Ok(fragment)
    }

    /// How many fragments hold the update's bytes.
    pub const fn data_count(&self) -> usize {
        (self.header.length as usize).div_ceil(self.shard.len())
    }
}

fn read_header(reader: &mut Reader<'_>) -> Option<Result<FragmentHeader, DatagramError>> {
    let flags = match known(reader.u8()?, KNOWN) {
        Ok(flags) => flags,
        Err(error) => return Some(Err(error)),
    };
    Some(Ok(FragmentHeader {
        flags: FragmentFlags {
            is_repair: flags & REPAIR != 0,
            is_video_only: flags & VIDEO_ONLY != 0,
            recovers: flags & RECOVERS != 0,
        },
        epoch: Epoch(reader.u16()?),
        packet: reader.u16()?,
        update: reader.u32()?,
        sent: reader.u32()?,
        length: reader.u16()?,
        index: reader.u8()?,
        parity: reader.u8()?,
        void: reader.u32()?,
    }))
}
