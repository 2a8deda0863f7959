//! What a connection costs on which nothing is said: each packet, with what it is there for.

use std::collections::BTreeMap;
use std::time::Duration;

use sandbox_quic::{Bytes, Dir, Endpoint, Event, Handle, Side};

use crate::world::{ONE_WAY, World};

const KEEP_ALIVE: Duration = Duration::from_secs(3);
const ACK_DELAY_MAX: Duration = Duration::from_millis(5);
const MINUTE: Duration = Duration::from_secs(60);

/// What one end sent at a moment.
#[derive(Debug, PartialEq)]
struct Sent {
    at: Duration,
    by: Side,
    /// Names of the frames.
    frames: Vec<String>,
}

/// Frames by name, as QUIC writes them down.
fn counts(endpoint: &Endpoint, handle: Handle) -> BTreeMap<String, u64> {
    let told = format!("{:?}", endpoint.frames_sent(handle).unwrap());
    let fields = told
        .trim_start_matches("FrameStats { ")
        .trim_end_matches(" }");
    let parse = |field: &str| {
        let (name, count) = field.split_once(": ").unwrap();
        (name.to_owned(), count.parse().unwrap())
    };
    fields.split(", ").map(parse).collect()
}

/// A connection on which was spoken, and where all of that has come.
fn rested(widest: usize) -> (World, Handle, Handle) {
    let (mut world, client, server) = World::connected();
    world.widest = widest;
    for _ in 0..20 {
        let tile = Bytes::from(vec![1; 1_000]);
        world.server.send_datagram(server, tile).unwrap();
        let key = Bytes::from_static(b"key");
        world.client.send_datagram(client, key).unwrap();
        world.step();
    }
    let stream = world.server.open_stream(server, Dir::Uni, 0).unwrap();
    let written = world.server.write(server, stream, &[2; 150_000]);
    assert_eq!(written, 150_000);
    world.server.finish(server, stream);
    let has_come = |(_, it): &(Handle, Event)| matches!(it, Event::Read { is_end: true, .. });
    world.run_until(|it| it.at_client.iter().any(has_come));
    let until = world.now + MINUTE;
    world.run_until(|it| it.now >= until);
    (world, client, server)
}

/// Lets time pass; says what was sent meanwhile, and how often somebody woke up.
fn watch(world: &mut World, time: Duration, ends: [(Side, Handle); 2]) -> (Vec<Sent>, usize) {
    let (began, mut sent, mut steps) = (world.now, Vec::new(), 0);
    let look = |world: &World| {
        ends.map(|(side, handle)| match side {
            Side::Client => counts(&world.client, handle),
            Side::Server => counts(&world.server, handle),
        })
    };
    let mut before = look(world);
    while world.now < began + time {
        world.step();
        steps += 1;
        let after = look(world);
        for (index, (by, _)) in ends.into_iter().enumerate() {
            let rose = after[index]
                .iter()
                .filter(|(name, it)| **it > before[index][*name]);
            let frames: Vec<String> = rose.map(|(name, _)| name.clone()).collect();
            if !frames.is_empty() {
                let at = world.now - began;
                sent.push(Sent { at, by, frames });
            }
        }
        before = after;
    }
    (sent, steps)
}

#[test]
fn a_viewer_at_rest_asks_each_three_seconds_and_is_answered() {
    let (mut world, client, server) = rested(usize::MAX);
    let ends = [(Side::Client, client), (Side::Server, server)];
    let (sent, steps) = watch(&mut world, 30 * MINUTE, ends);
    // Three seconds after the answer; the answer waits for another packet to acknowledge.
    let round = KEEP_ALIVE + 2 * ONE_WAY + ACK_DELAY_MAX;
    let rounds = usize::try_from((30 * MINUTE).as_nanos() / round.as_nanos()).unwrap();
    assert!(
        sent.len().abs_diff(2 * rounds) <= 2,
        "{} packets",
        sent.len()
    );
    for pair in sent.windows(2) {
        let [it, next] = pair else {
            unreachable!("windows of two")
        };
        let passed = next.at - it.at;
        match it.by {
            Side::Client => {
                // What came last is acknowledged with it.
                assert_eq!(it.frames, ["ACK", "PING"], "{it:?}");
                assert_eq!((next.by, passed), (Side::Server, ONE_WAY + ACK_DELAY_MAX));
            }
            Side::Server => {
                assert_eq!(it.frames, ["ACK"], "{it:?}");
                assert_eq!((next.by, passed), (Side::Client, KEEP_ALIVE + ONE_WAY));
            }
        }
    }
    // Both send once and receive once.
    assert!(steps <= 2 * sent.len() + 2, "{steps} steps");
}

/// A path may have become wider, or have been taken for narrower than it is.
#[test]
fn on_a_narrow_path_it_is_searched_each_ten_minutes_for_a_wider_one() {
    let (mut world, client, server) = rested(1_350);
    let ends = [(Side::Client, client), (Side::Server, server)];
    let (sent, _) = watch(&mut world, 60 * MINUTE, ends);
    let kept = |it: &&Sent| match it.by {
        Side::Client => it.frames == ["ACK", "PING"],
        Side::Server => it.frames == ["ACK"],
    };
    let (kept, searched): (Vec<&Sent>, Vec<&Sent>) = sent.iter().partition(kept);
    assert!(kept.len() > 2_000, "{}", kept.len());
    for it in &searched {
        let is_search = |name: &String| matches!(&**name, "ACK" | "IMMEDIATE_ACK" | "PING");
        assert!(it.frames.iter().all(is_search), "{it:?}");
    }
    let mut searches: Vec<Duration> = searched.iter().map(|it| it.at).collect();
    searches.dedup_by(|later, it| *later - *it < MINUTE);
    assert!((5..=6).contains(&searches.len()), "{searches:?}");
    assert!(
        searched.len() <= 40 * searches.len(),
        "{} packets",
        searched.len()
    );
    for pair in searches.windows(2) {
        assert!(pair[1] - pair[0] >= 10 * MINUTE, "{searches:?}");
    }
}
