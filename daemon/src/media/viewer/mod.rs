//! One browser: its connection, its stream, its channels. Sans-IO: inputs come by `handle_*`,
//! what they lead to lies in [`Outputs`] afterwards.

mod channels;
mod stream;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sandbox_core::permit::{Control, Permit};
use sandbox_protocol::local::frame::FrameHeader;
use sandbox_protocol::local::worker::{FromWorker, ToWorker};
use sandbox_protocol::stream::rate::{Rate, RateConfig};
use sandbox_protocol::{Bitrate, Micros, Size};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::RawPacket;
use str0m::rtp::rtcp::Rtcp;
use str0m::{Event, IceConnectionState, Input, Output, Rtc, RtcError};

use self::channels::Channels;
use self::stream::Stream;
pub(super) use self::stream::is_step;
use super::demux::{Kind, classify};
use super::keyframe_gate::Rank;
use super::pacer::Pacer;
use super::reports::{RoundTrips, arrivals};
use super::shared::Told;
use super::timeline::Timeline;
use super::wishes::Wishes;
use super::{AckPacket, AttachError, LeftReason, StreamCounters, ViewerEvent, offer};

/// From the answer to the connection: a page on a bad network needs several tries.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// Target before the link is known: sharp on a local network, soon corrected on a slow one.
const BITRATE_START: Bitrate = Bitrate::kbps(10_000);

/// Lowest target: text stays legible at a few frames a second.
const BITRATE_MIN: Bitrate = Bitrate::kbps(150);

/// Characters of an encoder's name that the page is told.
const ENCODER_NAME_MAX: usize = 64;

/// What a viewer wants done. The engine empties it after every call.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    pub(super) transmits: Vec<Transmit>,
    /// From the viewer in control alone, but for a touch.
    pub(super) to_worker: Vec<ToWorker>,
    pub(super) wishes: Wishes,
    pub(super) events: Vec<ViewerEvent>,
    /// Newest acknowledgement, for a page that sends copies of its input.
    pub(super) ack: Option<AckPacket>,
    /// The frame that has just left.
    pub(super) left: Option<LeftFrame>,
}

/// A frame that has left this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeftFrame {
    pub(super) header: FrameHeader,
    pub(super) bytes: usize,
    pub(super) sent: Micros,
}

/// One attached browser.
pub(super) struct Viewer {
    pub(super) outputs: Outputs,
    /// An observer has none.
    control: Option<Permit<Control>>,
    rtc: Rtc,
    timeline: Timeline,
    phase: Phase,
    rate: Rate,
    pacer: Pacer,
    stream: Stream,
    channels: Channels,
    round_trips: RoundTrips,
    inbox: VecDeque<Event>,
    rtc_timeout: Instant,
    told_target: Bitrate,
    /// Desktop size that the page wants.
    size: Size,
    /// Bytes that left the connection and not yet this machine (a slow TCP connection).
    unsent_bytes: usize,
    counters: StreamCounters,
}

/// What a viewer begins with.
pub(super) struct Begin {
    pub(super) rtc: Rtc,
    pub(super) timeline: Timeline,
    pub(super) size: Size,
    pub(super) bitrate_max: Bitrate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting { until: Instant },
    Connected,
}

impl Viewer {
    pub(super) fn new(begin: Begin, now: Instant) -> Self {
        let rate = Rate::new(rates(begin.bitrate_max));
        let told_target = rate.target();
        Self {
            outputs: Outputs::default(),
            control: None,
            rtc: begin.rtc,
            timeline: begin.timeline,
            phase: Phase::Connecting {
                until: now + CONNECT_MAX,
            },
            rate,
            pacer: Pacer::default(),
            stream: Stream::default(),
            channels: Channels::default(),
            round_trips: RoundTrips::default(),
            inbox: VecDeque::new(),
            rtc_timeout: now,
            told_target,
            size: begin.size,
            unsent_bytes: 0,
            counters: StreamCounters::default(),
        }
    }

    /// A datagram that may be this viewer's. Says whether it is: its integrity was proven, or it
    /// comes from a source that proved it before.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: Receive<'_>,
    ) -> Result<bool, LeftReason> {
        let input = Input::Receive(now, datagram);
        if !self.rtc.accepts(&input) {
            return Ok(false);
        }
        self.rtc.handle_input(input).map_err(broken)?;
        self.settle(now)?;
        Ok(true)
    }

    /// Answers a further offer (ICE restart); says the answer and our STUN user name.
    pub(super) fn handle_offer(
        &mut self,
        now: Instant,
        sdp: &str,
    ) -> Result<(String, String), AttachError> {
        let answer = offer::accept(&mut self.rtc, sdp)?;
        self.settle(now)
            .map_err(|it| AttachError::Sdp(format!("{it:?}")))?;
        Ok(answer)
    }

    /// A message of the worker that is meant for this viewer.
    pub(super) fn handle_worker(
        &mut self,
        now: Instant,
        message: FromWorker,
    ) -> Result<(), LeftReason> {
        match message {
            FromWorker::Hello {
                size, encoder_name, ..
            } => {
                let encoder = encoder_name.chars().take(ENCODER_NAME_MAX).collect();
                self.channels.outbox.set_hello(size, encoder);
                self.write_ctl_outbox(now)?;
            }
            FromWorker::Applied { stream, seq } => self.write_ack(now, stream, seq)?,
            FromWorker::Resized(size) => {
                self.channels.outbox.set_size(size);
                self.write_ctl_outbox(now)?;
            }
            FromWorker::Cursor(cursor) => {
                self.channels.outbox.set_cursor(&cursor);
                self.write_ctl_outbox(now)?;
            }
            FromWorker::Copied(piece) => {
                if self.channels.outbox.push_copied(piece).is_err() {
                    tracing::error!("worker sent a copied text that is too long");
                    return Err(LeftReason::WorkerGone);
                }
                self.write_ctl_outbox(now)?;
            }
            FromWorker::Counters(_) => {}
        }
        self.settle(now)
    }

    /// Another worker goes on: it knows nothing of this viewer.
    pub(super) fn handle_rewired(&mut self, now: Instant) -> Result<(), LeftReason> {
        self.channels.paste.cut();
        self.stream.handle_rewired();
        if self.phase == Phase::Connected {
            self.start_stream(now);
        }
        self.settle(now)
    }

    /// This viewer has control from here on: the worker follows its link and its size.
    pub(super) fn handle_control(&mut self, permit: Permit<Control>) {
        self.control = Some(permit);
        let told = self.wanted();
        self.outputs.to_worker.extend([
            ToWorker::Resize(told.size),
            ToWorker::Target(told.bitrate),
            ToWorker::Flow(told.is_open),
        ]);
        self.resume_stream();
    }

    /// Another viewer has control from here on.
    pub(super) fn handle_control_lost(&mut self) {
        self.control = None;
        self.channels.paste.cut();
    }

    /// What a worker that follows this viewer goes by.
    pub(super) fn wanted(&self) -> Told {
        Told {
            bitrate: self.told_target,
            size: self.size,
            is_open: self.stream.is_open(),
        }
    }

    pub(super) fn rank(&self) -> Rank {
        match self.control {
            Some(_) => Rank::Control,
            None => Rank::Observer,
        }
    }

    /// The input stream that this viewer last used while it had control.
    pub(super) const fn input_stream(&self) -> Option<u64> {
        self.channels.input_stream
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), LeftReason> {
        if let Phase::Connecting { until } = self.phase
            && until <= now
        {
            return Err(LeftReason::IceTimeout);
        }
        self.pacer.handle_timeout(now, &mut self.outputs.transmits);
        self.rate.handle_timeout(now);
        self.handle_stream_timeout(now);
        self.rtc.handle_input(Input::Timeout(now)).map_err(broken)?;
        self.settle(now)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn poll_timeout(&self) -> Instant {
        let connecting = match self.phase {
            Phase::Connecting { until } => Some(until),
            Phase::Connected => None,
        };
        [connecting, self.stream_timeout(), self.pacer.poll_timeout()]
            .into_iter()
            .flatten()
            .fold(self.rtc_timeout, Instant::min)
    }

    /// Bytes that wait in this machine for a slow connection.
    pub(super) fn set_unsent_bytes(&mut self, bytes: usize) {
        self.unsent_bytes = bytes;
        self.follow_link();
    }

    /// What this viewer counted, without the worker's.
    pub(super) fn counters(&self) -> StreamCounters {
        StreamCounters {
            target: self.told_target,
            round_trip: self.rate.round_trip(),
            ..self.counters
        }
    }

    /// Says goodbye to the page, as far as the connection allows.
    pub(super) fn close(&mut self, now: Instant) {
        if let Err(error) = self.rtc.close().and_then(|()| self.pump(now)) {
            tracing::debug!(%error, "cannot close in order");
        }
    }

    /// Drains the connection and handles its events, each followed by a drain of its own: str0m
    /// wants one mutation at a time.
    fn settle(&mut self, now: Instant) -> Result<(), LeftReason> {
        self.pump(now).map_err(broken)?;
        while let Some(event) = self.inbox.pop_front() {
            self.handle_event(now, event)?;
            self.pump(now).map_err(broken)?;
        }
        self.follow_link();
        Ok(())
    }

    fn pump(&mut self, now: Instant) -> Result<(), RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.rtc_timeout = at;
                    return Ok(());
                }
                Output::Transmit(transmit) => {
                    self.note_carrier(&transmit);
                    let out = &mut self.outputs.transmits;
                    self.pacer.handle_transmit(now, transmit, out);
                }
                Output::Event(Event::RawPacket(packet)) => self.handle_raw(now, *packet),
                Output::Event(event) => self.inbox.push_back(event),
            }
        }
    }

    /// Checks go every way, all else the one that was chosen.
    fn note_carrier(&mut self, transmit: &Transmit) {
        if classify(&transmit.contents) != Kind::Stun {
            self.rate.set_in_order(transmit.proto == Protocol::Tcp);
        }
    }

    /// What feeds the estimate of the link; mutates nothing of str0m's.
    fn handle_raw(&mut self, now: Instant, packet: RawPacket) {
        match packet {
            RawPacket::RtpTx(header, payload) => {
                let bytes = header.header_len + payload.len();
                self.counters.rtp_packets += 1;
                self.counters.rtp_bytes += bytes as u64;
                if let Some(seq) = header.ext_vals.transport_cc {
                    self.stream.tail.handle_sent(seq);
                    self.rate.handle_sent(now, seq, bytes);
                }
            }
            RawPacket::RtcpRx(Rtcp::Twcc(report)) => {
                let zero = self.timeline.instant();
                let tail = &mut self.stream.tail;
                let arrivals = arrivals(report, zero).inspect(|it| tail.handle_arrival(it));
                self.rate.handle_feedback(now, arrivals);
                self.handle_arrivals(now);
            }
            RawPacket::RtcpRx(Rtcp::ReceiverReport(report)) => {
                for block in report.reports.iter() {
                    if let Some(sample) = self.round_trips.handle_received(now, block) {
                        self.rate.handle_round_trip(sample);
                    }
                }
            }
            RawPacket::RtcpTx(Rtcp::SenderReport(report)) => {
                self.round_trips.handle_sent(now, &report);
            }
            RawPacket::RtcpRx(_) | RawPacket::RtcpTx(_) | RawPacket::RtpRx(..) => (),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "str0m's enum is open: what we did not switch on does not come"
    )]
    fn handle_event(&mut self, now: Instant, event: Event) -> Result<(), LeftReason> {
        match event {
            Event::Connected => self.handle_connected(now),
            Event::MediaAdded(media) => self.handle_media(media.mid),
            Event::KeyframeRequest(_) => self.handle_keyframe_request(now),
            Event::ChannelOpen(id, label) => self.handle_channel_open(now, id, &label)?,
            Event::ChannelData(data) => self.handle_channel_data(now, data)?,
            Event::ChannelBufferedAmountLow(_) => self.write_ctl_outbox(now)?,
            Event::ChannelClose(id) => self.channels.handle_close(id),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                return Err(LeftReason::IceTimeout);
            }
            Event::Closed => return Err(LeftReason::Closed),
            _ => (),
        }
        Ok(())
    }

    fn handle_connected(&mut self, now: Instant) {
        if self.phase != Phase::Connected {
            self.phase = Phase::Connected;
            self.outputs.events.push(ViewerEvent::Connected);
            self.start_stream(now);
        }
    }
}

/// Bounds of a viewer's rate, whatever carries it.
pub(super) fn rates(most: Bitrate) -> RateConfig {
    RateConfig {
        start: BITRATE_START.min(most),
        min: BITRATE_MIN.min(most),
        max: most,
    }
}

/// str0m gave the connection up: what the page sent cannot be handled.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that Result::map_err wants"
)]
fn broken(error: RtcError) -> LeftReason {
    LeftReason::Malformed(error.to_string())
}

#[cfg(test)]
mod tests;
