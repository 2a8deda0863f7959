//! Holds the sender of input against its receiver and against silence.
#![expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]

use std::time::{Duration, Instant};

use super::InputSender;
use crate::limits::{INPUT_EVENTS_MAX, INPUT_WAITING_MAX};
use crate::wire::input::{Event, Packet};

const STREAM: u64 = 7;

fn key(code: u16, is_down: bool) -> Event {
    Event::Key {
        code,
        keysym: 0,
        is_down,
    }
}

fn click(is_down: bool) -> Event {
    Event::Button {
        button: 0,
        is_down,
        x: 1,
        y: 2,
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn packet(sender: &mut InputSender, now: Instant) -> Option<Packet> {
    let mut out = Vec::new();
    sender.poll_packet(now, &mut out)?;
    Some(Packet::decode(&out).unwrap())
}

/// Milliseconds at which packets leave before `end`, and the packets.
fn packets(sender: &mut InputSender, start: Instant, end: u64) -> Vec<(u128, Packet)> {
    let mut out = Vec::new();
    while let Some(due) = sender.poll_timeout().filter(|it| it.at < start + ms(end)) {
        out.push((
            (due.at - start).as_millis(),
            packet(sender, due.at).unwrap(),
        ));
    }
    out
}

fn times(packets: &[(u128, Packet)]) -> Vec<u128> {
    packets.iter().map(|(at, _)| *at).collect()
}

#[test]
fn an_event_leaves_at_once_and_again_until_it_is_acknowledged() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    sender.handle_round_trip(ms(40));
    sender.handle_event(start, click(true));
    let sent = packets(&mut sender, start, 100);
    assert_eq!(times(&sent), [0, 6, 26, 46, 66, 86]);
    assert!(sent.iter().all(|(_, it)| it.events == [click(true)]));
    sender.handle_ack(start + ms(100), STREAM, 1);
    assert_eq!(sender.poll_timeout(), None);
    assert_eq!(sender.waiting(), 0);
}

#[test]
fn repeats_grow_rare_on_a_dead_path() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    sender.handle_round_trip(ms(40));
    sender.handle_event(start, click(true));
    let sent = times(&packets(&mut sender, start, 7_900));
    assert!(sent.len() < 50, "{sent:?}");
    assert!(sent.is_sorted_by_key(|it| *it));
    assert!(sent[sent.len() - 1] - sent[sent.len() - 2] == 250);
}

#[test]
fn new_events_travel_with_those_that_wait() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    sender.handle_event(start, click(true));
    packet(&mut sender, start);
    sender.handle_event(start + ms(1), click(false));
    let second = packet(&mut sender, start + ms(1)).unwrap();
    assert_eq!((second.first_seq, second.events.len()), (1, 2));
    sender.handle_ack(start + ms(2), STREAM, 1);
    sender.handle_event(start + ms(3), click(true));
    let third = packet(&mut sender, start + ms(3)).unwrap();
    assert_eq!(third.first_seq, 2);
    assert_eq!(third.events, [click(false), click(true)]);
}

#[test]
fn what_exceeds_a_packet_follows_when_there_is_room() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    for at in 0..40 {
        sender.handle_event(start, click(at % 2 == 0));
    }
    let first = packet(&mut sender, start).unwrap();
    assert_eq!(first.events.len(), INPUT_EVENTS_MAX);
    assert_eq!(packet(&mut sender, start), None);
    sender.handle_ack(start, STREAM, 32);
    let second = packet(&mut sender, start).unwrap();
    assert_eq!((second.first_seq, second.events.len()), (33, 8));
}

#[test]
fn acknowledgements_that_cannot_be_are_ignored() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    sender.handle_event(start, click(true));
    packet(&mut sender, start);
    for (stream, seq) in [
        (STREAM + 1, 1),
        (STREAM, 0),
        (STREAM, 2),
        (STREAM, u32::MAX),
    ] {
        sender.handle_ack(start, stream, seq);
        assert_eq!(sender.waiting(), 1, "{stream} {seq}");
    }
}

#[test]
fn moves_are_rare_and_the_last_one_is_repeated() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    let mut sent = Vec::new();
    for at in 0..8 {
        sender.handle_move(start + ms(at), at as u16, 0);
        sent.extend(packet(&mut sender, start + ms(at)));
    }
    let places: Vec<_> = sent.iter().map(|it| it.pointer.unwrap().x).collect();
    assert_eq!(places, [0, 4]);
    let last = packets(&mut sender, start, 1_000);
    assert_eq!(times(&last), [8, 48, 248]);
    assert!(last.iter().all(|(_, it)| it.pointer.unwrap().x == 7));
    assert_eq!(sender.poll_timeout(), None);
}

#[test]
fn a_move_from_before_a_click_does_not_follow_it() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    sender.handle_move(start, 1, 1);
    sender.handle_event(start, click(true));
    assert_eq!(packet(&mut sender, start).unwrap().pointer, None);
    sender.handle_move(start, 2, 2);
    let after = packet(&mut sender, start).unwrap().pointer.unwrap();
    assert_eq!(after.after, 1);
}

#[test]
fn steps_of_the_pointer_are_rare_and_none_is_lost() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    sender.handle_move(start, 1, 1);
    let step = Event::MoveBy { dx: 1, dy: -2 };
    let sum = |count| Event::MoveBy {
        dx: count,
        dy: -2 * count,
    };
    let mut sent = Vec::new();
    for at in 0..8 {
        sender.handle_event(start + ms(at), step);
        sent.extend(packet(&mut sender, start + ms(at)));
    }
    assert!(sent.iter().all(|it| it.pointer.is_none()), "{sent:?}");
    let events: Vec<_> = sent.iter().map(|it| it.events.clone()).collect();
    let expected = [vec![step], vec![step, sum(4)]];
    assert_eq!(events, expected, "a step that has left stays what it is");
    let rest = packet(&mut sender, start + ms(8)).unwrap();
    assert_eq!(rest.events, [step, sum(4), sum(3)]);

    // Where no more may be on their way, they wait as one.
    for at in 0..400 {
        sender.handle_event(start + ms(9 + at), step);
        packet(&mut sender, start + ms(9 + at));
    }
    assert_eq!(sender.waiting(), INPUT_EVENTS_MAX + 1);

    // A key ends a sum, and what leaves for its sake takes the sum along.
    sender.handle_ack(start + ms(410), STREAM, INPUT_EVENTS_MAX as u32);
    packet(&mut sender, start + ms(410));
    sender.handle_event(start + ms(411), step);
    sender.handle_event(start + ms(411), key(30, true));
    sender.handle_event(start + ms(411), step);
    let keyed = packet(&mut sender, start + ms(411)).unwrap();
    assert_eq!(keyed.events[1..], [step, key(30, true), step]);
}

#[test]
fn held_keys_are_named_until_they_go_up() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    sender.handle_event(start, key(30, true));
    sender.handle_event(start, key(30, true));
    packet(&mut sender, start);
    sender.handle_ack(start, STREAM, 1);
    let sent = packets(&mut sender, start, 1_100);
    assert_eq!(times(&sent), [500, 1_000]);
    assert!(sent.iter().all(|(_, it)| it.held == Some(vec![30])));
    sender.handle_event(start + ms(1_100), key(30, false));
    sender.handle_event(start + ms(1_100), key(31, false));
    packet(&mut sender, start + ms(1_100));
    sender.handle_ack(start + ms(1_100), STREAM, 2);
    assert_eq!(sender.poll_timeout(), None);
}

#[test]
fn a_lost_focus_lets_go_of_everything() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    sender.handle_event(start, key(30, true));
    sender.handle_focus_lost(start);
    let sent = packet(&mut sender, start).unwrap();
    assert_eq!(sent.events, [key(30, true), Event::ReleaseAll]);
    sender.handle_ack(start, STREAM, 2);
    assert_eq!(sender.poll_timeout(), None);
}

#[test]
fn a_stream_that_nobody_answers_is_begun_afresh() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    sender.handle_event(start, key(30, true));
    let sent = packets(&mut sender, start, 8_500);
    let (_, last) = sent.last().unwrap();
    assert_ne!(last.stream, STREAM);
    assert_eq!(
        (last.first_seq, last.events.as_slice()),
        (1, [Event::ReleaseAll].as_slice())
    );
    sender.handle_event(start + ms(8_500), key(30, false));
    assert_eq!(sender.waiting(), 1);
}

#[test]
fn what_waits_is_bounded() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    for at in 0..3 * INPUT_WAITING_MAX {
        sender.handle_event(start, click(at % 2 == 0));
        assert!(sender.waiting() <= INPUT_WAITING_MAX);
    }
    let sent = packet(&mut sender, start).unwrap();
    assert_ne!(sent.stream, STREAM);
    assert_eq!(sent.events[0], Event::ReleaseAll);
}

#[test]
fn what_is_pressed_between_two_connections_follows_on_the_next_one() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    sender.handle_event(start, key(30, true));
    assert!(packet(&mut sender, start).is_some());
    sender.handle_interrupted(start + ms(10));
    sender.handle_event(start + ms(900), key(30, false));
    let resumed = start + ms(1_000);
    sender.handle_resumed(resumed);
    let sent = packet(&mut sender, resumed).unwrap();
    assert_eq!(sent.stream, STREAM);
    assert_eq!(sent.events, [key(30, true), key(30, false)]);
    assert!(!sender.is_interrupted());
}

#[test]
fn what_was_pressed_long_before_the_next_connection_is_given_up() {
    let start = Instant::now();
    let mut sender = InputSender::new(STREAM);
    sender.handle_event(start, key(30, true));
    sender.handle_interrupted(start);
    let resumed = start + ms(8_000);
    sender.handle_resumed(resumed);
    let sent = packet(&mut sender, resumed).unwrap();
    assert_ne!(sent.stream, STREAM);
    assert_eq!(sent.events, [Event::ReleaseAll]);
}
