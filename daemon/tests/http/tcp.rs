//! A network without UDP: the picture's way leads over the HTTP port.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use sandbox_daemon::clock;
use sandbox_daemon::state::users::Role;
use serde_json::json;
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::socket::Socket;
use crate::world::{LIMIT, World};

#[test]
fn a_page_that_reaches_the_http_port_alone_connects_through_it() {
    connects_through_the_http_port(&World::start());
}

/// The port tells three protocols apart by their first byte.
#[test]
fn so_it_does_where_the_port_speaks_tls() {
    connects_through_the_http_port(&World::self_signed());
}

fn connects_through_the_http_port(world: &World) {
    world.add_user("ada", Role::User);
    let token = world.login("ada");
    let id = world.session(&token);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, world.port)).unwrap();
    let candidate = Candidate::builder()
        .tcp()
        .host(stream.local_addr().unwrap())
        .tcptype(TcpType::Active)
        .build()
        .unwrap();
    let mut rtc = Rtc::builder()
        .clear_codecs()
        .enable_h264(true)
        .build(clock::now());
    rtc.add_local_candidate(candidate);
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    api.add_channel("ctl".into());
    let (offer, pending) = api.apply().unwrap();
    let mut page = Socket::of(world, &id, &token);
    page.expect("ready");
    let sdp = offer.to_sdp_string();
    page.say(&json!({ "type": "offer", "sdp": sdp, "width": 800, "height": 600 }));
    let answer = page.expect("answer")["sdp"].as_str().unwrap().to_owned();
    let candidate = format!("127.0.0.1 {} typ host tcptype passive", world.port);
    assert!(answer.contains(&candidate), "{answer}");
    let answer = SdpAnswer::from_sdp_string(&answer).unwrap();
    rtc.sdp_api().accept_answer(pending, answer).unwrap();
    until_connected(&mut rtc, &mut stream);
    world.until_state(&token, &id, "attached");
}

/// Carries packets both ways until ICE and DTLS are done.
fn until_connected(rtc: &mut Rtc, stream: &mut TcpStream) {
    let limit = clock::now() + LIMIT;
    loop {
        assert!(clock::now() < limit, "not connected");
        match rtc.poll_output().unwrap() {
            Output::Event(Event::Connected) => return,
            Output::Event(_) => {}
            Output::Transmit(packet) if packet.proto == Protocol::Tcp => {
                let length = u16::try_from(packet.contents.len()).unwrap();
                stream.write_all(&length.to_be_bytes()).unwrap();
                stream.write_all(&packet.contents).unwrap();
            }
            Output::Transmit(packet) => panic!("sent by {:?}", packet.proto),
            Output::Timeout(at) => {
                let wait = at.saturating_duration_since(clock::now());
                let packet = receive(stream, wait);
                let now = clock::now();
                let input = match &packet {
                    Some(bytes) => {
                        let source = stream.peer_addr().unwrap();
                        let destination = stream.local_addr().unwrap();
                        let received =
                            Receive::new(Protocol::Tcp, source, destination, bytes).unwrap();
                        Input::Receive(now, received)
                    }
                    None => Input::Timeout(now),
                };
                rtc.handle_input(input).unwrap();
            }
        }
    }
}

/// The next frame (RFC 4571) within the time.
fn receive(stream: &mut TcpStream, wait: std::time::Duration) -> Option<Vec<u8>> {
    let wait = wait.max(std::time::Duration::from_millis(1));
    stream.set_read_timeout(Some(wait)).unwrap();
    let mut prefix = [0; 2];
    match stream.read_exact(&mut prefix) {
        Ok(()) => {}
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            return None;
        }
        Err(error) => panic!("{error}"),
    }
    let mut packet = vec![0; u16::from_be_bytes(prefix).into()];
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.read_exact(&mut packet).unwrap();
    Some(packet)
}
