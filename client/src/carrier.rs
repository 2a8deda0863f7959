//! What carries a connection's packets: a UDP socket, or a WebSocket.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use crate::connection::Connection;
use crate::net::Way;
use crate::socket::{Slots, Socket};
use crate::tunnel::{self, Tunnel};

/// One of both.
pub(crate) enum Carrier {
    Udp(Socket),
    WebSocket(Box<Tunnel>),
}

impl Carrier {
    pub(crate) const fn way(&self) -> Way {
        match self {
            Self::Udp(_) => Way::Udp,
            Self::WebSocket(_) => Way::WebSocket,
        }
    }

    /// What QUIC takes for the server's address.
    pub(crate) const fn server(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) => socket.server(),
            Self::WebSocket(_) => tunnel::SERVER,
        }
    }

    /// Packets that leave with one call.
    pub(crate) fn segments_max(&self) -> usize {
        match self {
            Self::Udp(socket) => socket.segments_max(),
            Self::WebSocket(_) => 1,
        }
    }

    /// Sends what a connection has to send, by way of an empty buffer.
    pub(crate) async fn send_all(
        &mut self,
        now: Instant,
        connection: &mut Connection,
        buffer: &mut Vec<u8>,
    ) {
        let most = self.segments_max();
        while let Some(out) = connection.poll_transmit(now, most, buffer) {
            self.send(buffer, out.segment).await;
            buffer.clear();
        }
    }

    /// Sends packets of `segment` bytes each, but the last. What cannot be sent is lost like any
    /// datagram; silence is told by time.
    async fn send(&mut self, bytes: &[u8], segment: usize) {
        match self {
            Self::Udp(socket) => drop(socket.send(bytes, segment).await),
            Self::WebSocket(tunnel) => bytes.chunks(segment).for_each(|it| tunnel.push(it)),
        }
    }

    /// Waits for packets; [`packets`](Self::packets) has them.
    pub(crate) async fn receive(&mut self, slots: &mut Slots) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.receive(slots).await,
            Self::WebSocket(tunnel) => tunnel.receive().await,
        }
    }

    /// Hands out those that came last.
    pub(crate) fn packets(&self, slots: &Slots, each: impl FnMut(&[u8])) {
        match self {
            Self::Udp(_) => slots.datagrams().for_each(each),
            Self::WebSocket(tunnel) => tunnel.packets().for_each(each),
        }
    }

    /// Lets the last words leave.
    pub(crate) async fn finish(&mut self) {
        match self {
            // They have left.
            Self::Udp(_) => (),
            Self::WebSocket(tunnel) => tunnel.finish().await,
        }
    }
}
