//! Peers that send anything in any order: never a panic, never more memory than the limits say.

use sandbox_protocol::Micros;
use sandbox_protocol::limits::{
    DATAGRAM_BYTES_MIN, REASSEMBLY_BYTES_MAX, REPAIR_BYTES_MAX, UPDATE_BYTES_MAX,
};
use sandbox_protocol::stream::input_sender::InputSender;
use sandbox_protocol::stream::packetize::UpdateKind;
use sandbox_protocol::stream::receiver::{Receiver, ViewerState};
use sandbox_protocol::stream::recovery::Encoder;
use sandbox_protocol::stream::sender::{Sender, SenderConfig};
use sandbox_protocol::wire::datagram::{
    Epoch, FeedbackHeader, FragmentFlags, FragmentHeader, FromServer, FromViewer, Nack, Pong,
    ReferenceLost, Wanted,
};
use sandbox_protocol::wire::update_stream::StreamHeader;

use crate::chance::Chance;
use crate::world::RATE;
use crate::{epoch, is_long, ms, seeds};

/// Numbers where things break: small ones, and those around the ends.
fn number(chance: &mut Chance) -> u32 {
    let near = chance.below(300) as u32;
    match chance.below(8) {
        0 => u32::MAX - near,
        1 => (1 << 16) - 150 + near,
        2 => chance.number() as u32,
        _ => near,
    }
}

/// A datagram that is right in its layout and wrong in everything else, or wrong altogether.
fn from_server(chance: &mut Chance, out: &mut Vec<u8>) {
    let header = FragmentHeader {
        flags: FragmentFlags {
            is_repair: chance.below(2) == 0,
            is_video_only: chance.below(2) == 0,
            recovers: chance.below(2) == 0,
        },
        epoch: Epoch((number(chance) & 0x3) as u16),
        packet: number(chance) as u16,
        update: number(chance),
        sent: number(chance),
        length: number(chance) as u16,
        index: chance.below(96) as u8,
        parity: chance.below(5) as u8,
        void: number(chance),
    };
    out.clear();
    out.extend(header.encode());
    let shard = 2 * chance.below(600) as usize;
    out.resize(out.len() + shard, chance.below(256) as u8);
}

fn turn_some_bytes(chance: &mut Chance, out: &mut Vec<u8>) {
    for _ in 0..chance.below(3) {
        if !out.is_empty() {
            let at = chance.below(out.len() as u64) as usize;
            out[at] = chance.number() as u8;
        }
    }
    if chance.below(10) == 0 {
        out.truncate(chance.below(out.len() as u64 + 1) as usize);
    }
}

fn from_viewer(chance: &mut Chance, out: &mut Vec<u8>) {
    let epoch = Epoch((number(chance) & 0x3) as u16);
    match chance.below(3) {
        0 => {
            let header = FeedbackHeader {
                epoch,
                delivered: number(chance),
                newest: number(chance),
                first_packet: number(chance) as u16,
                base: number(chance),
                held: number(chance) as u16,
                ..FeedbackHeader::default()
            };
            let count = chance.below(129) as usize;
            let mut arrivals: Vec<_> = (0..count).map(|_| number(chance)).map(Some).collect();
            arrivals.iter_mut().step_by(3).for_each(|it| *it = None);
            header.encode_into(arrivals.into_iter(), out);
        }
        1 => {
            let count = chance.below(33);
            let mut wanted = || Wanted {
                update: number(chance),
                count: number(chance) as u8,
                round: number(chance) as u8,
            };
            let wanted: Vec<_> = (0..count).map(|_| wanted()).collect();
            Nack::encode_into(epoch, &wanted, out);
        }
        _ => {
            let lost = ReferenceLost {
                epoch,
                first: number(chance),
                last: number(chance),
                good: number(chance),
            };
            lost.encode_into(out);
        }
    }
}

#[test]
fn a_hostile_server_gets_no_more_than_the_viewer_grants() {
    let steps = if is_long() { 50_000 } else { 20_000 };
    for seed in seeds(3) {
        let mut chance = Chance::new(seed);
        let mut now = epoch();
        let mut receiver = Receiver::new(now);
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        for _ in 0..steps {
            now += ms(chance.below(3) * chance.below(30));
            match chance.below(40) {
                0 => receiver.handle_timeout(now),
                1 => receiver.handle_path_change(now),
                2 => receiver.handle_state(ViewerState::default()),
                3 => receiver.handle_round_trip(ms(chance.below(10_000))),
                4 => {
                    let header = StreamHeader {
                        flags: FragmentFlags::default(),
                        epoch: Epoch(chance.below(4) as u16),
                        update: number(&mut chance).max(1),
                        void: number(&mut chance),
                        length: 1 + chance.below(UPDATE_BYTES_MAX as u64) as u32,
                    };
                    let _verdict = receiver.handle_stream(now, &header);
                    let bytes = vec![0; chance.below(5_000) as usize];
                    let length = bytes.len() as u32;
                    let header = StreamHeader { length, ..header };
                    receiver.handle_stream_update(now, &header, bytes).unwrap();
                }
                5 => receiver.handle_pong(
                    now,
                    Pong {
                        number: chance.below(9) as u16,
                        clock: chance.number(),
                    },
                ),
                _ => {
                    from_server(&mut chance, &mut bytes);
                    turn_some_bytes(&mut chance, &mut bytes);
                    if let Ok(FromServer::Fragment(it)) = FromServer::decode(&bytes) {
                        // A contradiction is an error, and goes on as if it had not come.
                        let _contradiction = receiver.handle_fragment(now, &it).is_err();
                    }
                }
            }
            while receiver.poll_datagram(now, &mut out).is_some() {
                assert!(FromViewer::decode(&out).is_ok(), "seed {seed}");
                assert!(out.len() <= DATAGRAM_BYTES_MIN, "seed {seed}");
            }
            while receiver.poll_update().is_some() {}
            let most = REASSEMBLY_BYTES_MAX + UPDATE_BYTES_MAX;
            assert!(receiver.memory() <= most, "seed {seed}");
            let _deadline = receiver.poll_timeout();
            let _clock = receiver.server_clock(now);
        }
    }
}

#[test]
fn a_hostile_viewer_gets_no_more_than_the_server_grants() {
    let steps = if is_long() { 50_000 } else { 20_000 };
    for seed in seeds(3) {
        let mut chance = Chance::new(seed);
        let mut now = epoch();
        let config = SenderConfig {
            rate: RATE,
            encoder: Encoder::Invalidates,
            clock: Micros(u64::MAX - 1_000_000),
        };
        let mut sender = Sender::new(config, now);
        let content = vec![7; 300_000];
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        for _ in 0..steps {
            now += ms(chance.below(3) * chance.below(30));
            match chance.below(40) {
                0 => sender.handle_timeout(now),
                1 => sender.handle_path_change(now),
                2 => sender.handle_datagram_max(chance.below(3_000) as usize),
                3..10 => {
                    let kind = UpdateKind {
                        is_whole: chance.below(20) == 0,
                        is_video_only: chance.below(2) == 0,
                        recovers: chance.below(3) == 0,
                        is_refinement: chance.below(3) == 0,
                    };
                    let length = chance.below(300_000).min(chance.below(300_000)) as usize;
                    let _refused = sender.handle_update(now, &content[..length], kind).is_err();
                }
                10 => sender.handle_cursor(1, 2, true),
                11 => sender
                    .handle_sound(Micros(chance.number()), &[1; 100])
                    .unwrap(),
                12 => sender.handle_bulk(chance.below(2) == 0),
                _ => {
                    from_viewer(&mut chance, &mut bytes);
                    turn_some_bytes(&mut chance, &mut bytes);
                    match FromViewer::decode(&bytes) {
                        Ok(FromViewer::Feedback(it)) => sender.handle_feedback(now, &it),
                        Ok(FromViewer::Nack(it)) => sender.handle_nack(now, &it),
                        Ok(FromViewer::ReferenceLost(it)) => {
                            sender.handle_reference_lost(now, &it);
                        }
                        Ok(FromViewer::Ping(it)) => sender.handle_ping(it),
                        Ok(FromViewer::Input(_)) | Err(_) => (),
                    }
                }
            }
            for _ in 0..chance.below(50) {
                if sender.poll_transmit(now, &mut out).is_none() {
                    break;
                }
            }
            while sender.poll_demand().is_some() {}
            // The oldest update has room beside what is kept for repair.
            let memory = sender.memory();
            assert!(
                memory <= REPAIR_BYTES_MAX + content.len(),
                "seed {seed}: {memory}"
            );
            let _deadline = sender.poll_timeout();
            while sender.poll_reset().is_some() {}
        }
    }
}

#[test]
fn a_hostile_server_cannot_confuse_the_input() {
    for seed in seeds(3) {
        let mut chance = Chance::new(seed);
        let mut now = epoch();
        let mut sender = InputSender::new(1);
        let mut out = Vec::new();
        for _ in 0..20_000 {
            now += ms(chance.below(3) * chance.below(30));
            let seq = number(&mut chance);
            match chance.below(4) {
                0 => sender.handle_ack(now, chance.below(2), seq),
                1 => sender.handle_move(now, 1, 2),
                2 => sender.handle_path_change(now),
                _ => sender.handle_focus_lost(now),
            }
            while sender.poll_packet(now, &mut out).is_some() {
                assert!(matches!(FromViewer::decode(&out), Ok(FromViewer::Input(_))));
            }
        }
    }
}
