//! Tunnels on the media thread: from their opening to the end of the connections inside.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_quic::{Arrived, Handle};
use smol::Timer;

use super::Hub;
use crate::clock;
use crate::media::LeftReason;
use crate::media::native::Refusal;
use crate::media::tunnel::{self, Ended, Opened, Tunnel};

/// A tunnel without a connection by then is closed. From then on the connection counts, which has
/// as long to sign in.
const CONNECTION_MAX: Duration = Duration::from_secs(5);

impl Hub {
    pub(super) fn open_tunnel(self: &Rc<Self>, opened: Opened) {
        let number = self.last_tunnel.get() + 1;
        self.last_tunnel.set(number);
        let serving = serve(self.clone(), opened, tunnel::address(number));
        self.executor.spawn(serving).detach();
    }

    /// Where somebody is whom QUIC knows by an address.
    pub(super) fn client_at(&self, address: SocketAddr) -> IpAddr {
        let tunnels = self.tunnels.borrow();
        tunnels.get(&address).map_or(address.ip(), |it| it.client())
    }

    /// The connection is over, and what carried it alone is as well.
    pub(super) fn end_tunnel(&self, handle: Handle, code: CloseCode) {
        let Some(address) = self.natives.borrow().tunnel_of(handle) else {
            return;
        };
        if let Some(tunnel) = self.tunnels.borrow().get(&address) {
            tunnel.end(code);
        }
    }

    /// A tunnel is closed, and all that is inside with it.
    fn close_tunnel(&self, address: SocketAddr, ended: &Ended) {
        if let Some(tunnel) = self.tunnels.borrow_mut().remove(&address) {
            tunnel.handle_closed();
        }
        let mut natives = self.natives.borrow_mut();
        let _was_held = natives.endpoint.release(address);
        // A connection has its place among those of its address by the WebSocket.
        let inside = natives.of_tunnel(address);
        for handle in &inside {
            let (now, code) = (clock::now(), CloseCode::NoError);
            // Nobody will read it: this only lets QUIC forget.
            natives.endpoint.close(now, *handle, code.number(), "");
        }
        drop(natives);
        let refusal = Refusal {
            code: CloseCode::NoError,
            words: format!("its WebSocket is closed: {ended}"),
        };
        for handle in inside {
            self.dismiss(handle, &refusal, Some(LeftReason::Closed));
        }
        self.settle_natives();
    }

    /// Waits until the last words of everybody inside have left.
    pub(super) async fn flush_tunnels(&self) {
        let open: Vec<_> = self.tunnels.borrow().values().cloned().collect();
        for tunnel in open {
            tunnel.closed().await;
        }
    }

    fn has_connection(&self, address: SocketAddr) -> bool {
        self.natives.borrow().has_tunnel(address)
    }
}

async fn serve(hub: Rc<Hub>, opened: Opened, address: SocketAddr) {
    let Opened {
        io,
        client,
        ended: _open,
    } = opened;
    let (mut writer, mut reader) = tunnel::halves(io).await;
    let tunnel = Rc::new(Tunnel::new(client));
    hub.tunnels.borrow_mut().insert(address, tunnel.clone());
    tracing::debug!(%client, %address, "tunnel is open");
    let each = |bytes: &[u8]| {
        let (from, to) = (address, None);
        let arrived = Arrived { from, to, bytes };
        let endpoint = &mut hub.natives.borrow_mut().endpoint;
        endpoint.handle_datagram(clock::now(), arrived);
    };
    let drained = || {
        let was_held = hub.natives.borrow_mut().endpoint.release(address);
        if was_held {
            hub.settle_natives();
        }
    };
    let reading = tunnel::keep_reading(&mut reader, each, || hub.settle_natives());
    let writing = tunnel.keep_sending(&mut writer, drained);
    let judging = async {
        Timer::after(CONNECTION_MAX).await;
        if hub.has_connection(address) {
            future::pending::<()>().await;
        }
        Ended::Silent
    };
    let ended = future::or(future::or(reading, writing), judging).await;
    tracing::debug!(%client, %address, %ended, "tunnel is closed");
    hub.close_tunnel(address, &ended);
    tunnel::say_farewell(writer, reader, &ended).await;
}
