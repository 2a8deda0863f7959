//! A viewer's report: what arrived, when, and how far its picture has come.

use super::{CLASS_FEEDBACK, DatagramError, Epoch, end};
use crate::limits::FEEDBACK_PACKETS_MAX;
use crate::wire::reader::Reader;

/// Bytes before the list of arrivals.
pub const FEEDBACK_HEADER_LEN: usize = 22;

/// What stands for a packet that has not arrived.
const MISSING: u16 = u16::MAX;

/// Microseconds of one step of an arrival's time: a report spans a second at most.
const STEP: u32 = 16;

/// What a report says beside the arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedbackHeader {
    /// Epoch of the picture.
    pub epoch: Epoch,
    /// Every update up to this one was handed out, in order; 0 before the first.
    pub delivered: u32,
    /// Newest update of which something came.
    pub newest: u32,
    /// Updates that wait for the decoder.
    pub decode_queue: u8,
    /// Pictures a second that the viewer's screen shows; 0 unknown.
    pub display_hz: u8,
    /// Number of the first packet reported on.
    pub first_packet: u16,
    /// Arrival of the earliest packet in the list: the viewer's clock in microseconds. Wraps.
    pub base: u32,
    /// How long the newest packet's arrival had been known when this left; microseconds.
    pub held: u16,
}

/// A report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// Everything but the arrivals.
    pub header: FeedbackHeader,
    /// Arrivals of consecutive packets.
    pub arrivals: Arrivals<'a>,
}

/// Arrivals of consecutive packets as they stand in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals<'a>(&'a [u8]);

impl FeedbackHeader {
    /// Writes a report on consecutive packets; an arrival is microseconds after `base`, `None`
    /// has not arrived.
    ///
    /// # Panics
    ///
    /// When there are more arrivals than [`FEEDBACK_PACKETS_MAX`].
    pub fn encode_into(
        &self,
        arrivals: impl ExactSizeIterator<Item = Option<u32>>,
        out: &mut Vec<u8>,
    ) {
        let count = arrivals.len();
        assert!(count <= FEEDBACK_PACKETS_MAX, "report on {count} packets");
        out.clear();
        out.extend([CLASS_FEEDBACK]);
        out.extend(self.epoch.0.to_le_bytes());
        out.extend(self.delivered.to_le_bytes());
        out.extend(self.newest.to_le_bytes());
        out.extend([self.decode_queue, self.display_hz]);
        out.extend(self.first_packet.to_le_bytes());
        out.extend(self.base.to_le_bytes());
        out.extend(self.held.to_le_bytes());
        out.push(count as u8);
        for arrival in arrivals {
            let steps = arrival.map_or(MISSING, |it| {
                u16::try_from(it / STEP).unwrap_or(MISSING).min(MISSING - 1)
            });
            out.extend(steps.to_le_bytes());
        }
    }
}

impl<'a> Feedback<'a> {
    pub(super) fn decode(mut reader: Reader<'a>) -> Result<Self, DatagramError> {
        let short = DatagramError::Short {
            class: CLASS_FEEDBACK,
        };
        let (header, count) = read_header(&mut reader).ok_or(short)?;
        if usize::from(count) > FEEDBACK_PACKETS_MAX {
            return Err(DatagramError::Field {
                what: "count",
                value: u32::from(count),
            });
        }
        let arrivals = reader.bytes(usize::from(count) * 2).ok_or(short)?;
        end(reader)?;
        Ok(Self {
            header,
            arrivals: Arrivals(arrivals),
        })
    }
}

impl Arrivals<'_> {
    /// Packets reported on.
    pub const fn len(&self) -> usize {
        self.0.len() / 2
    }

    /// Whether the report names no packet.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Microseconds after the report's `base`, packet by packet; `None` has not arrived.
    pub fn iter(&self) -> impl Iterator<Item = Option<u32>> {
        let (steps, _) = self.0.as_chunks::<2>();
        steps.iter().map(|it| {
            let steps = u16::from_le_bytes(*it);
            (steps != MISSING).then_some(u32::from(steps) * STEP)
        })
    }
}

fn read_header(reader: &mut Reader<'_>) -> Option<(FeedbackHeader, u8)> {
    let header = FeedbackHeader {
        epoch: Epoch(reader.u16()?),
        delivered: reader.u32()?,
        newest: reader.u32()?,
        decode_queue: reader.u8()?,
        display_hz: reader.u8()?,
        first_packet: reader.u16()?,
        base: reader.u32()?,
        held: reader.u16()?,
    };
    Some((header, reader.u8()?))
}
