//! One native viewer at a session: its stream of updates, its input, what it is told. Sans-IO as
//! the viewer of a page is.
//!
//! The worker follows the link of the viewer in control. An observer whose link is full gets no
//! update until half of it has drained, and then goes on with a whole one.

mod stream;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sandbox_core::permit::{Control, Permit};
use sandbox_protocol::limits::{
    CACHE_SLOTS_MAX, COPY_BYTES_MAX, COPY_PIECE_BYTES_MAX, REPAIR_UPDATES_MAX,
};
use sandbox_protocol::local::frame::FrameHeader;
use sandbox_protocol::local::worker::{CopiedPiece, FromWorker, ToWorker};
use sandbox_protocol::stream::recovery::Encoder;
use sandbox_protocol::stream::sender::{Sender, SenderConfig};
use sandbox_protocol::wire::control::{FromServer, StreamConfig};
use sandbox_protocol::wire::datagram::{Epoch, FromViewer};
use sandbox_protocol::wire::input::{Packet, encode_ack};
use sandbox_protocol::{Bitrate, Size};

use super::conversation::Request;
use crate::media::flood::{FloodMeter, Flooded};
use crate::media::flow::Flow;
use crate::media::keyframe_gate::Rank;
use crate::media::paste::PasteGate;
use crate::media::shared::Told;
use crate::media::timeline::Timeline;
use crate::media::viewer::{Outputs, rates};
use crate::media::wishes::{input, paste, resize};
use crate::media::{AckPacket, LeftReason, StreamCounters, ViewerEvent};

/// A viewer whose picture is broken is answered so often.
const WHOLE_INTERVAL: Duration = Duration::from_millis(250);

/// A viewer is told of its link's rate so often at most.
const LINK_RATE_INTERVAL: Duration = Duration::from_secs(5);

/// A slot of the tile cache holds 64×64 pixels of four bytes.
const SLOTS_PER_MIB: u16 = 64;

/// What a viewer begins with.
pub(in crate::media) struct Begin {
    pub(in crate::media) timeline: Timeline,
    pub(in crate::media) bitrate_max: Bitrate,
    /// Desktop size that the viewer wants.
    pub(in crate::media) size: Size,
    /// What it was told of its stream.
    pub(in crate::media) config: StreamConfig,
    /// Last epoch of the stream before, on the same connection.
    pub(in crate::media) epoch: Epoch,
    /// Its path is inside TCP.
    pub(in crate::media) is_in_order: bool,
}

/// One attached native viewer.
#[derive(Debug)]
pub(in crate::media) struct NativeViewer {
    pub(in crate::media) outputs: Outputs,
    /// What it is told on the control stream.
    pub(in crate::media) said: Vec<FromServer>,
    /// Acknowledgements of its input.
    pub(in crate::media) acks: Vec<AckPacket>,
    /// An observer has none.
    control: Option<Permit<Control>>,
    sender: Sender,
    timeline: Timeline,
    config: StreamConfig,
    phase: Phase,
    /// Others look at the desktop too.
    has_company: bool,
    /// What could leave waits for room inside QUIC.
    is_held: bool,
    /// Updates were left out: only a whole one can follow.
    is_cut: bool,
    flow: Flow,
    /// What the worker was last told while this viewer had control.
    told_flow: bool,
    told_target: Bitrate,
    /// What the viewer was last told of its link, and when.
    told_link: Option<(Bitrate, Instant)>,
    size: Size,
    input_flood: FloodMeter,
    input_stream: Option<u64>,
    paste: PasteGate,
    copied_bytes: usize,
    whole_asked: Option<Instant>,
    /// Updates of this epoch that hold video, and the access units in them; the oldest first.
    videos: VecDeque<(u32, u32)>,
    round_trip: Option<Duration>,
    /// Bytes of a datagram that the path takes, as the stream was told.
    datagram_max: usize,
    /// The update that was just handed over, to be told when it has left.
    leaving: Option<(FrameHeader, usize)>,
    counters: StreamCounters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has not said that media may flow.
    Waiting,
    Started,
    /// Its window is not seen.
    Suspended,
}

impl NativeViewer {
    pub(in crate::media) fn new(begin: Begin, now: Instant) -> Self {
        let mut sender = Sender::new(
            SenderConfig {
                rate: rates(begin.bitrate_max),
                encoder: Encoder::Invalidates,
                clock: begin.timeline.micros(now),
            },
            now,
        );
        if begin.is_in_order {
            sender = sender.in_order();
        }
        let told_target = sender.target();
        Self {
            outputs: Outputs::default(),
            said: Vec::new(),
            acks: Vec::new(),
            control: None,
            sender: sender.after(begin.epoch),
            timeline: begin.timeline,
            config: begin.config,
            phase: Phase::Waiting,
            has_company: false,
            is_held: false,
            is_cut: false,
            flow: Flow::new(),
            told_flow: true,
            told_target,
            told_link: None,
            size: begin.size,
            input_flood: FloodMeter::default(),
            input_stream: None,
            paste: PasteGate::default(),
            copied_bytes: 0,
            whole_asked: None,
            videos: VecDeque::with_capacity(REPAIR_UPDATES_MAX),
            round_trip: None,
            datagram_max: 0,
            leaving: None,
            counters: StreamCounters::default(),
        }
    }

    /// Tiles that its cache holds, once media may flow.
    pub(in crate::media) fn cache_slots(&self) -> Option<u16> {
        let slots = self.config.cache_mib.saturating_mul(SLOTS_PER_MIB);
        (self.phase != Phase::Waiting).then_some(slots.min(CACHE_SLOTS_MAX))
    }

    /// Epoch of its newest update.
    pub(in crate::media) const fn epoch(&self) -> Epoch {
        self.sender.epoch()
    }

    /// A datagram of its own.
    pub(in crate::media) fn handle_datagram(
        &mut self,
        now: Instant,
        bytes: &[u8],
    ) -> Result<(), LeftReason> {
        match FromViewer::decode(bytes).map_err(malformed)? {
            FromViewer::Input(packet) => self.handle_input(now, packet)?,
            FromViewer::Feedback(feedback) => self.sender.handle_feedback(now, &feedback),
            FromViewer::Nack(nack) => self.sender.handle_nack(now, &nack),
            FromViewer::ReferenceLost(lost) => self.sender.handle_reference_lost(now, &lost),
            FromViewer::Ping(ping) => self.sender.handle_ping(ping),
        }
        self.collect_demands();
        Ok(())
    }

    /// A message about the session that it looks at.
    pub(in crate::media) fn handle_request(
        &mut self,
        now: Instant,
        request: Request,
    ) -> Result<(), LeftReason> {
        match request {
            Request::Start => {
                self.phase = Phase::Started;
                self.outputs.events.push(ViewerEvent::Connected);
                self.collect_demands();
            }
            Request::Resize(size) => {
                self.size = size;
                if let Some(permit) = &self.control {
                    self.outputs.to_worker.push(resize(permit, size));
                }
            }
            Request::LinkRate(hint) => self.sender.handle_hint(hint),
            Request::WholePicture => {
                let is_soon = |at| now.saturating_duration_since(at) < WHOLE_INTERVAL;
                if !self.whole_asked.is_some_and(is_soon) {
                    self.whole_asked = Some(now);
                    self.outputs.wishes.whole = true;
                }
            }
            Request::Paste { text, is_last } => {
                let passes = self.paste.handle_piece(&text, is_last).map_err(malformed)?;
                if let (Some(permit), true) = (&self.control, passes) {
                    self.outputs.to_worker.push(paste(permit, text, is_last));
                }
                // An observer's text goes nowhere, and its keys need not wait for that.
                if is_last {
                    self.said.push(FromServer::Pasted);
                }
            }
            Request::Suspend if self.phase == Phase::Started => self.phase = Phase::Suspended,
            Request::Resume if self.phase == Phase::Suspended => {
                self.phase = Phase::Started;
                self.resume();
            }
            Request::Suspend | Request::Resume => (),
        }
        Ok(())
    }

    /// A message of the worker that is meant for this viewer.
    pub(in crate::media) fn handle_worker(
        &mut self,
        message: FromWorker,
    ) -> Result<(), LeftReason> {
        match message {
            FromWorker::Applied { stream, seq } => self.acks.push(encode_ack(stream, seq)),
            FromWorker::Cursor(cursor) => self.said.push(FromServer::CursorShape {
                size: cursor.size,
                hot_x: cursor.hot_x,
                hot_y: cursor.hot_y,
                rgba: cursor.rgba,
            }),
            FromWorker::Copied(piece) => self.handle_copied(piece)?,
            // The whole update of another size tells it, with the epoch that it begins.
            FromWorker::Hello { .. } | FromWorker::Resized(_) | FromWorker::Counters(_) => {}
        }
        Ok(())
    }

    fn handle_copied(&mut self, piece: CopiedPiece) -> Result<(), LeftReason> {
        let CopiedPiece {
            text,
            is_first,
            is_last,
        } = piece;
        if is_first {
            self.copied_bytes = 0;
        }
        self.copied_bytes += text.len();
        let is_endless = text.is_empty() && !is_last;
        let is_long = text.len() > COPY_PIECE_BYTES_MAX || self.copied_bytes > COPY_BYTES_MAX;
        if is_endless || is_long {
            tracing::error!("worker sent a copied text that is too long");
            return Err(LeftReason::WorkerGone);
        }
        self.said.push(FromServer::Copied {
            text,
            is_first,
            is_last,
        });
        Ok(())
    }

    /// Another worker goes on: it begins with a whole update.
    pub(in crate::media) fn handle_rewired(&mut self) {
        self.paste.cut();
        self.is_cut |= self.phase != Phase::Waiting;
        self.told_flow = true;
    }

    /// This viewer has control from here on: the worker follows its link and its size.
    pub(in crate::media) fn handle_control(&mut self, permit: Permit<Control>) {
        self.control = Some(permit);
        self.told_flow = self.is_open();
        let told = self.wanted();
        self.outputs.to_worker.extend([
            ToWorker::Resize(told.size),
            ToWorker::Target(told.bitrate),
            ToWorker::Flow(told.is_open),
        ]);
        self.resume();
    }

    /// Whether others look at the desktop too: for them it goes on while this one sees nothing.
    pub(in crate::media) const fn handle_company(&mut self, has_company: bool) {
        self.has_company = has_company;
    }

    /// Another viewer has control from here on.
    pub(in crate::media) const fn handle_control_lost(&mut self) {
        self.control = None;
        self.paste.cut();
    }

    /// What a worker that follows this viewer goes by.
    pub(in crate::media) const fn wanted(&self) -> Told {
        Told {
            bitrate: self.told_target,
            size: self.size,
            is_open: self.told_flow,
        }
    }

    pub(in crate::media) const fn rank(&self) -> Rank {
        match self.control {
            Some(_) => Rank::Control,
            None => Rank::Observer,
        }
    }

    /// The input stream that this viewer last used while it had control.
    pub(in crate::media) const fn input_stream(&self) -> Option<u64> {
        self.input_stream
    }

    /// What this viewer counted, without the worker's.
    pub(in crate::media) const fn counters(&self) -> StreamCounters {
        StreamCounters {
            target: self.told_target,
            round_trip: self.round_trip,
            ..self.counters
        }
    }

    fn handle_input(&mut self, now: Instant, packet: Packet) -> Result<(), LeftReason> {
        self.counters.input_messages += 1;
        let counted = self.input_flood.handle_message(now);
        counted.map_err(|Flooded| LeftReason::Flood)?;
        // What an observer presses is not meant for the desktop.
        if let Some(permit) = &self.control {
            self.input_stream = Some(packet.stream);
            self.outputs.to_worker.push(input(permit, packet));
        }
        Ok(())
    }
}

fn malformed(error: impl std::error::Error) -> LeftReason {
    LeftReason::Malformed(error.to_string())
}

#[cfg(test)]
mod tests;
