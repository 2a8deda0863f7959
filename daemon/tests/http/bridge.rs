//! Lets a viewer that speaks UDP come by a WebSocket: each packet is a message.

use std::cell::Cell;
use std::net::{TcpStream, UdpSocket};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use futures_lite::{StreamExt as _, future};
use smol::Async;

/// Passes packets on in both directions, until the WebSocket ends. They go to whoever spoke last.
pub(crate) async fn pass_on(udp: &Async<UdpSocket>, socket: WebSocketStream<Async<TcpStream>>) {
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
