//! The way out: datagrams by the path that each page has proven, those of QUIC by the socket that
//! they came to, and the end of a TCP connection.

use std::net::SocketAddr;
use std::time::Instant;

use sandbox_quic::{Endpoint, Outgoing};
use str0m::net::{Protocol, Transmit};

use super::{Hub, Seat};
use crate::media::LeftReason;
use crate::media::demux::{Carrier, Remote};
use crate::media::member::Member;
use crate::media::socket::{MediaSocket, Merger};
use crate::media::tcp::{Connection, Ended};
use crate::media::tunnel;

/// Datagrams of QUIC merged into one send at most.
const SEGMENTS_MAX: usize = 32;

impl Hub {
    pub(super) fn transmit(&self, seat: &Seat, transmits: &[Transmit]) {
        let demux = self.demux.borrow();
        let mut merger: Option<(usize, Merger<'_>)> = None;
        for transmit in transmits {
            let carrier = match transmit.proto {
                Protocol::Tcp => Carrier::Tcp,
                Protocol::Udp | Protocol::SslTcp | Protocol::Tls => Carrier::Udp,
            };
            let remote = Remote {
                carrier,
                address: transmit.destination,
            };
            let Some(path) = demux.path(remote) else {
                continue;
            };
            match carrier {
                Carrier::Udp => {
                    let index = path.near.socket;
                    let Some(socket) = self.sockets.get(index) else {
                        continue;
                    };
                    // Taking one of another socket sends what it holds.
                    drop(merger.take_if(|(at, _)| *at != index));
                    let (_, merger) = merger.get_or_insert_with(|| (index, socket.merger()));
                    merger.push(transmit.destination, path.near.ip, &transmit.contents);
                }
                Carrier::Tcp => self.transmit_tcp(seat, transmit),
            }
        }
        drop(merger);
        self.wake_flushes();
    }

    /// Has what a full socket did not take sent when it does.
    pub(super) fn wake_flushes(&self) {
        for (socket, (wake, _)) in self.sockets.iter().zip(&self.flushes) {
            if socket.is_backed_up() {
                let _already_woken = wake.try_send(());
            }
        }
    }

    fn transmit_tcp(&self, seat: &Seat, transmit: &Transmit) {
        let connections = self.connections.borrow();
        if let Some(connection) = connections.get(&transmit.destination) {
            connection.push(&transmit.contents);
            if let Member::Page(viewer) = &mut *seat.member.borrow_mut() {
                viewer.set_unsent_bytes(connection.waiting_bytes());
            }
        }
    }

    /// A TCP connection took some of what waited for it.
    pub(super) fn handle_drained(&self, remote: Remote, connection: &Connection) {
        let path = self.demux.borrow().path(remote);
        if let Some(seat) = path.and_then(|it| self.seat(it.viewer)) {
            self.serve_page(&seat, |viewer| {
                viewer.set_unsent_bytes(connection.waiting_bytes());
                Ok(())
            });
        }
    }

    /// A TCP connection is gone: what waited for it is gone too. A viewer that did not read is let
    /// go; any other may have a better path.
    pub(super) fn handle_connection_end(&self, remote: Remote, ended: Result<(), &Ended>) {
        let path = self.demux.borrow().path(remote);
        self.demux.borrow_mut().forget_path(remote);
        let Some(seat) = path.and_then(|it| self.seat(it.viewer)) else {
            return;
        };
        self.serve_page(&seat, |viewer| {
            viewer.set_unsent_bytes(0);
            match ended {
                Err(Ended::Unread) => Err(LeftReason::Unread),
                Err(Ended::Failed(_)) | Ok(()) => Ok(()),
            }
        });
    }

    /// Sends what QUIC has for the network, and has the alarm ring for what it waits for.
    pub(super) fn transmit_natives(&self, now: Instant) {
        let mut natives = self.natives.borrow_mut();
        let mut buffer = self.quic_buffer.borrow_mut();
        let mut merger: Option<(usize, Merger<'_>)> = None;
        loop {
            buffer.clear();
            let next = natives
                .endpoint
                .poll_transmit(now, SEGMENTS_MAX, &mut buffer);
            let Some(outgoing) = next else { break };
            if tunnel::is_tunnel(outgoing.to.ip()) {
                self.transmit_tunnel(&mut natives.endpoint, outgoing, &buffer);
                continue;
            }
            let Some((index, socket)) = self.socket_for(&outgoing) else {
                tracing::debug!(?outgoing, "no socket of ours reaches there");
                continue;
            };
            // Taking one of another socket sends what it holds.
            drop(merger.take_if(|(at, _)| *at != index));
            let (_, merger) = merger.get_or_insert_with(|| (index, socket.merger()));
            for datagram in buffer.chunks(outgoing.segment.max(1)) {
                merger.push(outgoing.to, outgoing.from, datagram);
            }
        }
        drop(merger);
        self.wake_flushes();
        if let Some(at) = natives.poll_timeout() {
            self.alarm.set(at);
        }
    }

    /// What is for a tunnel that is gone is gone too.
    fn transmit_tunnel(&self, endpoint: &mut Endpoint, outgoing: Outgoing, packets: &[u8]) {
        let tunnels = self.tunnels.borrow();
        let Some(tunnel) = tunnels.get(&outgoing.to) else {
            return;
        };
        for packet in packets.chunks(outgoing.segment.max(1)) {
            tunnel.push(packet);
        }
        if tunnel.is_full() {
            endpoint.hold(outgoing.to);
        }
    }

    /// The socket that datagrams have to leave by: the one with their address, else one that has
    /// every address of their family.
    fn socket_for(&self, outgoing: &Outgoing) -> Option<(usize, &MediaSocket)> {
        let find = |fits: &dyn Fn(SocketAddr) -> bool| {
            let mut sockets = self.sockets.iter().enumerate();
            sockets.find(|(_, it)| fits(it.local()))
        };
        let is_v4 = outgoing.to.is_ipv4();
        let is_own = |it: SocketAddr| outgoing.from == Some(it.ip());
        let is_family = |it: SocketAddr| it.ip().is_unspecified() && it.is_ipv4() == is_v4;
        // A wildcard of IPv6 speaks to IPv4 too where there is none of that.
        let is_dual = |it: SocketAddr| it.ip().is_unspecified() && it.is_ipv6();
        find(&is_own)
            .or_else(|| find(&is_family))
            .or_else(|| find(&is_dual))
    }
}
