//! The UDP socket to one server: reads and sends batches.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use smol::Async;

use crate::net::Network;

/// Bytes asked of the kernel for each direction: a burst of a whole desktop.
const BUFFER_BYTES: usize = 4 << 20;

/// Batches read at once.
const SLOTS: usize = 4;

/// Bytes of one slot: the largest batch that GRO merges.
const SLOT_BYTES: usize = 64 << 10;

/// A socket that speaks to one server.
pub(crate) struct Socket {
    io: Async<UdpSocket>,
    state: UdpSocketState,
    server: SocketAddr,
}

/// Buffers for what comes.
pub(crate) struct Slots {
    bytes: [Box<[u8]>; SLOTS],
    metas: [RecvMeta; SLOTS],
    filled: usize,
}

impl Socket {
    /// Whom it speaks to.
    pub(crate) const fn server(&self) -> SocketAddr {
        self.server
    }

    /// The network that it speaks from.
    pub(crate) fn network(&self) -> Option<Network> {
        let local = self.io.get_ref().local_addr().ok()?;
        Some(Network::of(local.ip()))
    }

    /// One on any port, connected: so the kernel tells where nobody listens.
    pub(crate) fn new(server: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        let state = UdpSocketState::new((&socket).into())?;
        // A smaller buffer than asked for costs bursts, nothing else: the kernel's maximum rules.
        let _default_send = state.set_send_buffer_size((&socket).into(), BUFFER_BYTES);
        let _default_receive = state.set_recv_buffer_size((&socket).into(), BUFFER_BYTES);
        Ok(Self {
            io: Async::new(socket)?,
            state,
            server,
        })
    }

    /// Datagrams that leave with one call.
    pub(crate) fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Waits for datagrams.
    pub(crate) async fn receive(&self, slots: &mut Slots) -> io::Result<()> {
        let metas = &mut slots.metas;
        let mut buffers = slots.bytes.each_mut().map(|it| IoSliceMut::new(it));
        slots.filled = self
            .io
            .read_with(|socket| self.state.recv(socket.into(), &mut buffers, metas))
            .await?;
        Ok(())
    }

    /// Sends datagrams of `segment` bytes each, but the last.
    pub(crate) async fn send(&self, bytes: &[u8], segment: usize) -> io::Result<()> {
        let transmit = Transmit {
            destination: self.server,
            ecn: None,
            contents: bytes,
            segment_size: (bytes.len() > segment).then_some(segment),
            src_ip: None,
        };
        self.io
            .write_with(|socket| self.state.try_send(socket.into(), &transmit))
            .await
    }
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self {
            bytes: std::array::from_fn(|_| vec![0; SLOT_BYTES].into_boxed_slice()),
            metas: [RecvMeta::default(); SLOTS],
            filled: 0,
        }
    }

    /// The datagrams that came last.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let filled = self.metas.iter().zip(&self.bytes).take(self.filled);
        filled.flat_map(|(meta, slot)| {
            let merged = slot.get(..meta.len).unwrap_or_default();
            merged.chunks(meta.stride.max(1))
        })
    }
}
