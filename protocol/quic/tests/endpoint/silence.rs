//! How long a client has not been answered.

use std::time::Duration;

use sandbox_quic::{Bytes, Handle};

use crate::world::World;

/// Runs for a while; the longest time that something had not been acknowledged.
fn longest_silence(world: &mut World, client: Handle, time: Duration) -> Duration {
    let (until, mut longest) = (world.now + time, Duration::ZERO);
    while world.now < until {
        world.step();
        let since = world.client.unanswered_since(client);
        longest = longest.max(since.map_or(Duration::ZERO, |it| world.now - it));
    }
    longest
}

#[test]
fn a_connection_at_rest_is_answered_whatever_the_path_is_too_narrow_for() {
    let (mut world, client, _) = World::connected();
    world.widest = 1_300;
    let longest = longest_silence(&mut world, client, Duration::from_secs(30));
    assert!(longest < Duration::from_millis(200), "{longest:?}");
}

#[test]
fn what_is_not_acknowledged_is_told_from_its_first_packet_on() {
    let (mut world, client, server) = World::connected();
    longest_silence(&mut world, client, Duration::from_secs(2));
    world.run_until(|it| it.client.unanswered_since(client).is_none());
    assert_eq!(world.server.unanswered_since(server), None);
    world.is_cut = true;
    let asked = world.now;
    world
        .client
        .send_datagram(client, Bytes::from_static(b"?"))
        .unwrap();
    longest_silence(&mut world, client, Duration::from_secs(5));
    assert_eq!(world.client.unanswered_since(client), Some(asked));
    world.is_cut = false;
    world.run_until(|it| it.client.unanswered_since(client).is_none());
    assert!(world.closed_at_client().is_none());
}

#[test]
fn a_peer_that_speaks_and_does_not_hear_is_silent() {
    let (mut world, client, server) = World::connected();
    longest_silence(&mut world, client, Duration::from_secs(2));
    world.run_until(|it| it.client.unanswered_since(client).is_none());
    world.is_mute = true;
    let asked = world.now;
    world
        .client
        .send_datagram(client, Bytes::from_static(b"?"))
        .unwrap();
    let heard = world.at_client.len();
    while world.now - asked < Duration::from_secs(5) {
        let bytes = Bytes::from_static(b"media");
        world.server.send_datagram(server, bytes).unwrap();
        world.step();
    }
    assert!(world.at_client.len() > heard, "nothing came");
    assert_eq!(world.client.unanswered_since(client), Some(asked));
}
