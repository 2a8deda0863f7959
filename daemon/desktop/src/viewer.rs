//! The daemon's end of one attach: what goes to it, and what of it still waits for room.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::OwnedFd;

use sandbox_protocol::Size;
use sandbox_protocol::limits::COPY_PIECE_BYTES_MAX;
use sandbox_protocol::local::VERSION;
use sandbox_protocol::local::frame::{FrameHeader, HEADER_LEN, PREFIX_LEN};
use sandbox_protocol::local::worker::{CopiedPiece, Counters, Cursor, FromWorker};
use sandbox_protocol::stream::input::Ack;

use crate::link::{LinkError, Sent, send_message, send_parts};

const PEER: &str = "daemon";

/// Streams whose acknowledgement waits at most: input of more is not acknowledged but resent.
const ACKS_MAX: usize = 8;

/// How far an attach has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The daemon has not said what it wants.
    Greeting,
    /// Frames flow as the link allows.
    Streaming,
}

/// One attached daemon.
#[derive(Debug)]
pub(crate) struct Viewer {
    /// Counts the attaches of this worker.
    pub attach: u64,
    pub control: OwnedFd,
    pub media: OwnedFd,
    pub stage: Stage,
    /// Access units sent, alone or in an update.
    pub access_units: u32,
    pub outbox: Outbox,
    pub output: Output,
}

impl Viewer {
    pub(crate) fn new(attach: u64, control: OwnedFd, media: OwnedFd) -> Self {
        Self {
            attach,
            control,
            media,
            stage: Stage::Greeting,
            access_units: 0,
            outbox: Outbox::default(),
            output: Output::default(),
        }
    }
}

/// Messages that wait for room on the control socket. A newer one replaces an older one of its
/// kind, so there is never more than one of each.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub hello: Option<(Size, String)>,
    pub resized: Option<Size>,
    pub cursor: Option<Cursor>,
    pub counters: Option<Counters>,
    acks: VecDeque<Ack>,
    copied: Option<Copied>,
}

/// A copied text and how much of it has been sent.
#[derive(Debug)]
struct Copied {
    text: String,
    sent: usize,
}

impl Copied {
    fn piece(&self) -> CopiedPiece {
        let rest = self.text.get(self.sent..).unwrap_or_default();
        let longest = rest.len().min(COPY_PIECE_BYTES_MAX);
        let is_boundary = |at: &usize| rest.is_char_boundary(*at);
        let end = (0..=longest).rev().find(is_boundary).unwrap_or(0);
        CopiedPiece {
            text: rest.get(..end).unwrap_or_default().to_owned(),
            is_first: self.sent == 0,
            is_last: end == rest.len(),
        }
    }
}

impl Outbox {
    /// A program copied this.
    pub(crate) fn copied(&mut self, text: String) {
        self.copied = Some(Copied { text, sent: 0 });
    }

    pub(crate) fn acknowledge(&mut self, ack: Ack) {
        self.acks.retain(|it| it.stream != ack.stream);
        if self.acks.len() < ACKS_MAX {
            self.acks.push_back(ack);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hello.is_none()
            && self.resized.is_none()
            && self.cursor.is_none()
            && self.counters.is_none()
            && self.acks.is_empty()
            && self.copied.is_none()
    }

    /// Sends what fits, most urgent first.
    pub(crate) fn flush(&mut self, control: &OwnedFd) -> Result<Sent, LinkError> {
        while let Some(message) = self.first() {
            match send_message(control, PEER, &message)? {
                Sent::Bytes(_) => self.remove_first(),
                unsent @ (Sent::Full | Sent::Closed) => return Ok(unsent),
            }
        }
        Ok(Sent::Bytes(0))
    }

    fn first(&self) -> Option<FromWorker> {
        if let Some((size, encoder_name)) = &self.hello {
            return Some(FromWorker::Hello {
                version: VERSION,
                size: *size,
                encoder_name: encoder_name.clone(),
            });
        }
        let ack = self.acks.front().map(|it| FromWorker::Applied {
            stream: it.stream,
            seq: it.seq,
        });
        ack.or(self.resized.map(FromWorker::Resized))
            .or(self.counters.map(FromWorker::Counters))
            .or_else(|| self.cursor.clone().map(FromWorker::Cursor))
            .or_else(|| Some(FromWorker::Copied(self.copied.as_ref()?.piece())))
    }

    fn remove_first(&mut self) {
        if self.hello.take().is_some() || self.acks.pop_front().is_some() {
            return;
        }
        if self.resized.take().is_some() || self.counters.take().is_some() {
            return;
        }
        if self.cursor.take().is_some() {
            return;
        }
        if let Some(copied) = &mut self.copied {
            let piece = copied.piece();
            copied.sent += piece.text.len();
            self.copied.take_if(|_| piece.is_last);
        }
    }
}

/// What one capture became on its way to the media socket: an access unit, an update, or both.
#[derive(Debug, Default)]
pub(crate) struct Output {
    frames: [OutputFrame; 2],
}

#[derive(Debug)]
struct OutputFrame {
    header: [u8; PREFIX_LEN + HEADER_LEN],
    payload: Vec<u8>,
    written: usize,
}

impl Default for OutputFrame {
    fn default() -> Self {
        let header = [0; PREFIX_LEN + HEADER_LEN];
        Self {
            written: header.len(),
            header,
            payload: Vec::new(),
        }
    }
}

impl Output {
    pub(crate) fn is_pending(&self) -> bool {
        self.frames.iter().any(OutputFrame::is_pending)
    }

    /// Takes a frame in exchange for the buffer of one before.
    ///
    /// # Panics
    ///
    /// When two are pending.
    pub(crate) fn put(&mut self, header: &FrameHeader, payload: &mut Vec<u8>) {
        let [first, second] = &mut self.frames;
        let free = if first.is_pending() { second } else { first };
        assert!(!free.is_pending(), "three frames on the media socket");
        free.header = header.encode(payload.len());
        std::mem::swap(&mut free.payload, payload);
        free.written = 0;
    }

    /// Writes what fits.
    pub(crate) fn flush(&mut self, media: &OwnedFd) -> Result<Sent, LinkError> {
        for frame in &mut self.frames {
            match frame.flush(media)? {
                Sent::Bytes(_) => (),
                unsent @ (Sent::Full | Sent::Closed) => return Ok(unsent),
            }
        }
        Ok(Sent::Bytes(0))
    }
}

impl OutputFrame {
    const fn is_pending(&self) -> bool {
        self.written < self.header.len() + self.payload.len()
    }

    fn flush(&mut self, media: &OwnedFd) -> Result<Sent, LinkError> {
        while self.is_pending() {
            let header = self.header.get(self.written..).unwrap_or_default();
            let of_payload = self.written.saturating_sub(self.header.len());
            let payload = self.payload.get(of_payload..).unwrap_or_default();
            let parts = [IoSlice::new(header), IoSlice::new(payload)];
            match send_parts(media, PEER, &parts)? {
                Sent::Bytes(bytes) => self.written += bytes,
                unsent @ (Sent::Full | Sent::Closed) => return Ok(unsent),
            }
        }
        Ok(Sent::Bytes(0))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use sandbox_protocol::Micros;
    use sandbox_protocol::local::frame::Content;

    use super::*;

    const HEADER: FrameHeader = FrameHeader {
        content: Content::AccessUnit,
        is_keyframe: true,
        is_refinement: false,
        qp: 20,
        frame: 1,
        size: Size {
            width: 2,
            height: 2,
        },
        input_seq: 0,
        injected: Micros(0),
        damaged: Micros(1),
        captured: Micros(2),
        encoded: Micros(3),
    };
    const UPDATE: FrameHeader = FrameHeader {
        content: Content::Update {
            is_whole: false,
            is_video_only: true,
            recovers: false,
        },
        ..HEADER
    };

    #[test]
    fn frames_larger_than_the_socket_arrive_whole_and_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ours = OwnedFd::from(ours);
        let payload: Vec<u8> = (0..2_000_000_u32).map(|it| it.to_le_bytes()[0]).collect();
        let mut output = Output::default();
        assert!(!output.is_pending());
        output.put(&HEADER, &mut payload.clone());
        output.put(&UPDATE, &mut payload.clone());
        let mut received = Vec::new();
        let mut stops = 0;
        while output.flush(&ours).unwrap() == Sent::Full {
            stops += 1;
            let mut part = vec![0; 50_000];
            let length = theirs.read(&mut part).unwrap();
            received.extend(part.drain(..length));
        }
        assert!(stops > 1, "the socket holds less than the access unit");
        drop(ours);
        theirs.read_to_end(&mut received).unwrap();
        let mut rest = received.as_slice();
        for header in [HEADER, UPDATE] {
            let (prefix, frames) = rest.split_first_chunk::<PREFIX_LEN>().unwrap();
            let length = FrameHeader::decode_prefix(*prefix).unwrap();
            let (frame, after) = frames.split_at(length);
            assert_eq!(FrameHeader::decode(frame), Ok((header, payload.as_slice())));
            rest = after;
        }
        assert!(rest.is_empty() && !output.is_pending());
    }

    #[test]
    fn a_closed_socket_is_no_error_of_ours() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let mut output = Output::default();
        output.put(&HEADER, &mut vec![1, 2, 3]);
        assert_eq!(output.flush(&ours.into()).unwrap(), Sent::Closed);
    }

    #[test]
    fn a_copied_text_leaves_in_pieces_between_characters_and_a_newer_one_begins_anew() {
        let mut outbox = Outbox::default();
        outbox.copied("old".repeat(COPY_PIECE_BYTES_MAX));
        outbox.remove_first();
        let text = "aß".repeat(COPY_PIECE_BYTES_MAX);
        outbox.copied(text.clone());
        let mut pieces = Vec::new();
        while let Some(FromWorker::Copied(piece)) = outbox.first() {
            pieces.push(piece);
            outbox.remove_first();
        }
        let joined: String = pieces.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(joined, text);
        assert!(
            pieces
                .iter()
                .all(|it| it.text.len() <= COPY_PIECE_BYTES_MAX)
        );
        let last = pieces.len() - 1;
        for (at, piece) in pieces.iter().enumerate() {
            assert_eq!((piece.is_first, piece.is_last), (at == 0, at == last));
        }
        assert!(outbox.is_empty());
    }

    #[test]
    fn only_the_newest_of_each_kind_waits() {
        let mut outbox = Outbox::default();
        for seq in 0..100 {
            outbox.acknowledge(Ack { stream: 1, seq });
            outbox.acknowledge(Ack {
                stream: seq.into(),
                seq: 1,
            });
        }
        assert_eq!(outbox.acks.len(), ACKS_MAX);
        assert!(!outbox.is_empty());
    }
}
