//! The way without UDP: QUIC's packets in a WebSocket to the HTTP port, one each.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;

use async_tungstenite::client_async;
use async_tungstenite::tungstenite::Message;
use futures_lite::{StreamExt as _, future};
use smol::Async;

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
    let (mut writer, mut reader) = socket.split();
    let viewer = Cell::new(None);
    let inwards = async {
        let mut buffer = [0; 2_048];
        let mut is_open = true;
        while is_open {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            viewer.set(Some(from));
            let packet = Message::binary(buffer[..length].to_vec());
            is_open = writer.send(packet).await.is_ok();
        }
    };
    let outwards = async {
        while let Some(Ok(message)) = reader.next().await {
            let Some(to) = viewer.get().filter(|_| message.is_binary()) else {
                continue;
            };
            // A viewer that has gone reads nothing.
            let _gone = udp.send_to(&message.into_data(), to).await;
        }
    };
    future::or(inwards, outwards).await;
}
