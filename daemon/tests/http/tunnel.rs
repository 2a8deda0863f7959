//! The way without UDP: QUIC's packets in a WebSocket to the HTTP port, one each.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;

use async_tungstenite::client_async;
use smol::Async;

use crate::bridge::pass_on;
use crate::world::World;

/// A UDP port behind which there is a WebSocket, until the server closes that.
pub(crate) fn open(world: &World) -> SocketAddr {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, port) = (udp.local_addr().unwrap(), world.port);
    thread::spawn(move || smol::block_on(carry(udp, port)));
    address
}

async fn carry(udp: UdpSocket, port: u16) {
    let udp = Async::new(udp).unwrap();
    let stream = Async::<TcpStream>::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    let url = format!("ws://localhost:{port}/ws?mode=media");
    let (socket, _) = client_async(url, stream).await.unwrap();
    pass_on(&udp, socket).await;
}
