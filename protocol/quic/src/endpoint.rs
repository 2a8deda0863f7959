//! All connections of one UDP port.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::{ConnectionHandle, DatagramEvent, Dir, FrameStats, Incoming, StreamId, VarInt};

use crate::events::Event;
use crate::identity::{IdentityError, Trust};
use crate::link::{Handle, Link, NoRoom};
use crate::provider;
use crate::silence::{Acknowledged, Silence};
use crate::transport::{self, ServerSetup, Side};

/// Connections at once whose peer has not been admitted by the owner.
const STRANGERS_MAX: usize = 1_024;

/// … of them from one address.
const STRANGERS_PER_ADDRESS_MAX: usize = 32;

/// From so many strangers on a newcomer must show that it receives at its address (RFC 9000
/// §8.1.2): one more round trip for it, no state for us.
const RETRY_ABOVE: usize = 256;

/// Bytes merged into one send; the kernel refuses 64 KiB and more.
const MERGED_BYTES_MAX: usize = 60_000;

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// Its source.
    pub from: SocketAddr,
    /// The address of ours that it was sent to, where known.
    pub to: Option<IpAddr>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Datagrams that want to leave: those written to the caller's buffer, all of `segment` bytes
/// but the last, which may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where they go.
    pub to: SocketAddr,
    /// The address of ours that they have to leave from, where known.
    pub from: Option<IpAddr>,
    /// Bytes of one datagram.
    pub segment: usize,
}

/// A connection cannot be begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is none that can be spoken to.
    #[error("cannot connect to {to}: {source}")]
    Refused {
        /// Which address.
        to: SocketAddr,
        /// Why.
        source: quinn_proto::ConnectError,
    },
    /// The cryptography cannot be set up.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The connections of one UDP port.
#[derive(Debug)]
pub struct Endpoint {
    quic: quinn_proto::Endpoint,
    links: BTreeMap<Handle, Link>,
    /// Not yet admitted, by the address that they came from.
    strangers: BTreeMap<Handle, IpAddr>,
    /// Those that may have something to send.
    unsent: BTreeSet<Handle>,
    /// Addresses that nothing is sent to for the time being, and who wants to.
    held: BTreeMap<SocketAddr, BTreeSet<Handle>>,
    answers: VecDeque<(Outgoing, Vec<u8>)>,
    events: VecDeque<(Handle, Event)>,
}

impl Endpoint {
    /// An endpoint that answers.
    ///
    /// # Errors
    ///
    /// Returns [`IdentityError`] when certificate and key cannot be used.
    pub fn server(setup: &ServerSetup) -> Result<Self, IdentityError> {
        let config = transport::server(setup, provider())?;
        Ok(Self::new(&setup.secret, Some(Arc::new(config))))
    }

    /// An endpoint that asks. The secret signs its resets; a client's need not be kept.
    pub fn client(secret: &[u8; 32]) -> Self {
        Self::new(secret, None)
    }

    fn new(secret: &[u8; 32], server: Option<Arc<quinn_proto::ServerConfig>>) -> Self {
        let config = Arc::new(transport::endpoint(secret));
        Self {
            quic: quinn_proto::Endpoint::new(config, server, true, None),
            links: BTreeMap::new(),
            strangers: BTreeMap::new(),
            unsent: BTreeSet::new(),
            held: BTreeMap::new(),
            answers: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Begins a connection; [`Event::Connected`] or [`Event::Closed`] follows.
    ///
    /// # Errors
    ///
    /// Returns [`ConnectError`] when the address cannot be spoken to.
    pub fn connect(
        &mut self,
        now: Instant,
        to: SocketAddr,
        trust: Trust,
    ) -> Result<Handle, ConnectError> {
        let acknowledged = Acknowledged::default();
        let config = transport::client(trust, provider(), acknowledged.clone())?;
        // Servers are known by their key; the name is only there because TLS wants one.
        let (handle, connection) = self
            .quic
            .connect(now, config, to, "sandbox")
            .map_err(|source| ConnectError::Refused { to, source })?;
        let handle = Handle::from(handle);
        let silence = Silence::new(acknowledged);
        self.links
            .insert(handle, Link::new(connection, Side::Client, Some(silence)));
        self.unsent.insert(handle);
        Ok(handle)
    }

    /// A datagram came.
    pub fn handle_datagram(&mut self, now: Instant, arrived: Arrived<'_>) {
        let mut answer = Vec::new();
        let event = self.quic.handle(
            now,
            arrived.from,
            arrived.to,
            None,
            BytesMut::from(arrived.bytes),
            &mut answer,
        );
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(link) = self.links.get_mut(&handle.into()) {
                    link.quic.handle_event(event);
                    link.handle_came();
                    self.settle(handle.into());
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.welcome(now, incoming),
            Some(DatagramEvent::Response(transmit)) => self.answer(&transmit, answer),
            None => (),
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<Handle> = self
            .links
            .iter_mut()
            .filter_map(|(handle, link)| {
                let at = link.quic.poll_timeout()?;
                (at <= now).then_some(*handle)
            })
            .collect();
        for handle in due {
            if let Some(link) = self.links.get_mut(&handle) {
                link.quic.handle_timeout(now);
                self.settle(handle);
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.links
            .values_mut()
            .filter_map(|it| it.quic.poll_timeout())
            .min()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<(Handle, Event)> {
        self.events.pop_front()
    }

    /// Writes the next datagrams into the empty `buffer`, up to `segments_max` of them.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Outgoing> {
        if let Some((outgoing, bytes)) = self.answers.pop_front() {
            buffer.extend_from_slice(&bytes);
            return Some(outgoing);
        }
        while let Some(handle) = self.unsent.first().copied() {
            if let Some(link) = self.links.get_mut(&handle) {
                if let Some(waiting) = self.held.get_mut(&link.quic.remote_address()) {
                    self.unsent.remove(&handle);
                    waiting.insert(handle);
                    continue;
                }
                let mtu = usize::from(link.quic.current_mtu()).max(1);
                let segments = segments_max.min(MERGED_BYTES_MAX / mtu).max(1);
                if let Some(transmit) = link.quic.poll_transmit(now, segments, buffer) {
                    buffer.truncate(transmit.size);
                    link.handle_sent(now);
                    return Some(outgoing(&transmit));
                }
            }
            self.unsent.remove(&handle);
            // Sending may have used up connection ids; their successors have to be told.
            if self.exchange(handle) {
                self.unsent.insert(handle);
            }
        }
        None
    }

    /// The way to an address is full: what its connections have to send waits inside them, where
    /// it can still be told from what is newer.
    pub fn hold(&mut self, to: SocketAddr) {
        self.held.entry(to).or_default();
    }

    /// The way to an address is free again, or gone. Returns whether anything was held.
    pub fn release(&mut self, to: SocketAddr) -> bool {
        let Some(waiting) = self.held.remove(&to) else {
            return false;
        };
        self.unsent.extend(waiting);
        true
    }

    /// Connections whose peer is at this address.
    pub fn at(&self, address: SocketAddr) -> Vec<Handle> {
        let links = self.links.iter();
        let there = links.filter(|(_, it)| it.quic.remote_address() == address);
        there.map(|(handle, _)| *handle).collect()
    }

    /// The peer is known: it no longer counts against the limits for strangers.
    pub fn admit(&mut self, handle: Handle) {
        self.strangers.remove(&handle);
    }

    /// Ends a connection with a reason; its [`Event::Closed`] comes as for every end.
    pub fn close(&mut self, now: Instant, handle: Handle, code: u32, words: &str) {
        if let Some(link) = self.links.get_mut(&handle) {
            let words = Bytes::copy_from_slice(words.as_bytes());
            link.close(now, VarInt::from_u32(code), words);
            self.settle(handle);
        }
    }

    /// Queues a datagram; it leaves with the next polls.
    ///
    /// # Errors
    ///
    /// Returns [`NoRoom`] when it cannot.
    pub fn send_datagram(&mut self, handle: Handle, bytes: Bytes) -> Result<(), NoRoom> {
        let link = self.links.get_mut(&handle).ok_or(NoRoom::Closed)?;
        link.send_datagram(bytes)?;
        self.unsent.insert(handle);
        Ok(())
    }

    /// Largest datagram that the path carries now; `None` while the handshake lasts.
    pub fn datagram_bytes_max(&mut self, handle: Handle) -> Option<usize> {
        self.links.get_mut(&handle)?.quic.datagrams().max_size()
    }

    /// Bytes of datagrams that find room now.
    pub fn datagram_room_bytes(&mut self, handle: Handle) -> usize {
        self.links
            .get_mut(&handle)
            .map_or(0, |it| it.quic.datagrams().send_buffer_space())
    }

    /// Opens a stream; `None` where the peer allows no further one.
    pub fn open_stream(&mut self, handle: Handle, dir: Dir, priority: i32) -> Option<StreamId> {
        let link = self.links.get_mut(&handle)?;
        let stream = link.quic.streams().open(dir)?;
        link.quic.send_stream(stream).set_priority(priority).ok()?;
        Some(stream)
    }

    /// Writes what the stream takes and says how many bytes that was; [`Event::Writable`] follows
    /// where it was not all.
    pub fn write(&mut self, handle: Handle, stream: StreamId, bytes: &[u8]) -> usize {
        let Some(link) = self.links.get_mut(&handle) else {
            return 0;
        };
        // Blocked, stopped or closed: the event of each tells more.
        let written = link.quic.send_stream(stream).write(bytes).unwrap_or(0);
        self.unsent.insert(handle);
        written
    }

    /// Nothing follows on a stream.
    pub fn finish(&mut self, handle: Handle, stream: StreamId) {
        if let Some(link) = self.links.get_mut(&handle) {
            // Stopped by the peer or reset by us: then nothing is owed.
            let _already_over = link.quic.send_stream(stream).finish();
            self.unsent.insert(handle);
        }
    }

    /// Gives a stream up: what has not left never will.
    pub fn reset(&mut self, handle: Handle, stream: StreamId, code: u32) {
        if let Some(link) = self.links.get_mut(&handle) {
            let _already_over = link.quic.send_stream(stream).reset(VarInt::from_u32(code));
            self.unsent.insert(handle);
        }
    }

    /// Refuses the rest of a stream of the peer's.
    pub fn stop(&mut self, handle: Handle, stream: StreamId, code: u32) {
        if let Some(link) = self.links.get_mut(&handle) {
            let _already_over = link.quic.recv_stream(stream).stop(VarInt::from_u32(code));
            self.unsent.insert(handle);
        }
    }

    /// Bytes that both ends of this connection know and nobody else (RFC 8446 §7.5): a proof made
    /// with them cannot be relayed over another connection.
    pub fn exporter(&self, handle: Handle, label: &[u8]) -> Option<[u8; 32]> {
        let mut bytes = [0; 32];
        let link = self.links.get(&handle)?;
        let session = link.quic.crypto_session();
        session
            .export_keying_material(&mut bytes, label, &[])
            .ok()?;
        Some(bytes)
    }

    /// The client's network may have changed: the path is proven anew (RFC 9000 §9).
    pub fn handle_network_changed(&mut self, now: Instant) {
        for (handle, link) in &mut self.links {
            link.quic.path_changed(now);
            link.quic.local_address_changed();
            self.unsent.insert(*handle);
        }
    }

    /// Where the peer is.
    pub fn remote(&self, handle: Handle) -> Option<SocketAddr> {
        Some(self.links.get(&handle)?.quic.remote_address())
    }

    /// Frames that QUIC has sent on a connection, by kind: what its packets are there for.
    pub fn frames_sent(&self, handle: Handle) -> Option<FrameStats> {
        Some(self.links.get(&handle)?.quic.stats().frame_tx)
    }

    /// Round trip as QUIC measures it.
    pub fn round_trip(&self, handle: Handle) -> Option<std::time::Duration> {
        Some(self.links.get(&handle)?.quic.rtt())
    }

    /// Since when nothing that was sent has been acknowledged, at a client; `None` while all is
    /// answered.
    pub fn unanswered_since(&self, handle: Handle) -> Option<Instant> {
        self.links.get(&handle)?.silence.as_ref()?.since()
    }

    fn welcome(&mut self, now: Instant, incoming: Incoming) {
        let address = incoming.remote_address().ip().to_canonical();
        let from_there = self.strangers.values().filter(|it| **it == address).count();
        let strangers = self.strangers.len();
        let mut answer = Vec::new();
        let transmit = if strangers >= STRANGERS_MAX || from_there >= STRANGERS_PER_ADDRESS_MAX {
            self.quic.refuse(incoming, &mut answer)
        } else if strangers >= RETRY_ABOVE && !incoming.remote_address_validated() {
            match self.quic.retry(incoming, &mut answer) {
                Ok(transmit) => transmit,
                Err(error) => self.quic.refuse(error.into_incoming(), &mut answer),
            }
        } else {
            return self.accept(now, incoming, address);
        };
        self.answer(&transmit, answer);
    }

    fn accept(&mut self, now: Instant, incoming: Incoming, address: IpAddr) {
        let mut answer = Vec::new();
        match self.quic.accept(incoming, now, &mut answer, None) {
            Ok((handle, connection)) => {
                let handle = Handle::from(handle);
                self.links
                    .insert(handle, Link::new(connection, Side::Server, None));
                self.strangers.insert(handle, address);
                self.settle(handle);
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.answer(&transmit, answer);
                }
            }
        }
    }

    fn answer(&mut self, transmit: &quinn_proto::Transmit, mut bytes: Vec<u8>) {
        // Answers to strangers are the first thing to drop under a flood.
        if self.answers.len() < STRANGERS_MAX {
            bytes.truncate(transmit.size);
            self.answers.push_back((outgoing(transmit), bytes));
        }
    }

    /// Collects what happened on a connection.
    fn settle(&mut self, handle: Handle) {
        if let Some(link) = self.links.get_mut(&handle) {
            link.settle();
            while let Some(event) = link.poll_event() {
                if let Event::Closed(_) = event {
                    self.strangers.remove(&handle);
                }
                self.events.push_back((handle, event));
            }
            self.unsent.insert(handle);
            self.exchange(handle);
        }
    }

    /// Carries what connection and endpoint owe each other; says whether the connection learnt
    /// something. One that is over and quiet is forgotten.
    fn exchange(&mut self, handle: Handle) -> bool {
        let Some(link) = self.links.get_mut(&handle) else {
            return false;
        };
        let (mut has_learnt, mut is_drained) = (false, false);
        while let Some(event) = link.quic.poll_endpoint_events() {
            is_drained |= event.is_drained();
            let to = ConnectionHandle(handle.0);
            if let Some(event) = self.quic.handle_event(to, event) {
                link.quic.handle_event(event);
                has_learnt = true;
            }
        }
        if is_drained {
            self.links.remove(&handle);
            self.strangers.remove(&handle);
            self.unsent.remove(&handle);
        }
        has_learnt && !is_drained
    }

    /// Which end of a connection this is.
    pub fn side(&self, handle: Handle) -> Option<Side> {
        Some(self.links.get(&handle)?.side)
    }
}

fn outgoing(transmit: &quinn_proto::Transmit) -> Outgoing {
    Outgoing {
        to: transmit.destination,
        from: transmit.src_ip,
        segment: transmit.segment_size.unwrap_or(transmit.size),
    }
}
