//! The connections of native viewers: one QUIC endpoint, and for each connection what is said on
//! it and what waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use async_channel::{Receiver, Sender};
use sandbox_protocol::ViewerId;
use sandbox_protocol::limits::DATAGRAMS_PER_SECOND_MAX;
use sandbox_protocol::local::Version;
use sandbox_protocol::stream::sender::Transmit;
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{Agreement, FEATURES, Features, FromServer};
use sandbox_protocol::wire::datagram::Epoch;
use sandbox_quic::{
    BytesMut, DATAGRAM_SEND_BYTES, Dir, Endpoint, Fingerprint, Handle, IdentityError, ServerSetup,
    StreamId,
};

use super::conversation::{Conversation, Refusal};
use super::outbox::{Outbox, Unread};
use super::streams::{Part, UpdateStreams};
use super::viewer::NativeViewer;
use super::{Ask, Node, Peer, PeerId};
use crate::media::LeftReason;
use crate::media::flood::{FloodMeter, Flooded};
use crate::media::tunnel::is_tunnel;

/// Wishes of one viewer that may wait; more is somebody playing.
const ASKS_MAX: usize = 16;

/// Bytes of datagrams inside QUIC beyond which the stream hands out no more: what is there can be
/// overtaken by nothing.
const BURST_BYTES: usize = 32 << 10;

/// Datagrams share buffers of so many bytes.
const ARENA_BYTES: usize = 64 << 10;

/// All connections.
pub(in crate::media) struct Natives {
    pub(in crate::media) endpoint: Endpoint,
    connections: BTreeMap<Handle, Connection>,
    handles: BTreeMap<PeerId, Handle>,
    announce: Sender<Peer>,
    last_peer: u64,
    node: Node,
    /// What datagrams on their way into QUIC are copied to.
    arena: BytesMut,
    datagram: Vec<u8>,
}

/// One connection.
pub(in crate::media) struct Connection {
    pub(in crate::media) id: PeerId,
    /// Its name and version, as it says.
    pub(in crate::media) agent: String,
    pub(in crate::media) conversation: Conversation,
    /// What it looks at a session as, and the last epoch of what it looked at before.
    pub(in crate::media) viewer: Option<ViewerId>,
    pub(in crate::media) epoch: Epoch,
    pub(in crate::media) streams: UpdateStreams,
    outbox: Outbox,
    control: Option<StreamId>,
    asks: (Sender<Ask>, Receiver<Ask>),
    /// The WebSocket that it came in, and goes with wherever QUIC finds it.
    tunnel: Option<SocketAddr>,
    /// Where QUIC finds it, and where it came from.
    address: SocketAddr,
    client: IpAddr,
    datagrams: FloodMeter,
    /// Its stream waits for room inside QUIC.
    is_held: bool,
}

impl Natives {
    pub(in crate::media) fn new(
        setup: &ServerSetup,
        workers: Version,
        announce: Sender<Peer>,
    ) -> Result<Self, IdentityError> {
        let fingerprint = Fingerprint::of(&setup.identity.certificate)?;
        let mut id = [0; 16];
        id.copy_from_slice(&fingerprint.0[..16]);
        let features = features(workers);
        Ok(Self {
            endpoint: Endpoint::server(setup)?,
            connections: BTreeMap::new(),
            handles: BTreeMap::new(),
            announce,
            last_peer: 0,
            node: Node { id, features },
            arena: BytesMut::new(),
            datagram: Vec::new(),
        })
    }

    pub(in crate::media) fn get(&mut self, handle: Handle) -> Option<&mut Connection> {
        self.connections.get_mut(&handle)
    }

    pub(in crate::media) fn handle_of(&self, peer: PeerId) -> Option<Handle> {
        self.handles.get(&peer).copied()
    }

    pub(in crate::media) fn all(&self) -> Vec<Handle> {
        self.connections.keys().copied().collect()
    }

    /// Those who are in a WebSocket, and those who have left it.
    pub(in crate::media) fn of_tunnel(&self, address: SocketAddr) -> BTreeSet<Handle> {
        let came = self.connections.iter();
        let came = came.filter(|(_, it)| it.tunnel == Some(address));
        let there = self.endpoint.at(address).into_iter();
        there.chain(came.map(|(handle, _)| *handle)).collect()
    }

    /// The WebSocket that somebody came in, wherever QUIC finds them now.
    pub(in crate::media) fn tunnel_of(&self, handle: Handle) -> Option<SocketAddr> {
        let known = self.connections.get(&handle).map(|it| it.tunnel);
        known.unwrap_or_else(|| self.endpoint.remote(handle))
    }

    /// Whether somebody has connected in this WebSocket.
    pub(in crate::media) fn has_tunnel(&self, address: SocketAddr) -> bool {
        self.connections
            .values()
            .any(|it| it.tunnel == Some(address))
    }

    /// Connections whose stream waits for room.
    pub(in crate::media) fn held(&self) -> impl Iterator<Item = ViewerId> {
        let held = self.connections.values().filter(|it| it.is_held);
        held.filter_map(|it| it.viewer)
    }

    /// A handshake is done.
    pub(in crate::media) fn handle_connected(
        &mut self,
        now: Instant,
        handle: Handle,
        client: IpAddr,
    ) {
        let Some(address) = self.endpoint.remote(handle) else {
            return;
        };
        self.last_peer += 1;
        let id = PeerId(self.last_peer);
        self.handles.insert(id, handle);
        let connection = Connection {
            id,
            agent: String::new(),
            conversation: Conversation::new(self.node, now),
            viewer: None,
            epoch: Epoch::default(),
            streams: UpdateStreams::default(),
            outbox: Outbox::default(),
            control: None,
            asks: async_channel::bounded(ASKS_MAX),
            tunnel: is_tunnel(address.ip()).then_some(address),
            address,
            client,
            datagrams: FloodMeter::new(DATAGRAMS_PER_SECOND_MAX),
            is_held: false,
        };
        self.connections.insert(handle, connection);
        tracing::debug!(peer = id.0, %address, %client, "native viewer connected");
    }

    /// A connection is over, or about to be.
    pub(in crate::media) fn remove(&mut self, handle: Handle) -> Option<Connection> {
        let connection = self.connections.remove(&handle)?;
        self.handles.remove(&connection.id);
        Some(connection)
    }

    /// Bytes of a stream that the viewer opened: the first bidirectional one, and no other.
    pub(in crate::media) fn handle_read(
        &mut self,
        now: Instant,
        handle: Handle,
        stream: StreamId,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let Some(connection) = self.connections.get_mut(&handle) else {
            return Ok(());
        };
        if stream.dir() != Dir::Bi || stream.index() != 0 {
            return Err(Refusal {
                code: CloseCode::ProtocolViolation,
                words: format!("{stream} is not known to this protocol"),
            });
        }
        connection.control = Some(stream);
        connection.conversation.handle_bytes(now, bytes)
    }

    /// A datagram is one of those that a viewer may send.
    pub(in crate::media) fn count_datagram(
        &mut self,
        now: Instant,
        handle: Handle,
    ) -> Result<Option<ViewerId>, Refusal> {
        let Some(connection) = self.connections.get_mut(&handle) else {
            return Ok(None);
        };
        let counted = connection.datagrams.handle_message(now);
        counted.map_err(|Flooded| Refusal {
            code: CloseCode::Limit,
            words: format!("more than {DATAGRAMS_PER_SECOND_MAX} datagrams in a second"),
        })?;
        Ok(connection.viewer)
    }

    /// A stream of ours is not wanted, as the viewer says by a code.
    pub(in crate::media) fn reset(&mut self, handle: Handle, stream: StreamId, code: u64) {
        let code = u32::try_from(code).unwrap_or(u32::MAX);
        self.endpoint.reset(handle, stream, code);
    }

    /// A stream of ours has arrived, or is not wanted. Returns the update that it carried.
    pub(in crate::media) fn handle_over(
        &mut self,
        handle: Handle,
        stream: StreamId,
    ) -> Option<(Epoch, u32)> {
        let connection = self.connections.get_mut(&handle)?;
        connection.streams.handle_over(stream)
    }

    /// Tells the daemon of a viewer that has said hello.
    pub(in crate::media) fn announce(
        &mut self,
        handle: Handle,
        agent: String,
    ) -> Result<(), Refusal> {
        let Some(connection) = self.connections.get_mut(&handle) else {
            return Ok(());
        };
        connection.agent = agent;
        let (id, address) = (connection.id, connection.client);
        let peer = Peer {
            id,
            address,
            is_in_tunnel: connection.tunnel.is_some(),
            asks: connection.asks.1.clone(),
        };
        self.announce.try_send(peer).map_err(|_| Refusal {
            code: CloseCode::Overloaded,
            words: "too many viewers wait".to_owned(),
        })
    }

    /// Puts a message behind the others; it leaves with the next
    /// [`flush`](Self::flush).
    pub(in crate::media) fn say(
        &mut self,
        handle: Handle,
        message: FromServer,
    ) -> Result<(), Refusal> {
        let Some(connection) = self.connections.get_mut(&handle) else {
            return Ok(());
        };
        connection.outbox.push(message).map_err(|Unread| Refusal {
            code: CloseCode::Limit,
            words: "too much was left unread".to_owned(),
        })
    }

    /// What a viewer looked at is of no use any more.
    pub(in crate::media) fn reset_updates(&mut self, handle: Handle) {
        if let Some(connection) = self.connections.get_mut(&handle) {
            connection.is_held = false;
            connection.streams.reset_all((&mut self.endpoint, handle));
        }
    }

    /// Passes a wish on to the daemon.
    pub(in crate::media) fn ask(&self, handle: Handle, ask: Ask) -> Result<(), Refusal> {
        let Some(connection) = self.connections.get(&handle) else {
            return Ok(());
        };
        connection.asks.0.try_send(ask).map_err(|error| Refusal {
            code: CloseCode::Limit,
            words: format!("too many wishes wait: {error}"),
        })
    }

    /// Writes what the control stream takes.
    pub(in crate::media) fn flush(&mut self, handle: Handle) {
        if let Some(connection) = self.connections.get_mut(&handle) {
            connection.flush((&mut self.endpoint, handle));
        }
    }

    /// Moves into QUIC what a viewer's stream has ready, as far as there is room.
    pub(in crate::media) fn pump(
        &mut self,
        now: Instant,
        handle: Handle,
        viewer: &mut NativeViewer,
    ) -> Result<(), LeftReason> {
        let Some(connection) = self.connections.get_mut(&handle) else {
            return Ok(());
        };
        let endpoint = &mut self.endpoint;
        if let Some(address) = endpoint.remote(handle)
            && address != connection.address
        {
            tracing::info!(peer = connection.id.0, %address, "native viewer has moved");
            connection.address = address;
            viewer.handle_path_change(now);
        }
        viewer.handle_path(
            now,
            endpoint.datagram_bytes_max(handle),
            endpoint.round_trip(handle),
        );
        viewer.tell_link(now);
        for message in viewer.said.drain(..) {
            let pushed = connection.outbox.push(message);
            pushed.map_err(|Unread| LeftReason::Unread)?;
        }
        connection.flush((endpoint, handle));
        for ack in viewer.acks.drain(..) {
            self.arena.extend_from_slice(&ack);
            // One that finds no room is repeated when the viewer sends again.
            let _lost = endpoint.send_datagram(handle, self.arena.split().freeze());
        }
        while let Some(update) = viewer.poll_reset() {
            connection.streams.reset((endpoint, handle), update);
        }
        connection.streams.flush((endpoint, handle));
        let full = DATAGRAM_SEND_BYTES - BURST_BYTES;
        connection.is_held = false;
        loop {
            if endpoint.datagram_room_bytes(handle) < full {
                connection.is_held = true;
                break;
            }
            match viewer.poll_transmit(now, &mut self.datagram) {
                Some(Transmit::Datagram) => {
                    if self.arena.capacity() < self.datagram.len() {
                        self.arena.reserve(ARENA_BYTES);
                    }
                    self.arena.extend_from_slice(&self.datagram);
                    let datagram = self.arena.split().freeze();
                    if let Err(error) = endpoint.send_datagram(handle, datagram) {
                        // As if the path had lost it.
                        tracing::debug!(%error, peer = connection.id.0, "datagram is lost");
                    }
                }
                Some(Transmit::Stream {
                    epoch,
                    update,
                    is_first,
                    is_last,
                }) => {
                    let part = Part { is_first, is_last };
                    let (streams, bytes) = (&mut connection.streams, &self.datagram);
                    streams.handle_bytes((endpoint, handle), (epoch, update), bytes, part);
                }
                // Nobody has said that bulk waits.
                Some(Transmit::Bulk { .. }) | None => break,
            }
        }
        viewer.set_held(connection.is_held);
        viewer.follow_link();
        Ok(())
    }

    /// Whether a stream that waits for room has it now.
    pub(in crate::media) fn has_room(&mut self, handle: Handle) -> bool {
        let is_held = self.connections.get(&handle).is_some_and(|it| it.is_held);
        let full = DATAGRAM_SEND_BYTES - BURST_BYTES;
        is_held && self.endpoint.datagram_room_bytes(handle) >= full
    }

    /// What was agreed with a viewer that waits for its session.
    pub(in crate::media) fn attaching(&self, peer: PeerId) -> Option<(Handle, Agreement, Epoch)> {
        let handle = self.handle_of(peer)?;
        let connection = self.connections.get(&handle)?;
        Some((
            handle,
            connection.conversation.attaching()?,
            connection.epoch,
        ))
    }

    /// When a connection or somebody's sign-in is to be looked at.
    pub(in crate::media) fn poll_timeout(&mut self) -> Option<Instant> {
        let strangers = self.connections.values();
        let strangers = strangers.filter_map(|it| it.conversation.poll_timeout());
        strangers.chain(self.endpoint.poll_timeout()).min()
    }

    /// Lets time pass; hands out those that have not signed in for too long.
    pub(in crate::media) fn handle_timeout(&mut self, now: Instant) -> Vec<(Handle, Refusal)> {
        self.endpoint.handle_timeout(now);
        let judge = |(handle, it): (&Handle, &mut Connection)| {
            let refusal = it.conversation.handle_timeout(now).err()?;
            Some((*handle, refusal))
        };
        self.connections.iter_mut().filter_map(judge).collect()
    }
}

/// What is offered to viewers: what we can do, as far as the workers can.
const fn features(workers: Version) -> Features {
    if workers.has_pointer_steps() {
        FEATURES
    } else {
        FEATURES.without(Features::RELATIVE_POINTER)
    }
}

impl Connection {
    fn flush(&mut self, (endpoint, handle): (&mut Endpoint, Handle)) {
        let Some(stream) = self.control else { return };
        loop {
            let bytes = self.outbox.front();
            if bytes.is_empty() {
                return;
            }
            let (wanted, written) = (bytes.len(), endpoint.write(handle, stream, bytes));
            self.outbox.handle_written(written);
            if written < wanted {
                return;
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The receiver here would keep it open.
        self.asks.0.close();
    }
}
