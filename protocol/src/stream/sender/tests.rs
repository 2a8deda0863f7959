//! Holds the sender against its limits and what a viewer says.
#![expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]

use std::time::{Duration, Instant};

use super::{Readiness, SendError, Sender, SenderConfig, Transmit};
use crate::limits::{
    DATAGRAM_BYTES_MIN, DATAGRAM_UPDATE_BYTES_MAX, REPAIR_BYTES_MAX, UPDATE_BYTES_MAX,
};
use crate::stream::packetize::UpdateKind;
use crate::stream::rate::RateConfig;
use crate::stream::recovery::{Demand, Encoder};
use crate::wire::datagram::{
    ALL_FRAGMENTS, Epoch, FeedbackHeader, FragmentHeader, FromServer, FromViewer, Nack,
    ReferenceLost, Wanted,
};
use crate::wire::update_stream::{STREAM_HEADER_LEN, StreamHeader};
use crate::{Bitrate, Micros};

const WHOLE: UpdateKind = UpdateKind {
    is_whole: true,
    is_video_only: false,
    recovers: false,
    is_refinement: false,
};

fn sender(now: Instant) -> Sender {
    let config = SenderConfig {
        rate: RateConfig {
            start: Bitrate::kbps(50_000),
            min: Bitrate::kbps(150),
            max: Bitrate::kbps(50_000),
        },
        encoder: Encoder::Invalidates,
        clock: Micros(1_000),
    };
    Sender::new(config, now)
}

/// Headers of the fragments that leave now.
fn fragments(sender: &mut Sender, now: Instant) -> Vec<FragmentHeader> {
    let mut out = Vec::new();
    let mut headers = Vec::new();
    while sender.poll_transmit(now, &mut out) == Some(Transmit::Datagram) {
        assert!(out.len() <= DATAGRAM_BYTES_MIN);
        match FromServer::decode(&out) {
            Ok(FromServer::Fragment(it)) => headers.push(it.header),
            other => panic!("{other:?}"),
        }
    }
    headers
}

fn ask(sender: &mut Sender, now: Instant, epoch: Epoch, wanted: Wanted) {
    let mut out = Vec::new();
    Nack::encode_into(epoch, &[wanted], &mut out);
    match FromViewer::decode(&out) {
        Ok(FromViewer::Nack(it)) => sender.handle_nack(now, &it),
        other => panic!("{other:?}"),
    }
}

fn report(sender: &mut Sender, now: Instant, epoch: Epoch, delivered: u32) {
    let header = FeedbackHeader {
        epoch,
        delivered,
        decode_queue: 3,
        ..FeedbackHeader::default()
    };
    let mut out = Vec::new();
    header.encode_into(std::iter::empty(), &mut out);
    match FromViewer::decode(&out) {
        Ok(FromViewer::Feedback(it)) => sender.handle_feedback(now, &it),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_update_is_a_whole_picture() {
    let now = Instant::now();
    let mut sender = sender(now);
    assert_eq!(sender.readiness(), Readiness::NeedsWhole);
    assert_eq!(sender.poll_demand(), Some(Demand::Whole));
    let refused = sender.handle_update(now, b"ab", UpdateKind::default());
    assert_eq!(refused, Err(SendError::NeedsWhole));
    assert_eq!(sender.handle_update(now, b"ab", WHOLE), Ok((Epoch(1), 1)));
    assert_eq!(sender.readiness(), Readiness::Busy);
    assert!(!fragments(&mut sender, now).is_empty());
    assert_eq!(sender.readiness(), Readiness::Ready);
}

#[test]
fn lengths_outside_the_limits_are_refused() {
    let now = Instant::now();
    let mut sender = sender(now);
    for length in [0, UPDATE_BYTES_MAX + 1] {
        let refused = sender.handle_update(now, &vec![0; length], WHOLE);
        assert_eq!(refused, Err(SendError::Length(length)));
    }
    for length in [0, 1_001] {
        let refused = sender.handle_sound(Micros(0), &vec![0; length]);
        assert_eq!(refused, Err(SendError::Sound(length)));
    }
}

#[test]
fn a_request_is_answered_once_a_round_with_parity_not_sent_before() {
    let now = Instant::now();
    let mut sender = sender(now);
    sender.handle_update(now, &[7; 20_000], WHOLE).unwrap();
    let first = fragments(&mut sender, now);
    let flight = 19 + usize::from(first[0].parity);
    let indices: Vec<_> = first.iter().map(|it| usize::from(it.index)).collect();
    assert_eq!(indices, (0..flight).collect::<Vec<_>>());
    let mut wanted = Wanted {
        update: 1,
        count: 2,
        round: 1,
    };
    ask(&mut sender, now, Epoch(1), wanted);
    ask(&mut sender, now, Epoch(1), wanted);
    let repairs = fragments(&mut sender, now);
    let indices: Vec<_> = repairs.iter().map(|it| usize::from(it.index)).collect();
    assert_eq!(indices, (flight..flight + 3).collect::<Vec<_>>());
    assert!(repairs.iter().all(|it| it.flags.is_repair));
    ask(&mut sender, now, Epoch(1), wanted);
    assert_eq!(fragments(&mut sender, now), []);
    wanted.round = 2;
    wanted.count = ALL_FRAGMENTS;
    ask(&mut sender, now, Epoch(0), wanted);
    assert_eq!(fragments(&mut sender, now), []);
    ask(&mut sender, now, Epoch(1), wanted);
    assert_eq!(fragments(&mut sender, now).len(), flight);
}

#[test]
fn a_large_update_takes_a_stream_and_is_reset_by_a_whole_picture() {
    let now = Instant::now();
    let mut sender = sender(now);
    let large = vec![9; DATAGRAM_UPDATE_BYTES_MAX + 1];
    sender.handle_update(now, &large, WHOLE).unwrap();
    let mut out = Vec::new();
    let transmit = sender.poll_transmit(now, &mut out);
    let expected = Transmit::Stream {
        epoch: Epoch(1),
        update: 1,
        is_first: true,
        is_last: false,
    };
    assert_eq!(transmit, Some(expected));
    let header = out.first_chunk::<STREAM_HEADER_LEN>().unwrap();
    let header = StreamHeader::decode(*header).unwrap();
    assert_eq!((header.update, header.length), (1, 65_536));
    assert_eq!(sender.poll_reset(), None);
    sender.handle_update(now, b"ab", WHOLE).unwrap();
    assert_eq!(sender.poll_reset(), Some((Epoch(1), 1)));
    assert_eq!(fragments(&mut sender, now)[0].epoch, Epoch(2));
}

#[test]
fn a_stream_of_video_that_is_given_up_is_reset() {
    let now = Instant::now();
    let mut sender = sender(now);
    sender.handle_update(now, b"ab", WHOLE).unwrap();
    fragments(&mut sender, now);
    let video = UpdateKind {
        is_video_only: true,
        ..UpdateKind::default()
    };
    let large = vec![9; DATAGRAM_UPDATE_BYTES_MAX + 1];
    sender.handle_update(now, &large, video).unwrap();
    let mut out = Vec::new();
    sender.poll_transmit(now, &mut out).unwrap();
    sender.poll_demand();
    let lost = ReferenceLost {
        epoch: Epoch(1),
        first: 2,
        last: 2,
        good: 1,
    };
    sender.handle_reference_lost(now, &lost);
    let demand = Demand::Invalidate { first: 2, good: 1 };
    assert_eq!(sender.poll_demand(), Some(demand));
    let recovers = UpdateKind {
        recovers: true,
        ..video
    };
    sender.handle_update(now, b"cd", recovers).unwrap();
    assert_eq!(sender.poll_reset(), Some((Epoch(1), 2)));
    let next = fragments(&mut sender, now);
    assert_eq!((next[0].update, next[0].void), (3, 1));
    assert!(next[0].flags.recovers);
}

#[test]
fn more_than_can_be_kept_for_repair_ends_in_a_whole_picture() {
    let now = Instant::now();
    let mut sender = sender(now);
    sender.handle_update(now, b"ab", WHOLE).unwrap();
    sender.poll_demand();
    let mut updates = 0;
    while sender.poll_demand() != Some(Demand::Whole) {
        let sent = sender.handle_update(now, &[7; 60_000], UpdateKind::default());
        sent.unwrap();
        updates += 1;
        assert!(sender.memory() <= REPAIR_BYTES_MAX + 61_000);
    }
    assert!(updates > 30, "{updates}");
    assert_eq!(sender.readiness(), Readiness::NeedsWhole);
    assert_eq!(sender.memory(), 0);
}

#[test]
fn a_whole_picture_of_any_size_leaves_and_no_other_is_asked_for() {
    let now = Instant::now();
    let mut sender = sender(now);
    assert_eq!(sender.poll_demand(), Some(Demand::Whole));
    sender
        .handle_update(now, &vec![9; UPDATE_BYTES_MAX], WHOLE)
        .unwrap();
    let small = sender.handle_update(now, b"ab", UpdateKind::default());
    assert_eq!(small, Ok((Epoch(1), 2)));
    assert_eq!(sender.poll_demand(), None);
    assert_eq!(sender.readiness(), Readiness::Busy);
}

#[test]
fn what_is_handed_out_is_kept_no_longer_and_nobody_is_woken() {
    let now = Instant::now();
    let mut sender = sender(now);
    sender.handle_update(now, &[7; 20_000], WHOLE).unwrap();
    fragments(&mut sender, now);
    assert!(sender.memory() > 20_000);
    report(&mut sender, now, Epoch(0), 1);
    assert!(sender.memory() > 20_000);
    report(&mut sender, now, Epoch(1), 1);
    assert_eq!(sender.memory(), 0);
    assert_eq!(sender.viewer().decode_queue, 3);
    // Packets that no report named are given up after a while.
    let later = sender.poll_timeout().unwrap().at;
    sender.handle_timeout(later + Duration::from_secs(20));
    assert_eq!(sender.poll_timeout(), None);
}

#[test]
fn late_sound_makes_way_for_newer() {
    let now = Instant::now();
    let mut sender = sender(now);
    for number in 0..9 {
        sender.handle_sound(Micros(number), &[1]).unwrap();
    }
    let mut out = Vec::new();
    let mut taken = Vec::new();
    while sender.poll_transmit(now, &mut out).is_some() {
        if let Ok(FromServer::Sound(header, _)) = FromServer::decode(&out) {
            taken.push(header.taken);
        }
    }
    assert_eq!(taken, [5, 6, 7, 8]);
}

#[test]
fn a_stream_that_follows_another_begins_the_epoch_after() {
    let now = Instant::now();
    let mut sender = sender(now).after(Epoch(u16::MAX));
    let sent = sender.handle_update(now, b"ab", WHOLE);
    assert_eq!(sent, Ok((Epoch(0), 1)));
    assert_eq!(sender.epoch(), Epoch(0));
}
