//! Native viewers inside a WebSocket, and whoever plays with one.

#[path = "../../../../tests/http/bridge.rs"]
mod bridge;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::Role;
use async_tungstenite::tungstenite::{Message, WebSocket};
use futures_lite::future;
use sandbox_protocol::limits::{TUNNEL_MESSAGE_BYTES_MAX, TUNNEL_MESSAGES_PER_SECOND_MAX};
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{FromServer, FromViewer};
use sandbox_quic::{Arrived, Endpoint, Event, Trust};
use smol::Async;

use super::client::Client;
use super::{Attached, within_limit};
use super::{Worker, attach, control, hello, password, session, start, welcome};
use crate::clock;
use crate::media::loopback::worker::LIMIT;
use crate::media::{LeftReason, Media};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// A TCP connection whose other end the media thread carries; the thread ends with that.
fn open(media: &Media) -> (TcpStream, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    near.set_read_timeout(Some(LIMIT)).unwrap();
    let (far, _) = listener.accept().unwrap();
    let far = Async::new(far).unwrap();
    let media = media.clone();
    let carried = thread::spawn(move || {
        within_limit(media.carry(Box::new(far), CLIENT));
    });
    (near, carried)
}

/// A UDP port behind which there is a WebSocket, until it or the sender's other half is gone.
fn bridge(near: TcpStream) -> (SocketAddr, async_channel::Sender<()>) {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let (cut, is_cut) = async_channel::bounded(1);
    thread::spawn(move || {
        let (udp, near) = (Async::new(udp).unwrap(), Async::new(near).unwrap());
        let carried = async {
            let socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
            bridge::pass_on(&udp, socket).await;
        };
        let cut = async {
            let _dropped = is_cut.recv().await;
        };
        smol::block_on(future::or(cut, carried));
    });
    (address, cut)
}

/// A viewer in a WebSocket, in control of a session.
fn connect(media: &Media) -> (Attached, async_channel::Sender<()>, JoinHandle<()>) {
    let (near, carried) = open(media);
    let (address, cut) = bridge(near);
    let mut client = Client::towards(address, 1);
    client.say(&hello(64));
    client.run_until(|it| matches!(it.told[..], [FromServer::Hello { .. }]));
    let peer = within_limit(media.newcomers().recv()).unwrap();
    assert_eq!(peer.address, CLIENT, "as HTTP knows it");
    client.say(&FromViewer::Auth(password("right")));
    super::ask(&mut client, &peer);
    smol::block_on(media.welcome(peer.id, welcome()));
    client.run_until(|it| matches!(it.told.last(), Some(FromServer::Welcome { .. })));
    let (worker, near, stream) = Worker::new();
    let attached = attach(media, (client, peer), worker, Some([near, stream]));
    control::give(media, session(1), attached.viewer);
    (attached, cut, carried)
}

#[test]
fn a_viewer_in_a_websocket_is_one_like_all_others() {
    let media = start();
    let (mut attached, _bridge, carried) = connect(&media);
    for length in [10, 3_000, 60_000, 400_000] {
        attached.show(&vec![7; length], length == 10);
    }
    attached.client.close();
    carried.join().unwrap();
    assert_eq!(attached.left(), LeftReason::Closed);
}

#[test]
fn who_is_inside_goes_with_the_websocket_at_once() {
    let media = start();
    let (mut attached, bridge, carried) = connect(&media);
    drop(bridge);
    carried.join().unwrap();
    // After a silence it would be another reason.
    assert_eq!(attached.left(), LeftReason::Closed);
    assert!(attached.peer.asks.is_closed());
}

#[test]
fn who_leaves_its_websocket_goes_with_it_too() {
    let media = start();
    let (mut attached, bridge, carried) = connect(&media);
    let by_udp = media.media_addresses()[0].parse().unwrap();
    attached.client.move_to(by_udp);
    attached.client.say(&FromViewer::TakeControl);
    within_limit(attached.peer.asks.recv()).unwrap();
    drop(bridge);
    carried.join().unwrap();
    assert_eq!(attached.left(), LeftReason::Closed);
}

/// What somebody does, and the code that it ends with.
type Deed = (fn(&mut WebSocket<TcpStream>), CloseCode);

fn text(socket: &mut WebSocket<TcpStream>) {
    socket.send(Message::text("hello")).unwrap();
}

fn too_long(socket: &mut WebSocket<TcpStream>) {
    let packet = vec![0xc0; TUNNEL_MESSAGE_BYTES_MAX + 1];
    socket.send(Message::binary(packet)).unwrap();
}

fn flood(socket: &mut WebSocket<TcpStream>) {
    for _ in 0..=3 * TUNNEL_MESSAGES_PER_SECOND_MAX {
        // It is closed before the last of them.
        if socket.write(Message::binary(&b"?"[..])).is_err() {
            return;
        }
    }
    let _closed = socket.flush();
}

/// Two connections in one WebSocket.
fn two_at_once(socket: &mut WebSocket<TcpStream>) {
    let to = SocketAddr::from(([192, 0, 2, 1], 1));
    let mut endpoints = [Endpoint::client(&[1; 32]), Endpoint::client(&[2; 32])];
    for endpoint in &mut endpoints {
        endpoint.connect(clock::now(), to, Trust::Asked).unwrap();
    }
    let mut connected = 0;
    loop {
        for endpoint in &mut endpoints {
            let mut out = Vec::new();
            while endpoint.poll_transmit(clock::now(), 1, &mut out).is_some() {
                let packet = std::mem::take(&mut out);
                socket.send(Message::binary(packet)).unwrap();
            }
        }
        if connected == endpoints.len() {
            return;
        }
        let packet = socket.read().unwrap().into_data();
        for endpoint in &mut endpoints {
            // What is not for one is for the other.
            let (from, bytes) = (to, &*packet);
            let to = None;
            endpoint.handle_datagram(clock::now(), Arrived { from, to, bytes });
            while let Some((_, event)) = endpoint.poll_event() {
                connected += usize::from(matches!(event, Event::Connected(_)));
            }
        }
    }
}

/// Bytes that are no frame.
fn garbage(socket: &mut WebSocket<TcpStream>) {
    socket.get_mut().write_all(&[0xff; 64]).unwrap();
}

fn silence(_: &mut WebSocket<TcpStream>) {}

/// Packets of no connection: nobody answers, as by UDP.
fn nonsense(socket: &mut WebSocket<TcpStream>) {
    for length in 0..64 {
        socket.send(Message::binary(vec![0x40; length])).unwrap();
    }
}

/// The code that the WebSocket is closed with.
fn code_of(socket: &mut WebSocket<TcpStream>) -> u16 {
    loop {
        if let Message::Close(frame) = socket.read().unwrap() {
            return frame.unwrap().code.into();
        }
    }
}

#[test]
fn whoever_plays_with_a_websocket_is_closed_with_a_code() {
    let media = start();
    let deeds: [Deed; 7] = [
        (text, CloseCode::ProtocolViolation),
        (too_long, CloseCode::ProtocolViolation),
        (garbage, CloseCode::ProtocolViolation),
        (flood, CloseCode::Limit),
        (two_at_once, CloseCode::ProtocolViolation),
        (silence, CloseCode::AuthRequired),
        (nonsense, CloseCode::AuthRequired),
    ];
    let players = deeds.map(|(act, code)| {
        let (near, carried) = open(&media);
        thread::spawn(move || {
            let mut socket = WebSocket::from_raw_socket(near, Role::Client, None);
            act(&mut socket);
            assert_eq!(code_of(&mut socket), code.websocket());
            drop(socket);
            carried.join().unwrap();
        })
    });
    for player in players {
        player.join().unwrap();
    }
}

#[test]
fn nobody_else_has_the_address_of_a_tunnel() {
    use crate::media::tunnel::{address, is_tunnel};
    for number in [1, u64::MAX] {
        assert!(is_tunnel(address(number).ip()), "{number}");
    }
    for other in ["192.0.2.1", "::1", "::", "100:0:0:1::1", "2001:db8::1"] {
        assert!(!is_tunnel(other.parse().unwrap()), "{other}");
    }
}
