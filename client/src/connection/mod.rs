//! One connection to a server, without I/O and clock: trust, sign-in, the session, and the stream.
//!
//! Driven like all machines here: inputs by `handle_*`, then [`Connection::poll_told`],
//! [`Connection::poll_update`] and [`Connection::poll_transmit`] until they are empty,
//! [`Connection::poll_timeout`] for the next deadline.

mod codecs;
mod conversation;
mod credentials;
mod end;
mod handover;
mod hold;
mod input;
mod media;
mod streams;
mod told;

pub use self::codecs::{CODECS, WITHOUT_AV1};
pub use self::credentials::{Credentials, Proof, Ticket};
pub use self::end::End;
pub use self::told::{Shape, Told};

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sandbox_protocol::Size;
use sandbox_protocol::limits::{
    DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN, DESKTOP_SIZE_MAX, DESKTOP_SIZE_MIN,
};
use sandbox_protocol::stream::input_sender::InputSender;
use sandbox_protocol::stream::reassemble::Update;
use sandbox_protocol::stream::receiver::Receiver;
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{Codec, FromServer};
use sandbox_quic::{
    Arrived, Bytes, ConnectError, Endpoint, Event, Fingerprint, Handle, Outgoing, Trust,
};

use self::conversation::{Conversation, Step};
use self::hold::Hold;
use self::streams::UpdateStreams;

/// How a connection begins.
#[derive(Debug)]
pub struct Setup {
    /// The server's key, where it is known.
    pub known: Option<Fingerprint>,
    /// Who signs in.
    pub credentials: Credentials,
    /// Size of the desktop that is wanted; made to fit its bounds.
    pub size: Size,
    /// Whether anybody can see the picture.
    pub is_shown: bool,
    /// Mebibytes for the tile cache.
    pub cache_mib: u16,
    /// Kilobits a second that this network has carried before, where that is known.
    pub link_kbps: Option<u32>,
    /// Codecs that are offered.
    pub codecs: &'static [Codec],
    /// Random bytes: the endpoint's secret.
    pub secret: [u8; 32],
    /// The user's input, which outlives a connection.
    pub input: InputSender,
}

/// What has been counted since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of packets that came.
    pub bytes_in: u64,
    /// Bytes of packets that left.
    pub bytes_out: u64,
    /// Packets of media that were sent to us, as far as their numbers show.
    pub packets_sent: u64,
    /// Those of them that came.
    pub packets_came: u64,
    /// Updates handed out.
    pub updates: u64,
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    endpoint: Endpoint,
    handle: Handle,
    known: Option<Fingerprint>,
    conversation: Conversation,
    streams: UpdateStreams,
    receiver: Receiver,
    input: InputSender,
    hold: Hold,
    told: VecDeque<Told>,
    is_connected: bool,
    is_over: bool,
    counters: Counters,
    /// Newest number of a media packet.
    packet: Option<u16>,
    datagram: Vec<u8>,
}

impl Connection {
    /// Begins a connection; [`Told::Over`] is its last word in any case.
    ///
    /// # Errors
    ///
    /// Returns [`ConnectError`] when the address cannot be spoken to.
    pub fn new(now: Instant, to: SocketAddr, setup: Setup) -> Result<Self, ConnectError> {
        let mut endpoint = Endpoint::client(&setup.secret);
        // Whatever the key is, it is compared before anything is said: so both can be told.
        let handle = endpoint.connect(now, to, Trust::Asked)?;
        let size = setup.size.fit(DESKTOP_SIZE_MIN, DESKTOP_SIZE_MAX);
        Ok(Self {
            endpoint,
            handle,
            known: setup.known,
            conversation: Conversation::new(
                setup.credentials,
                size,
                setup.is_shown,
                setup.cache_mib,
                setup.link_kbps,
                setup.codecs,
            ),
            streams: UpdateStreams::default(),
            receiver: Receiver::new(now),
            input: setup.input,
            hold: Hold::default(),
            told: VecDeque::new(),
            is_connected: false,
            is_over: false,
            counters: Counters::default(),
            packet: None,
            datagram: Vec::with_capacity(DATAGRAM_BYTES_MAX),
        })
    }

    /// A packet came.
    pub fn handle_datagram(&mut self, now: Instant, arrived: Arrived<'_>) {
        self.counters.bytes_in += arrived.bytes.len() as u64;
        self.endpoint.handle_datagram(now, arrived);
        self.settle(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.receiver.handle_timeout(now);
        self.hold.handle_timeout(now);
        self.settle(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and
    /// [`poll_transmit`](Self::poll_transmit) after it.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let quic = self.endpoint.poll_timeout();
        if !self.is_live() {
            return quic;
        }
        let soonest = quic.into_iter().chain(self.hold.poll_timeout()).min();
        // Where nothing finds room, room is told of.
        if !self.has_room() {
            return soonest;
        }
        let ours = [self.receiver.poll_timeout(), self.input.poll_timeout()];
        let ours = ours.into_iter().flatten().map(|it| it.at);
        ours.chain(soonest).min()
    }

    /// The next thing that happened.
    pub fn poll_told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// The next update, in order.
    pub fn poll_update(&mut self) -> Option<Update<'_>> {
        let update = self.receiver.poll_update()?;
        self.counters.updates += 1;
        Some(update)
    }

    /// Writes the next packets into the empty `buffer`, up to `segments_max` of them.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Outgoing> {
        self.send_datagrams(now);
        let outgoing = self.endpoint.poll_transmit(now, segments_max, buffer)?;
        self.counters.bytes_out += buffer.len() as u64;
        Some(outgoing)
    }

    /// The user trusts the key that was told by [`Told::FirstUse`].
    pub fn trust(&mut self, now: Instant) {
        self.conversation.greet();
        self.settle(now);
    }

    /// The user does not.
    pub fn distrust(&mut self, now: Instant, shown: Fingerprint) {
        self.finish(now, CloseCode::NoError, End::Distrusted(shown));
    }

    /// The user leaves. The server lets go of what is held.
    pub fn leave(&mut self, now: Instant) {
        self.finish(now, CloseCode::NoError, End::Left);
    }

    /// Another size of the desktop is wanted.
    pub fn handle_size(&mut self, now: Instant, size: Size) {
        let size = size.fit(DESKTOP_SIZE_MIN, DESKTOP_SIZE_MAX);
        self.conversation.resize(size);
        self.settle(now);
    }

    /// The picture cannot be continued: a whole one, please.
    pub fn ask_whole(&mut self, now: Instant) {
        self.conversation.ask_whole();
        self.settle(now);
    }

    /// The user wants control of the session, which another viewer may have.
    pub fn take_control(&mut self, now: Instant) {
        self.conversation.take_control();
        self.settle(now);
    }

    /// An update was no update: the server is broken.
    pub fn refuse_update(&mut self, now: Instant, words: String) {
        self.violate(now, words);
    }

    /// The chosen codec cannot be decoded here after all: another connection does without it.
    pub fn give_up_codec(&mut self, now: Instant, words: String) {
        let code = CloseCode::UnsupportedCodec;
        self.finish(now, code, End::Undecodable(words));
    }

    /// The network may have changed.
    pub fn handle_network_changed(&mut self, now: Instant) {
        self.endpoint.handle_network_changed(now);
        self.receiver.handle_path_change(now);
        self.input.handle_path_change(now);
    }

    /// The round trip, where one was measured.
    pub const fn round_trip(&self) -> Option<Duration> {
        self.receiver.round_trip()
    }

    /// The server's clock in microseconds at `now`; `None` before it was asked.
    pub fn server_clock(&self, now: Instant) -> Option<u64> {
        self.receiver.server_clock(now).map(|it| it.0)
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes of updates that are incomplete or wait for others.
    pub const fn memory(&self) -> usize {
        self.receiver.memory() + self.streams.memory()
    }

    /// Whether the server has answered.
    pub const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Since when nothing that was sent has been acknowledged; `None` while all is answered.
    pub fn unanswered_since(&self) -> Option<Instant> {
        self.endpoint.unanswered_since(self.handle)
    }

    /// Whether it has told its end.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether updates and input flow.
    pub const fn is_live(&self) -> bool {
        self.conversation.is_live() && !self.is_over
    }

    fn has_room(&mut self) -> bool {
        self.endpoint.datagram_room_bytes(self.handle) >= DATAGRAM_BYTES_MIN
    }

    fn finish(&mut self, now: Instant, code: CloseCode, end: End) {
        if self.is_over {
            return;
        }
        let words = if let End::Violation(words) | End::Undecodable(words) = &end {
            words.as_str()
        } else {
            ""
        };
        self.endpoint.close(now, self.handle, code.number(), words);
        self.tell_over(end);
    }

    fn violate(&mut self, now: Instant, words: String) {
        self.finish(now, CloseCode::ProtocolViolation, End::Violation(words));
    }

    fn tell_over(&mut self, end: End) {
        if !self.is_over {
            self.is_over = true;
            self.told.push_back(Told::Over(end));
        }
    }

    /// Takes what QUIC has to tell, and lets the conversation go on.
    fn settle(&mut self, now: Instant) {
        while let Some((_, event)) = self.endpoint.poll_event() {
            if !self.is_over {
                self.handle_event(now, event);
            }
        }
        self.streams.forget_skipped();
        self.let_go(now);
        if !self.is_over {
            self.conversation.flush(&mut self.endpoint, self.handle);
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected(shown) => self.handle_connected(now, shown),
            Event::Datagram(bytes) => self.handle_media(now, &bytes),
            Event::Read {
                stream,
                bytes,
                is_end,
            } if self.conversation.is_its(stream) => self.handle_control(now, &bytes, is_end),
            Event::Read {
                stream,
                bytes,
                is_end,
            } => self.handle_stream(now, stream, &bytes, is_end),
            Event::Reset { stream, .. } => self.streams.forget(stream),
            Event::Closed(closed) => {
                let goodbye = self.conversation.goodbye();
                self.tell_over(End::of(closed, self.is_connected, goodbye));
            }
            // What is due is tried with the next poll.
            Event::Room | Event::Writable(_) | Event::Stopped { .. } | Event::Finished(_) => (),
        }
    }

    fn handle_connected(&mut self, now: Instant, shown: Option<Fingerprint>) {
        self.is_connected = true;
        if let Some(sample) = self.endpoint.round_trip(self.handle) {
            self.receiver.handle_round_trip(sample);
            self.input.handle_round_trip(sample);
        }
        let Some(shown) = shown else {
            return self.violate(now, "it shows no key".to_owned());
        };
        match self.known {
            Some(known) if known == shown => self.conversation.greet(),
            Some(known) => {
                self.finish(now, CloseCode::NoError, End::WrongKey { known, shown });
            }
            None => self.told.push_back(Told::FirstUse(shown)),
        }
    }

    fn handle_control(&mut self, now: Instant, bytes: &[u8], is_end: bool) {
        let mut rest = bytes;
        loop {
            match self.conversation.poll_message(&mut rest) {
                Ok(Some(message)) => self.handle_message(now, message),
                Ok(None) => break,
                Err(error) => return self.violate(now, error.to_string()),
            }
            if self.is_over {
                return;
            }
        }
        if is_end {
            self.violate(now, "the control stream has ended".to_owned());
        }
    }

    fn handle_message(&mut self, now: Instant, message: FromServer) {
        let exporter = || {
            self.endpoint
                .exporter(self.handle, b"EXPORTER-sandbox-auth")
        };
        match self.conversation.handle_message(message, exporter) {
            Step::Nothing => (),
            Step::Tell(told) => self.told.push_back(told),
            Step::Pasted => self.hold.handle_confirmed(),
            Step::Attached(told, config) => {
                self.input.handle_resumed(now);
                self.told.push_back(told);
                self.told.push_back(Told::Config(config));
            }
            Step::Over(end) => self.finish(now, CloseCode::NoError, end),
            Step::Violation(words) => self.violate(now, words),
        }
    }

    /// Hands QUIC what is due: requests and reports first, then input.
    fn send_datagrams(&mut self, now: Instant) {
        while self.is_live() && self.has_room() {
            self.datagram.clear();
            let due = self
                .input
                .poll_packet(now, &mut self.datagram)
                .or_else(|| self.receiver.poll_datagram(now, &mut self.datagram));
            if due.is_none() {
                return;
            }
            let bytes = Bytes::copy_from_slice(&self.datagram);
            // What finds no room is lost like any datagram: all of it is said again.
            let _lost = self.endpoint.send_datagram(self.handle, bytes);
        }
    }
}
