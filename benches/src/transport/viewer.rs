//! The viewer's end: QUIC, the stream's receiver, and the sender of input, as the client has them.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sandbox_protocol::stream::input_sender::InputSender;
use sandbox_protocol::stream::receiver::Receiver;
use sandbox_protocol::wire::datagram::FromServer;
use sandbox_protocol::wire::input::Event as Input;
use sandbox_protocol::wire::update_stream::{STREAM_HEADER_LEN, StreamHeader};
use sandbox_quic::{Arrived, Bytes, Endpoint, Event, Fingerprint, Handle, StreamId, Trust};

use crate::chance::Chance;
use crate::shared::{INTERVAL, Shared};
use crate::sockets::{DATAGRAM_BYTES, open, unless_blocked, wait};
use crate::{Error, clock};

/// Time from one press or release to the next, in microseconds: 62 a second.
const KEY_GAP: (u64, u64) = (8_000, 24_000);

/// An update that was complete here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    pub(crate) made: Instant,
    pub(crate) at: Instant,
}

/// What the viewer's end saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) updates: Vec<Delivered>,
    /// When it took another address.
    pub(crate) moved: Vec<Instant>,
}

/// The viewer's thread.
pub(crate) struct Viewer<'a> {
    shared: &'a Shared,
    socket: UdpSocket,
    endpoint: Endpoint,
    handle: Handle,
    is_connected: bool,
    receiver: Receiver,
    input: InputSender,
    streams: BTreeMap<StreamId, Stream>,
    chance: Chance,
    next_key: Instant,
    is_down: bool,
    out: Vec<u8>,
    seen: Seen,
}

#[derive(Default)]
struct Stream {
    header: Option<StreamHeader>,
    bytes: Vec<u8>,
}

impl<'a> Viewer<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        server: SocketAddr,
        known: Fingerprint,
        seed: u64,
    ) -> Result<Self, Error> {
        let now = clock::now();
        let mut endpoint = Endpoint::client(&[9; 32]);
        let handle = endpoint.connect(now, server, Trust::Pinned(known))?;
        Ok(Self {
            shared,
            socket: open()?,
            endpoint,
            handle,
            is_connected: false,
            receiver: Receiver::new(now),
            input: InputSender::new(seed),
            streams: BTreeMap::new(),
            chance: Chance::new(seed),
            next_key: now,
            is_down: false,
            out: Vec::new(),
            seen: Seen::default(),
        })
    }

    pub(crate) fn run(mut self) -> Result<Seen, Error> {
        clock::sleep_precisely()?;
        let mut buffer = vec![0; DATAGRAM_BYTES];
        while !self.shared.is_over() {
            while let Some((len, from)) = unless_blocked(self.socket.recv_from(&mut buffer))? {
                let bytes = buffer.get(..len).unwrap_or_default();
                let arrived = Arrived {
                    from,
                    to: None,
                    bytes,
                };
                self.endpoint.handle_datagram(clock::now(), arrived);
                self.settle(clock::now())?;
            }
            let now = clock::now();
            self.endpoint.handle_timeout(now);
            self.receiver.handle_timeout(now);
            self.settle(now)?;
            if self.shared.moves() as usize > self.seen.moved.len() {
                self.socket = open()?;
                self.endpoint.handle_network_changed(now);
                self.receiver.handle_path_change(now);
                self.input.handle_path_change(now);
                self.seen.moved.push(now);
            }
            self.press(now);
            self.send(now)?;
            let due = self.due().min(now + INTERVAL);
            wait([&self.socket], due)?;
        }
        Ok(self.seen)
    }

    fn settle(&mut self, now: Instant) -> Result<(), Error> {
        while let Some((_, event)) = self.endpoint.poll_event() {
            match event {
                Event::Connected(_) => {
                    self.is_connected = true;
                    if let Some(sample) = self.endpoint.round_trip(self.handle) {
                        self.receiver.handle_round_trip(sample);
                        self.input.handle_round_trip(sample);
                    }
                }
                Event::Datagram(bytes) => self.handle_datagram(now, &bytes)?,
                Event::Read {
                    stream,
                    bytes,
                    is_end,
                } => self.handle_stream(now, stream, &bytes, is_end)?,
                Event::Closed(why) => return Err(Error::Broken(format!("viewer: {why:?}"))),
                Event::Room
                | Event::Reset { .. }
                | Event::Writable(_)
                | Event::Stopped { .. }
                | Event::Finished(_) => (),
            }
        }
        let start = self.shared.start;
        while let Some(update) = self.receiver.poll_update() {
            if let Some(stamp) = update.bytes.first_chunk() {
                let made = start + Duration::from_nanos(u64::from_le_bytes(*stamp));
                self.seen.updates.push(Delivered { made, at: now });
            }
        }
        Ok(())
    }

    fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error> {
        match FromServer::decode(bytes).map_err(|it| broken(&it))? {
            FromServer::Fragment(it) => {
                let taken = self.receiver.handle_fragment(now, &it);
                taken.map_err(|it| broken(&it))?;
            }
            FromServer::Pong(it) => {
                self.receiver.handle_pong(now, it);
                if let Some(round_trip) = self.receiver.round_trip() {
                    self.input.handle_round_trip(round_trip);
                }
            }
            FromServer::InputAck { stream, seq } => self.input.handle_ack(now, stream, seq),
            FromServer::Sound(..) | FromServer::Cursor(_) => (),
        }
        Ok(())
    }

    fn handle_stream(
        &mut self,
        now: Instant,
        id: StreamId,
        bytes: &[u8],
        is_end: bool,
    ) -> Result<(), Error> {
        let stream = self.streams.entry(id).or_default();
        stream.bytes.extend_from_slice(bytes);
        if stream.header.is_none()
            && let Some(first) = stream.bytes.first_chunk::<STREAM_HEADER_LEN>()
        {
            let header = StreamHeader::decode(*first).map_err(|it| broken(&it))?;
            stream.bytes.drain(..STREAM_HEADER_LEN);
            stream.header = Some(header);
            self.receiver.handle_stream(now, &header);
        }
        if let (true, Some(header)) = (is_end, stream.header) {
            let bytes = std::mem::take(&mut stream.bytes);
            self.streams.remove(&id);
            let taken = self.receiver.handle_stream_update(now, &header, bytes);
            taken.map_err(|it| broken(&it))?;
        }
        Ok(())
    }

    /// Presses a key, or lets it go.
    fn press(&mut self, now: Instant) {
        if !self.shared.types() || self.next_key > now {
            return;
        }
        let (shortest, longest) = KEY_GAP;
        let gap = shortest + self.chance.below(longest - shortest);
        self.next_key = now + Duration::from_micros(gap);
        self.is_down = !self.is_down;
        self.shared.presses().push_back(now);
        let event = Input::Key {
            code: 30,
            keysym: 0x61,
            is_down: self.is_down,
        };
        self.input.handle_event(now, event);
    }

    fn send(&mut self, now: Instant) -> io::Result<()> {
        while self.is_connected {
            let due = self.input.poll_packet(now, &mut self.out);
            let due = due.or_else(|| self.receiver.poll_datagram(now, &mut self.out));
            if due.is_none() {
                break;
            }
            let bytes = Bytes::copy_from_slice(&self.out);
            // What finds no room is said again.
            let _lost = self.endpoint.send_datagram(self.handle, bytes);
        }
        self.out.clear();
        while let Some(outgoing) = self.endpoint.poll_transmit(now, 8, &mut self.out) {
            for datagram in self.out.chunks(outgoing.segment) {
                unless_blocked(self.socket.send_to(datagram, outgoing.to))?;
            }
            self.out.clear();
        }
        Ok(())
    }

    fn due(&mut self) -> Instant {
        let ours = [self.receiver.poll_timeout(), self.input.poll_timeout()];
        let ours = ours.into_iter().flatten().map(|it| it.at);
        let key = self.shared.types().then_some(self.next_key);
        let quic = self.endpoint.poll_timeout();
        let others = ours.filter(|_| self.is_connected).chain(key).chain(quic);
        others.fold(clock::now() + INTERVAL, Instant::min)
    }
}

fn broken(error: &dyn std::error::Error) -> Error {
    Error::Broken(format!("viewer: {error}"))
}
