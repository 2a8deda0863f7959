//! A stream of QUIC as far as it matters here: its bytes arrive, the lost ones a round trip and a
//! quarter later.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sandbox_protocol::wire::datagram::Epoch;
use sandbox_protocol::wire::update_stream::{STREAM_HEADER_LEN, StreamHeader};

/// Bytes in one packet.
pub(crate) const SEGMENT: usize = 1_100;

/// Names a stream.
pub(crate) type StreamName = (u16, u32);

/// A part of a stream in one packet.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) stream: StreamName,
    pub(crate) offset: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_last: bool,
}

/// The sending end of all streams.
#[derive(Debug, Default)]
pub(crate) struct Writers(BTreeMap<StreamName, usize>);

/// The receiving end of all streams.
#[derive(Debug, Default)]
pub(crate) struct Readers(BTreeMap<StreamName, Reader>);

#[derive(Debug, Default)]
struct Reader {
    segments: BTreeMap<usize, Vec<u8>>,
    end: Option<usize>,
    is_announced: bool,
}

/// What has come of a stream.
#[derive(Debug)]
pub(crate) enum Come {
    Header(StreamHeader),
    Whole(StreamHeader, Vec<u8>),
}

impl Writers {
    /// Cuts what is written to a stream.
    pub(crate) fn write(
        &mut self,
        epoch: Epoch,
        update: u32,
        bytes: &[u8],
        is_last: bool,
    ) -> Vec<Segment> {
        let stream = (epoch.0, update);
        let offset = self.0.entry(stream).or_default();
        let count = bytes.len().div_ceil(SEGMENT);
        let mut out = Vec::new();
        for (index, bytes) in bytes.chunks(SEGMENT).enumerate() {
            out.push(Segment {
                stream,
                offset: *offset,
                bytes: bytes.to_vec(),
                is_last: is_last && index + 1 == count,
            });
            *offset += bytes.len();
        }
        out
    }
}

impl Readers {
    /// A segment came. Returns what it completes.
    pub(crate) fn handle_segment(&mut self, segment: Segment) -> Vec<Come> {
        let name = segment.stream;
        let reader = self.0.entry(name).or_default();
        if segment.is_last {
            reader.end = Some(segment.offset + segment.bytes.len());
        }
        reader.segments.insert(segment.offset, segment.bytes);
        let mut out = Vec::new();
        let Some(header) = reader.header() else {
            return out;
        };
        if !reader.is_announced {
            reader.is_announced = true;
            out.push(Come::Header(header));
        }
        let bytes: usize = reader.segments.values().map(Vec::len).sum();
        if reader.end == Some(bytes) {
            let segments = std::mem::take(&mut reader.segments);
            let mut whole: Vec<u8> = segments.into_values().flatten().collect();
            whole.drain(..STREAM_HEADER_LEN);
            out.push(Come::Whole(header, whole));
        }
        out
    }
}

impl Reader {
    fn header(&self) -> Option<StreamHeader> {
        let first = self.segments.get(&0)?;
        let (header, _) = first.split_first_chunk::<STREAM_HEADER_LEN>()?;
        Some(StreamHeader::decode(*header).unwrap())
    }
}

/// When a lost segment is sent again.
pub(crate) fn resend_at(now: Instant, round_trip: Duration) -> Instant {
    now + round_trip * 5 / 4
}
