//! Orders of messages, bytes, acts and times that no server of ours causes: the viewer goes on or
//! leaves with a reason, and keeps no more than its limits say.

use std::time::Duration;

use sandbox_client::connection::End;
use sandbox_protocol::limits::{REASSEMBLY_BYTES_MAX, UPDATE_BYTES_MAX};
use sandbox_protocol::wire::control::{
    AuthFailure, Chroma, Codec, FromServer, Profile, Secret, StreamConfig, encode_into,
};
use sandbox_protocol::wire::datagram::{
    Cursor, Epoch, FragmentFlags, FragmentHeader, Pong, SoundHeader,
};
use sandbox_protocol::wire::input::encode_ack;
use sandbox_protocol::wire::update_stream::StreamHeader;
use sandbox_protocol::{SessionId, Size};

use crate::chance::Chance;
use crate::key;
use crate::world::{SIZE, World};

/// Incomplete updates and the oldest one; streams of two epochs.
const MEMORY_MAX: usize = REASSEMBLY_BYTES_MAX + 3 * UPDATE_BYTES_MAX;

/// News that one act leads to at most.
const TOLD_MAX: usize = 100;

fn config(chance: &mut Chance) -> StreamConfig {
    StreamConfig {
        epoch: chance.below(4) as u16,
        size: SIZE,
        codec: Codec::H264,
        profile: Profile::Baseline,
        chroma: Chroma::Yuv420,
        cache_mib: chance.below(300) as u16,
    }
}

fn message(chance: &mut Chance) -> FromServer {
    let text = "é".repeat(chance.below(9_000) as usize);
    let kind = match chance.below(10) {
        0 => chance.below(14),
        _ => 4 + chance.below(8),
    };
    match kind {
        0 => FromServer::Hello {
            minor: chance.below(3) as u16,
            features: chance.number(),
            node: [1; 16],
            codec: Codec::Av1,
            cache_mib: 16,
        },
        1 => FromServer::Welcome {
            user: text,
            ticket: ([1; 16], Secret([2; 32])),
            ticket_seconds: chance.number() as u32,
        },
        2 => FromServer::AuthFailed {
            why: AuthFailure::TooMany,
            retry_after_ms: chance.number() as u32,
        },
        3 => FromServer::Attached {
            session: SessionId::from_bytes([3; 16]),
            lease: chance.number(),
            config: config(chance),
            notices: vec![text],
        },
        4 => FromServer::Config(config(chance)),
        5 => FromServer::Notice {
            code: "x".to_owned(),
            text,
        },
        6 => FromServer::Copied {
            text,
            is_first: chance.below(2) == 0,
            is_last: chance.below(2) == 0,
        },
        7 => FromServer::CursorShape {
            size: Size {
                width: chance.below(100) as u16,
                height: 2,
            },
            hot_x: chance.number() as u16,
            hot_y: 0,
            rgba: vec![0; chance.below(100) as usize * 8],
        },
        8 => FromServer::NextKey([5; 32]),
        9 => FromServer::Control {
            has_control: chance.below(2) == 0,
        },
        10 => FromServer::Pasted,
        11 => FromServer::LinkRate {
            kbps: chance.number() as u32,
        },
        12 if chance.below(9) == 0 => FromServer::Detached { reason: text },
        _ => FromServer::Goodbye {
            code: chance.number() as u32,
            retry_after_ms: chance.number() as u32,
            node: text,
        },
    }
}

fn flags(chance: &mut Chance) -> FragmentFlags {
    FragmentFlags {
        is_repair: chance.below(4) == 0,
        is_video_only: chance.below(2) == 0,
        recovers: chance.below(4) == 0,
    }
}

/// A fragment near those that come, or far from them.
fn fragment(chance: &mut Chance, update: u32) -> Vec<u8> {
    let header = FragmentHeader {
        flags: flags(chance),
        epoch: Epoch(1 + chance.below(20) as u16 / 18),
        packet: chance.number() as u16,
        update,
        sent: chance.number() as u32,
        length: match chance.below(30) {
            0 => 1 + chance.below(2_000) as u16,
            _ => u16::MAX,
        },
        index: chance.below(4) as u8,
        parity: chance.below(3) as u8,
        void: match chance.below(4) {
            0 => chance.number() as u32,
            _ => 0,
        },
    };
    let mut bytes = header.encode().to_vec();
    bytes.resize(bytes.len() + 1_024, chance.number() as u8);
    bytes
}

fn datagram(chance: &mut Chance) -> Vec<u8> {
    let mut out = Vec::new();
    let number = chance.number() as u16;
    match chance.below(8) {
        0 => out.extend(encode_ack(77, chance.below(20) as u32)),
        1 => Pong {
            number: number % 8,
            clock: chance.number(),
        }
        .encode_into(&mut out),
        2 => Cursor {
            number,
            is_visible: true,
            x: 1,
            y: 2,
        }
        .encode_into(&mut out),
        3 => SoundHeader {
            epoch: Epoch(1),
            packet: number,
            number,
            taken: 9,
        }
        .encode_into(&[7; 50], &mut out),
        _ => {
            let update = 1 + chance.below(300) as u32;
            return fragment(chance, update);
        }
    }
    out
}

/// Perhaps shorter, perhaps with a bit turned.
fn hurt(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    let at = chance.below(bytes.len().max(1) as u64) as usize;
    match chance.below(100) {
        0 => bytes.truncate(at),
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        _ => (),
    }
    bytes
}

fn serve(world: &mut World, chance: &mut Chance) {
    match chance.below(10) {
        0..3 => {
            let mut bytes = Vec::new();
            encode_into(&message(chance), &mut bytes).unwrap();
            world.server.send_control(&hurt(bytes, chance));
        }
        3..7 => {
            let bytes = hurt(datagram(chance), chance);
            world.server.send_datagram(&bytes);
        }
        7 => {
            let header = StreamHeader {
                flags: flags(chance),
                epoch: Epoch(1 + chance.below(2) as u16),
                update: 1 + chance.below(40) as u32,
                void: 0,
                length: 1 + chance.below(40_000) as u32,
            };
            let mut bytes = header.encode().to_vec();
            bytes.resize(bytes.len() + header.length as usize, 3);
            world.server.send_stream(&hurt(bytes, chance));
        }
        8 => world.server.paint(chance.below(1_000) as u32),
        // Each claims the memory of a large update.
        _ => (1..60).for_each(|update| {
            let bytes = fragment(chance, 2 + update);
            world.server.send_datagram(&bytes);
        }),
    }
}

fn act(world: &mut World, chance: &mut Chance) {
    let now = world.now;
    match chance.below(9) {
        0 => drop(world.client.handle_input(now, key(chance.below(2) == 0))),
        1 => world.client.handle_move(now, chance.number() as u16, 3),
        2 => {
            let text = "ü".repeat(chance.below(60_000) as usize);
            world.client.handle_paste(now, &text);
        }
        3 => world.client.ask_whole(now),
        4 => world.client.take_control(now),
        5 => world.client.handle_network_changed(now),
        6 => world.client.trust(now),
        7 => world.client.handle_size(
            now,
            Size {
                width: chance.below(900) as u16,
                height: chance.below(900) as u16,
            },
        ),
        _ => world.now += Duration::from_millis(chance.below(800)),
    }
}

#[test]
fn whatever_a_server_does_in_whatever_order_the_viewer_goes_on_or_leaves_with_a_reason() {
    let is_long = std::env::var_os("LONG").is_some_and(|it| it == "1");
    let (mut ended, mut acts) = (0, 0);
    for seed in 0..if is_long { 300 } else { 20 } {
        let mut chance = Chance::new(seed);
        let mut world = World::new();
        world.is_hostile = true;
        // From the first word on, or once all is well.
        if chance.below(4) > 0 {
            world.run_until(World::is_same);
        }
        for _ in 0..60 {
            acts += 1;
            world
                .told
                .retain(|it| matches!(it, sandbox_client::connection::Told::Over(_)));
            match chance.below(3) {
                0 => act(&mut world, &mut chance),
                _ => serve(&mut world, &mut chance),
            }
            (0..chance.below(8)).for_each(|_| world.step());
            let (memory, told) = (world.client.memory(), world.told.len());
            assert!(memory <= MEMORY_MAX, "seed {seed}: {memory} bytes");
            assert!(told <= TOLD_MAX, "seed {seed}: {told} told");
            if world.end().is_some() {
                break;
            }
        }
        if let Some(End::Violation(words)) = world.end() {
            assert!((1..500).contains(&words.len()), "seed {seed}: {words}");
            ended += 1;
        }
    }
    // The orders reach what they are to reach.
    assert!(ended > 4 && acts > 200, "{ended} ended, {acts} acts");
}
