//! Two endpoints and a link between them, in simulated time.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a panic is a failed test; the world's clock has to begin somewhere"
)]

mod rest;
mod silence;
mod world;

use std::time::Duration;

use sandbox_quic::{
    Arrived, Bytes, Closed, Dir, Endpoint, Event, Fingerprint, Handle, NoRoom, Trust,
};

use crate::world::{ONE_WAY, World, address, setup};

#[test]
fn a_handshake_takes_one_round_trip_and_shows_the_servers_key() {
    let mut world = World::new();
    let began = world.now;
    world.connect(Trust::Asked);
    world.run_until(|it| !it.at_client.is_empty());
    let seen = Event::Connected(Some(world.fingerprint));
    assert_eq!(world.at_client[0].1, seen);
    assert_eq!(world.now - began, 2 * ONE_WAY);
}

#[test]
fn another_key_than_the_pinned_one_fails_in_the_handshake() {
    let mut world = World::new();
    world.connect(Trust::Pinned(Fingerprint([0; 32])));
    world.run_until(|it| it.closed_at_client().is_some());
    assert_eq!(world.closed_at_client(), Some(&Closed::WrongKey));
    assert!(
        !world
            .at_server
            .iter()
            .any(|(_, it)| *it == Event::Connected(None)),
        "the server must not take it for a viewer"
    );
}

#[test]
fn datagrams_and_streams_arrive_whole() {
    let (mut world, client, server) = World::connected();
    world
        .server
        .send_datagram(server, Bytes::from_static(b"tile"))
        .unwrap();
    let stream = world.client.open_stream(client, Dir::Bi, 100).unwrap();
    let text = vec![42; 100_000];
    assert_eq!(world.client.write(client, stream, &text), text.len());
    world.client.finish(client, stream);
    world.run_until(|it| {
        it.at_server
            .iter()
            .any(|(_, it)| matches!(it, Event::Read { is_end: true, .. }))
            && it
                .at_client
                .iter()
                .any(|(_, it)| matches!(it, Event::Datagram(_)))
    });
    let read: Vec<u8> = world
        .at_server
        .iter()
        .filter_map(|(_, it)| match it {
            Event::Read { bytes, .. } => Some(bytes.to_vec()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(read, text);
    let tile = Event::Datagram(Bytes::from_static(b"tile"));
    assert!(world.at_client.iter().any(|(_, it)| *it == tile));
}

/// The rate is decided above QUIC, which must not stretch it.
#[test]
fn a_first_picture_leaves_at_once() {
    let (mut world, _, server) = World::connected();
    let began = world.now;
    let stream = world.server.open_stream(server, Dir::Uni, 0).unwrap();
    let picture = vec![42; 150_000];
    let written = world.server.write(server, stream, &picture);
    assert_eq!(written, picture.len());
    world.server.finish(server, stream);
    let has_come = |(_, it): &(Handle, Event)| matches!(it, Event::Read { is_end: true, .. });
    world.run_until(|it| it.at_client.iter().any(has_come));
    // At 100 Mbit/s it takes 12 ms to leave.
    let took = world.now - began;
    assert!(took <= ONE_WAY + Duration::from_millis(8), "{took:?}");
}

#[test]
fn both_ends_export_the_same_secret_and_no_other_connection_does() {
    let (mut world, client, server) = World::connected();
    let ours = world.client.exporter(client, b"sandbox-auth").unwrap();
    assert_eq!(world.server.exporter(server, b"sandbox-auth"), Some(ours));
    let second = world.connect(Trust::Pinned(world.fingerprint));
    let known = world.at_client.len();
    world.run_until(|it| it.at_client[known..].iter().any(|(at, _)| *at == second));
    assert_ne!(world.client.exporter(second, b"sandbox-auth"), Some(ours));
}

#[test]
fn a_reason_reaches_the_other_end_and_both_forget_the_connection() {
    let (mut world, client, server) = World::connected();
    world.server.close(world.now, server, 0x10c, "idle");
    world.run_until(|it| it.closed_at_client().is_some());
    let why = Closed::ByPeer {
        code: 0x10c,
        words: "idle".to_owned(),
    };
    assert_eq!(world.closed_at_client(), Some(&why));
    let closed = Event::Closed(Closed::ByUs);
    assert!(world.at_server.contains(&(server, closed)));
    world.run_until(|it| it.server.side(server).is_none() && it.client.side(client).is_none());
}

#[test]
fn a_reason_leaves_where_the_window_is_full() {
    let (mut world, _, server) = World::connected();
    let stream = world.server.open_stream(server, Dir::Uni, 0).unwrap();
    let written = world.server.write(server, stream, &vec![1; 4 << 20]);
    assert!(written > 1 << 20, "{written} bytes");
    // What is sent is on its way for so long that nothing of it is acknowledged.
    world.is_cut = true;
    let until = world.now + ONE_WAY * 2;
    world.run_until(|it| it.now >= until);
    world.is_cut = false;
    world.server.close(world.now, server, 0x111, "over");
    world.run_until(|it| it.closed_at_client().is_some());
    let why = Closed::ByPeer {
        code: 0x111,
        words: "over".to_owned(),
    };
    assert_eq!(world.closed_at_client(), Some(&why));
}

#[test]
fn silence_ends_a_connection() {
    let (mut world, _, _) = World::connected();
    world.is_cut = true;
    world.run_until(|it| it.closed_at_client().is_some());
    assert_eq!(world.closed_at_client(), Some(&Closed::TimedOut));
}

#[test]
fn a_restarted_server_is_noticed_with_the_next_packet() {
    let setup = setup();
    let mut world = World::new();
    world.server = Endpoint::server(&setup).unwrap();
    let client = world.connect(Trust::Asked);
    world.run_until(|it| {
        it.at_server
            .iter()
            .any(|(_, it)| *it == Event::Connected(None))
    });
    world.packets.clear();
    world.server = Endpoint::server(&setup).unwrap();
    let began = world.now;
    world
        .client
        .send_datagram(client, Bytes::from_static(&[1; 100]))
        .unwrap();
    world.run_until(|it| it.closed_at_client().is_some());
    assert_eq!(world.closed_at_client(), Some(&Closed::Restarted));
    assert_eq!(world.now - began, 2 * ONE_WAY);
}

#[test]
fn a_client_may_move_to_another_address() {
    let (mut world, client, server) = World::connected();
    world.client_at = address(3);
    world.client.handle_network_changed(world.now);
    world
        .client
        .send_datagram(client, Bytes::from_static(b"key"))
        .unwrap();
    world.run_until(|it| it.server.remote(server) == Some(address(3)));
    world
        .server
        .send_datagram(server, Bytes::from_static(b"tile"))
        .unwrap();
    let tile = Event::Datagram(Bytes::from_static(b"tile"));
    world.run_until(|it| it.at_client.iter().any(|(_, it)| *it == tile));
}

/// A thread that was held up looks at its clock after it has handed in what came: then a timer of
/// the path that was left rings for the new one.
#[test]
fn a_client_may_move_while_a_loss_is_due() {
    let (mut world, client, server) = World::connected();
    for _ in 0..50 {
        world.step();
    }
    world.is_cut = true;
    let tile = Bytes::from_static(b"tile");
    world.server.send_datagram(server, tile).unwrap();
    world.exchange();
    world.is_cut = false;
    world.now = world.server.poll_timeout().unwrap() + Duration::from_millis(1);
    world.client_at = address(3);
    world.client.handle_network_changed(world.now);
    let mut buffer = Vec::new();
    let out = world.client.poll_transmit(world.now, 1, &mut buffer);
    assert!(out.is_some());
    let arrived = Arrived {
        from: address(3),
        to: Some(address(2).ip()),
        bytes: &buffer,
    };
    world.server.handle_datagram(world.now, arrived);
    world.server.handle_timeout(world.now);
    assert_eq!(world.server.remote(server), Some(address(3)));
    let key = Bytes::from_static(b"key");
    world.client.send_datagram(client, key.clone()).unwrap();
    world.run_until(|it| {
        it.at_server
            .contains(&(server, Event::Datagram(key.clone())))
    });
}

#[test]
fn a_datagram_that_cannot_be_taken_is_given_back_as_an_error() {
    let (mut world, client, _) = World::connected();
    let too_large = Bytes::from(vec![0; 2_000]);
    assert_eq!(
        world.client.send_datagram(client, too_large),
        Err(NoRoom::TooLarge)
    );
    let piece = Bytes::from(vec![0; 1_000]);
    let fitting = (0..1_000)
        .take_while(|_| world.client.send_datagram(client, piece.clone()).is_ok())
        .count();
    assert!((100..140).contains(&fitting), "{fitting} fit");
    assert_eq!(world.client.send_datagram(client, piece), Err(NoRoom::Full));
    world.run_until(|it| it.at_client.iter().any(|(_, it)| *it == Event::Room));
}

#[test]
fn what_is_held_waits_inside_and_costs_no_timer() {
    let (mut world, _, server) = World::connected();
    assert_eq!(world.server.at(address(1)), [server]);
    assert!(world.server.at(address(3)).is_empty());
    world.server.hold(address(1));
    let piece = |n: u8| Bytes::from(vec![n; 1_000]);
    let sent = (0..=u8::MAX)
        .take_while(|n| world.server.send_datagram(server, piece(*n)).is_ok())
        .count();
    assert!((100..140).contains(&sent), "{sent} fit");
    let until = world.now + Duration::from_secs(2);
    let mut steps = 0;
    while world.now < until {
        world.step();
        steps += 1;
    }
    assert!(steps < 100, "{steps} steps in two seconds of waiting");
    let came = |it: &World| {
        let datagram = |(_, it): &(Handle, Event)| match it {
            Event::Datagram(bytes) => Some(bytes.clone()),
            _ => None,
        };
        it.at_client.iter().filter_map(datagram).collect::<Vec<_>>()
    };
    assert!(came(&world).is_empty());
    // Another address is another matter.
    assert!(!world.server.release(address(3)));
    assert!(world.server.release(address(1)));
    world.run_until(|it| came(it).len() == sent);
    assert_eq!(came(&world)[sent - 1], piece((sent - 1) as u8));
}

#[test]
fn strangers_of_one_address_are_limited_until_they_are_admitted() {
    let mut world = World::new();
    for _ in 0..40 {
        world.connect(Trust::Asked);
    }
    let settled = |it: &World| it.at_client.len() >= 40 && it.at_server.len() >= 32;
    world.run_until(settled);
    let refused = world
        .at_client
        .iter()
        .filter(|(_, it)| matches!(it, Event::Closed(_)))
        .count();
    assert_eq!(refused, 8);
    let connected: Vec<Handle> = world.at_server.iter().map(|it| it.0).collect();
    for handle in connected {
        world.server.admit(handle);
    }
    world.at_client.clear();
    world.connect(Trust::Asked);
    world.run_until(|it| {
        it.at_client
            .iter()
            .any(|(_, it)| matches!(it, Event::Connected(_)))
    });
}

#[test]
fn nonsense_changes_nothing() {
    let (mut world, client, server) = World::connected();
    let mut state = 1_u64;
    for len in 0..1_200 {
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8 | 0x40
            })
            .collect();
        let arrived = Arrived {
            from: address(1),
            to: None,
            bytes: &bytes,
        };
        world.server.handle_datagram(world.now, arrived);
    }
    world
        .server
        .send_datagram(server, Bytes::from_static(b"tile"))
        .unwrap();
    world.run_until(|it| {
        it.at_client
            .iter()
            .any(|(_, it)| matches!(it, Event::Datagram(_)))
    });
    assert!(world.client.side(client).is_some());
}
