//! Updates that are too large for datagrams: each comes on a stream of its own.

use std::collections::BTreeMap;

use sandbox_protocol::limits::UPDATE_BYTES_MAX;
use sandbox_protocol::wire::datagram::{DatagramError, Epoch};
use sandbox_protocol::wire::update_stream::{STREAM_HEADER_LEN, StreamHeader};
use sandbox_quic::StreamId;

/// Bytes of unfinished updates: the largest one of an epoch, and of the one after it.
const BYTES_MAX: usize = 2 * UPDATE_BYTES_MAX;

/// Streams of the server that are being read.
#[derive(Debug, Default)]
pub(super) struct UpdateStreams {
    streams: BTreeMap<StreamId, Incoming>,
    bytes: usize,
}

#[derive(Debug)]
enum Incoming {
    /// The first bytes.
    Header(Vec<u8>),
    Body(StreamHeader, Vec<u8>),
    /// Nobody needs the rest.
    Skipped,
}

/// What became of the bytes of a stream.
#[derive(Debug)]
pub(super) enum Read {
    /// More has to come.
    Unfinished,
    /// Its header is complete: say whether it is needed.
    Begun(StreamHeader),
    /// The update is whole.
    Whole(StreamHeader, Vec<u8>),
}

/// A stream that is no update's.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    Header(#[from] DatagramError),
    #[error("update {0} has another length than its header says")]
    Length(u32),
    #[error("an update's stream ends within its header")]
    Short,
    #[error("more than {BYTES_MAX} bytes of updates on streams at once")]
    TooMuch,
}

impl UpdateStreams {
    /// Bytes of a stream came. To be asked again without bytes after [`Read::Begun`].
    pub(super) fn handle_read(
        &mut self,
        stream: StreamId,
        bytes: &[u8],
        is_end: bool,
    ) -> Result<Read, StreamError> {
        let incoming = self
            .streams
            .entry(stream)
            .or_insert_with(|| Incoming::Header(Vec::with_capacity(STREAM_HEADER_LEN)));
        match incoming {
            Incoming::Header(first) => {
                let missing = STREAM_HEADER_LEN - first.len();
                let (head, body) = bytes.split_at(missing.min(bytes.len()));
                first.extend_from_slice(head);
                let Ok(whole) = first.as_slice().try_into() else {
                    return if is_end {
                        Err(StreamError::Short)
                    } else {
                        Ok(Read::Unfinished)
                    };
                };
                let header = StreamHeader::decode(whole)?;
                let body = body.to_vec();
                self.bytes += body.len();
                *incoming = Incoming::Body(header, body);
                Ok(Read::Begun(header))
            }
            Incoming::Body(header, body) => {
                self.bytes += bytes.len();
                body.extend_from_slice(bytes);
                let length = header.length as usize;
                if self.bytes > BYTES_MAX {
                    return Err(StreamError::TooMuch);
                }
                if body.len() > length || (is_end && body.len() < length) {
                    return Err(StreamError::Length(header.update));
                }
                if !is_end {
                    return Ok(Read::Unfinished);
                }
                let (header, body) = (*header, std::mem::take(body));
                self.forget(stream);
                self.bytes -= body.len();
                Ok(Read::Whole(header, body))
            }
            Incoming::Skipped => {
                if is_end {
                    self.forget(stream);
                }
                Ok(Read::Unfinished)
            }
        }
    }

    /// Bytes of unfinished updates.
    pub(super) const fn memory(&self) -> usize {
        self.bytes
    }

    /// Nobody needs the rest of a stream.
    pub(super) fn skip(&mut self, stream: StreamId) {
        if let Some(Incoming::Body(_, body)) = self.streams.insert(stream, Incoming::Skipped) {
            self.bytes -= body.len();
        }
    }

    /// All that was read before the streams were stopped has been handed in.
    pub(super) fn forget_skipped(&mut self) {
        self.streams
            .retain(|_, it| !matches!(it, Incoming::Skipped));
    }

    /// The server gave it up.
    pub(super) fn forget(&mut self, stream: StreamId) {
        if let Some(Incoming::Body(_, body)) = self.streams.remove(&stream) {
            self.bytes -= body.len();
        }
    }

    /// Streams of epochs before this one: nobody needs them.
    pub(super) fn older_than(&self, epoch: Epoch) -> Vec<StreamId> {
        let is_older = |it: &Incoming| match it {
            Incoming::Body(header, _) => epoch.is_after(header.epoch),
            Incoming::Header(_) | Incoming::Skipped => false,
        };
        let streams = self.streams.iter();
        streams
            .filter(|(_, it)| is_older(it))
            .map(|(stream, _)| *stream)
            .collect()
    }
}
