//! Servers that break the protocol.

use sandbox_client::connection::{End, Setup, WITHOUT_AV1};
use sandbox_protocol::wire::control::{Chroma, Codec, FromServer, Profile, StreamConfig};
use sandbox_protocol::wire::datagram::{Epoch, FragmentFlags};
use sandbox_protocol::wire::update_stream::StreamHeader;

use crate::fake::Server;
use crate::world::{SIZE, World, setup};

/// A live connection ends by what the server does, and says so in words.
#[track_caller]
fn check_violation(hurt: impl FnOnce(&mut Server), words: &str) {
    let mut world = World::live();
    hurt(&mut world.server);
    world.run_until(|it| it.end().is_some());
    let end = world.end().unwrap();
    assert!(matches!(end, End::Violation(_)), "{end:?}");
    assert!(end.to_string().contains(words), "{end}");
    world.run_until(|it| !it.server.is_live());
}

#[test]
fn a_server_that_breaks_the_protocol_is_left_with_the_reason() {
    check_violation(|it| it.send_datagram(&[99, 1, 2]), "unknown class 99");
    check_violation(|it| it.send_datagram(&[3]), "ends inside a field");
    check_violation(|it| it.send_stream(&[17; 40]), "unknown class 17");
    check_violation(|it| it.send_stream(&[16]), "within its header");
    check_violation(|it| it.send_control(&[255; 4]), "more than");
    check_violation(
        |it| it.send_control(&[4, 0, 0, 0, 0, 0, 0, 128]),
        "unknown kind",
    );
    let hello = FromServer::Hello {
        minor: 0,
        features: 0,
        node: [0; 16],
        codec: Codec::H264,
        cache_mib: 16,
    };
    check_violation(|it| it.say(&hello), "out of order: Hello");
    let shape = FromServer::CursorShape {
        size: SIZE,
        hot_x: 0,
        hot_y: 0,
        rgba: Vec::new(),
    };
    check_violation(|it| it.say(&shape), "a pointer of 640x400");
}

#[test]
fn a_codec_that_was_not_offered_or_not_chosen_is_a_violation() {
    let mut server = Server::new(SIZE);
    (server.codec, server.insists) = (Codec::Av1, true);
    let known = Some(server.fingerprint);
    let setup = Setup {
        codecs: WITHOUT_AV1,
        ..setup(known)
    };
    let mut world = World::with(server, setup);
    world.run_until(|it| it.end().is_some());
    let words = world.end().unwrap().to_string();
    assert!(
        words.contains("chose av1, which was not offered"),
        "{words}"
    );
    assert!(world.server.methods.is_empty(), "it was told a password");
    let other = FromServer::Config(StreamConfig {
        epoch: 2,
        size: SIZE,
        codec: Codec::Av1,
        profile: Profile::Main,
        chroma: Chroma::Yuv420,
        cache_mib: 16,
    });
    check_violation(|it| it.say(&other), "a stream of av1, which was not chosen");
}

#[test]
fn a_stream_shorter_or_longer_than_it_says_is_a_violation() {
    let header = StreamHeader {
        flags: FragmentFlags {
            is_repair: false,
            is_video_only: false,
            recovers: false,
        },
        epoch: Epoch(2),
        update: 1,
        void: 0,
        length: 10,
    };
    for length in [9, 11] {
        let mut bytes = header.encode().to_vec();
        bytes.resize(bytes.len() + length, 0);
        check_violation(|it| it.send_stream(&bytes), "another length");
    }
}
