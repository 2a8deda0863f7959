//! The server's end: QUIC, the stream's sender, and the receiver of input, as the daemon has them.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sandbox_protocol::stream::input;
use sandbox_protocol::stream::packetize::UpdateKind;
use sandbox_protocol::stream::rate::RateConfig;
use sandbox_protocol::stream::recovery::Encoder;
use sandbox_protocol::stream::sender::{Readiness, Sender, SenderConfig, Transmit};
use sandbox_protocol::wire::datagram::{Epoch, FromViewer};
use sandbox_protocol::wire::input::{Packet, encode_ack};
use sandbox_protocol::{Bitrate, Micros, Wakeup};
use sandbox_quic::{
    Arrived, Bytes, DATAGRAM_SEND_BYTES, Dir, Endpoint, Event, Handle, ServerSetup, StreamId,
};

use crate::chance::Chance;
use crate::shared::{Content, INTERVAL, Shared};
use crate::sockets::{DATAGRAM_BYTES, open, unless_blocked, wait};
use crate::{Error, clock};

/// What the daemon leaves inside QUIC at most.
const BURST_BYTES: usize = 32 << 10;

const RATE: RateConfig = RateConfig {
    start: Bitrate::kbps(10_000),
    min: Bitrate::kbps(150),
    max: Bitrate::kbps(50_000),
};

/// What the server's end saw.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// When each update was handed over.
    pub(crate) made: Vec<Instant>,
    /// Updates that were not made because others were on their way.
    pub(crate) skipped: usize,
    /// From the press of each key to here.
    pub(crate) keys: Vec<Duration>,
}

/// The server's thread.
pub(crate) struct Server<'a> {
    shared: &'a Shared,
    socket: UdpSocket,
    endpoint: Endpoint,
    viewer: Option<Viewer>,
    chance: Chance,
    next_update: Instant,
    out: Vec<u8>,
    served: Served,
}

struct Viewer {
    handle: Handle,
    address: Option<SocketAddr>,
    sender: Sender,
    input: input::Receiver,
    streams: BTreeMap<(u16, u32), Stream>,
    is_held: bool,
}

#[derive(Default)]
struct Stream {
    id: Option<StreamId>,
    waiting: Vec<u8>,
    is_whole: bool,
    is_finished: bool,
}

impl<'a> Server<'a> {
    pub(crate) fn new(shared: &'a Shared, setup: &ServerSetup, seed: u64) -> Result<Self, Error> {
        Ok(Self {
            shared,
            socket: open()?,
            endpoint: Endpoint::server(setup)?,
            viewer: None,
            chance: Chance::new(seed),
            next_update: shared.start,
            out: Vec::new(),
            served: Served::default(),
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn run(mut self) -> Result<Served, Error> {
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
            }
            let now = clock::now();
            self.endpoint.handle_timeout(now);
            while let Some((handle, event)) = self.endpoint.poll_event() {
                self.handle_event(now, handle, event)?;
            }
            if self.next_update <= now {
                self.next_update = (self.next_update + INTERVAL).max(now);
                self.make(now)?;
            }
            if let Some(viewer) = &mut self.viewer {
                viewer.sender.handle_timeout(now);
                // Whoever encodes goes on without what is lost; here all updates are tiles.
                while viewer.sender.poll_demand().is_some() {}
                viewer.pump(now, &mut self.endpoint, &mut self.out);
            }
            self.send(now)?;
            let due = self.due().min(now + INTERVAL);
            wait([&self.socket], due)?;
        }
        Ok(self.served)
    }

    fn handle_event(&mut self, now: Instant, handle: Handle, event: Event) -> Result<(), Error> {
        match event {
            Event::Connected(_) => {
                let config = SenderConfig {
                    rate: RATE,
                    encoder: Encoder::Invalidates,
                    clock: Micros(1_000_000),
                };
                let mut sender = Sender::new(config, now);
                if let Some(sample) = self.endpoint.round_trip(handle) {
                    sender.handle_round_trip(now, sample);
                }
                self.viewer = Some(Viewer {
                    handle,
                    address: self.endpoint.remote(handle),
                    sender,
                    input: input::Receiver::default(),
                    streams: BTreeMap::new(),
                    is_held: false,
                });
            }
            Event::Finished(stream) => {
                if let Some(viewer) = &mut self.viewer {
                    viewer.handle_finished(now, stream);
                }
            }
            Event::Datagram(bytes) => self.handle_datagram(now, &bytes)?,
            Event::Closed(why) => return Err(Error::Broken(format!("server: {why:?}"))),
            Event::Room
            | Event::Read { .. }
            | Event::Reset { .. }
            | Event::Writable(_)
            | Event::Stopped { .. } => (),
        }
        Ok(())
    }

    fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error> {
        let Some(viewer) = &mut self.viewer else {
            return Ok(());
        };
        let broken = |it| Error::Broken(format!("server: {it}"));
        match FromViewer::decode(bytes).map_err(broken)? {
            FromViewer::Feedback(it) => viewer.sender.handle_feedback(now, &it),
            FromViewer::Nack(it) => viewer.sender.handle_nack(now, &it),
            FromViewer::ReferenceLost(it) => viewer.sender.handle_reference_lost(now, &it),
            FromViewer::Ping(it) => viewer.sender.handle_ping(it),
            FromViewer::Input(packet) => self.handle_input(now, &packet),
        }
        Ok(())
    }

    fn handle_input(&mut self, now: Instant, packet: &Packet) {
        let Some(viewer) = &mut self.viewer else {
            return;
        };
        let input = input::Input {
            stream: packet.stream,
            first_seq: packet.first_seq,
            events: &packet.events,
            pointer: packet.pointer,
            held: packet.held.as_deref(),
        };
        if let Some(ack) = viewer.input.handle_input(&input, now) {
            let bytes = Bytes::copy_from_slice(&encode_ack(ack.stream, ack.seq));
            // One that finds no room is repeated when the viewer sends again.
            let _lost = self.endpoint.send_datagram(viewer.handle, bytes);
        }
        while viewer.input.poll_step().is_some() {
            if let Some(pressed) = self.shared.presses().pop_front() {
                self.served.keys.push(now - pressed);
            }
        }
    }

    /// Hands over the next update, if it is welcome.
    fn make(&mut self, now: Instant) -> Result<(), Error> {
        let Some(viewer) = &mut self.viewer else {
            return Ok(());
        };
        let readiness = viewer.sender.readiness();
        let is_whole = readiness == Readiness::NeedsWhole;
        let bytes = match self.shared.content() {
            Content::Still => return Ok(()),
            Content::First(_) if !is_whole => return Ok(()),
            _ if readiness == Readiness::Busy => {
                self.served.skipped += 1;
                return Ok(());
            }
            Content::First(bytes) | Content::Fixed(bytes) => bytes,
            Content::Filling => {
                (viewer.sender.target().bps() as f64 * INTERVAL.as_secs_f64() / 8.0) as usize
            }
        };
        let mut content = vec![0; bytes.max(8)];
        self.chance.fill(&mut content);
        let stamp = (now - self.shared.start).as_nanos() as u64;
        if let Some(first) = content.first_chunk_mut() {
            *first = stamp.to_le_bytes();
        }
        let kind = UpdateKind {
            is_whole,
            ..UpdateKind::default()
        };
        let handed = viewer.sender.handle_update(now, &content, kind);
        handed.map_err(|it| Error::Broken(format!("server: {it}")))?;
        self.served.made.push(now);
        Ok(())
    }

    fn send(&mut self, now: Instant) -> io::Result<()> {
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
        let stream = self.viewer.as_mut().and_then(|viewer| {
            let next = viewer.sender.poll_timeout();
            let next = next.filter(|it| it.why != Wakeup::Pacer || !viewer.is_held);
            next.map(|it| it.at)
        });
        let quic = self.endpoint.poll_timeout();
        let others = [stream, quic].into_iter().flatten();
        others.fold(self.next_update, Instant::min)
    }
}

impl Viewer {
    /// Moves into QUIC what is ready, as far as there is room.
    fn pump(&mut self, now: Instant, endpoint: &mut Endpoint, out: &mut Vec<u8>) {
        let address = endpoint.remote(self.handle);
        if address != self.address {
            self.address = address;
            self.sender.handle_path_change(now);
        }
        if let Some(bytes) = endpoint.datagram_bytes_max(self.handle) {
            self.sender.handle_datagram_max(bytes);
        }
        for stream in self.streams.values_mut() {
            stream.flush(endpoint, self.handle);
        }
        let full = DATAGRAM_SEND_BYTES - BURST_BYTES;
        loop {
            self.is_held = endpoint.datagram_room_bytes(self.handle) < full;
            if self.is_held {
                break;
            }
            match self.sender.poll_transmit(now, out) {
                Some(Transmit::Datagram) => {
                    // What finds no room is lost as on the path.
                    let _lost = endpoint.send_datagram(self.handle, Bytes::copy_from_slice(out));
                }
                Some(Transmit::Stream {
                    epoch,
                    update,
                    is_last,
                    ..
                }) => {
                    let stream = self.streams.entry((epoch.0, update)).or_default();
                    stream.waiting.extend_from_slice(out);
                    stream.is_whole = is_last;
                    stream.flush(endpoint, self.handle);
                }
                // Nobody has said that bulk waits.
                Some(Transmit::Bulk { .. }) | None => break,
            }
        }
    }

    fn handle_finished(&mut self, now: Instant, stream: StreamId) {
        let name = self.streams.iter().find(|(_, it)| it.id == Some(stream));
        if let Some((epoch, update)) = name.map(|(name, _)| *name) {
            self.streams.remove(&(epoch, update));
            let update = (Epoch(epoch), update);
            self.sender.handle_stream_arrived(now, update);
        }
    }
}

impl Stream {
    fn flush(&mut self, endpoint: &mut Endpoint, handle: Handle) {
        if self.id.is_none() {
            self.id = endpoint.open_stream(handle, Dir::Uni, -1);
        }
        let Some(id) = self.id else { return };
        let written = endpoint.write(handle, id, &self.waiting);
        self.waiting.drain(..written);
        if self.is_whole && self.waiting.is_empty() && !self.is_finished {
            self.is_finished = true;
            endpoint.finish(handle, id);
        }
    }
}
