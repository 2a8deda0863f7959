//! Holds the receiver of input against lost, doubled and reordered packets.
#![expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]

use std::time::{Duration, Instant};

use super::{Ack, BUTTONS, HELD_CONFIRMATION_MAX, Input, Receiver, Step};
use crate::limits::{INPUT_EVENTS_MAX, KEYS_HELD_MAX};
use crate::wire::input::{Event, HERE, Move};

const STREAM: u64 = 7;

fn key(code: u16, is_down: bool) -> Event {
    Event::Key {
        code,
        keysym: u32::from(code),
        is_down,
    }
}

fn key_step(code: u16, is_down: bool) -> Step {
    Step::Key {
        code,
        keysym: u32::from(code),
        is_down,
    }
}

fn events(first_seq: u32, events: &[Event]) -> Input<'_> {
    Input {
        stream: STREAM,
        first_seq,
        events,
        pointer: None,
        held: None,
    }
}

fn moved(next_seq: u32, after: u32, number: u32, x: u16) -> Input<'static> {
    Input {
        pointer: Some(Move {
            after,
            number,
            x,
            y: 0,
        }),
        ..events(next_seq, &[])
    }
}

fn ack(seq: u32) -> Option<Ack> {
    Some(Ack {
        stream: STREAM,
        seq,
    })
}

fn steps(receiver: &mut Receiver) -> Vec<Step> {
    std::iter::from_fn(|| receiver.poll_step()).collect()
}

#[test]
fn a_packet_is_applied_once_however_often_it_comes() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let typed = [key(30, true), key(30, false)];
    assert_eq!(receiver.handle_input(&events(1, &typed), now), ack(2));
    assert_eq!(
        steps(&mut receiver),
        [key_step(30, true), key_step(30, false)]
    );
    assert_eq!(receiver.handle_input(&events(1, &typed), now), ack(2));
    assert_eq!(steps(&mut receiver), []);
    assert_eq!(receiver.applied_count(), 2);
}

#[test]
fn nothing_behind_a_gap_is_applied_until_the_gap_is_filled() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    receiver.handle_input(&events(1, &[key(1, true)]), now);
    assert_eq!(
        receiver.handle_input(&events(3, &[key(3, true)]), now),
        ack(1)
    );
    assert_eq!(steps(&mut receiver), [key_step(1, true)]);
    let all = [key(1, true), key(2, true), key(3, true)];
    assert_eq!(receiver.handle_input(&events(1, &all), now), ack(3));
    assert_eq!(steps(&mut receiver), [key_step(2, true), key_step(3, true)]);
}

#[test]
fn sequence_numbers_outside_the_count_are_ignored() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let typed = [key(30, true), key(30, false)];
    for first_seq in [0, 2, u32::MAX - 1, u32::MAX] {
        assert_eq!(
            receiver.handle_input(&events(first_seq, &typed), now),
            None,
            "{first_seq}"
        );
    }
    receiver.handle_input(&events(1, &typed), now);
    steps(&mut receiver);
    for first_seq in [0, u32::MAX - 1, u32::MAX] {
        receiver.handle_input(&events(first_seq, &typed), now);
        assert_eq!(steps(&mut receiver), [], "{first_seq}");
    }
}

#[test]
fn more_events_than_a_packet_may_hold_are_not_applied() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let flood: Vec<_> = (0..100).map(|it| key(it + 1, it % 2 == 0)).collect();
    let applied = u32::try_from(INPUT_EVENTS_MAX).unwrap();
    assert_eq!(receiver.handle_input(&events(1, &flood), now), ack(applied));
}

#[test]
fn a_key_that_is_down_does_not_go_down_again() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let repeated = [key(30, true), key(30, true), key(30, false), key(30, false)];
    assert_eq!(receiver.handle_input(&events(1, &repeated), now), ack(4));
    assert_eq!(
        steps(&mut receiver),
        [key_step(30, true), key_step(30, false)]
    );
}

#[test]
fn a_key_goes_up_with_the_keysym_it_went_down_with() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let shifted = Event::Key {
        code: 30,
        keysym: 0x41,
        is_down: false,
    };
    receiver.handle_input(&events(1, &[key(30, true), shifted]), now);
    assert_eq!(
        steps(&mut receiver),
        [key_step(30, true), key_step(30, false)]
    );
}

#[test]
fn no_more_keys_are_held_than_the_limit() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let limit = u16::try_from(KEYS_HELD_MAX).unwrap();
    for code in 1..=limit + 8 {
        receiver.handle_input(&events(u32::from(code), &[key(code, true)]), now);
    }
    assert_eq!(steps(&mut receiver).len(), KEYS_HELD_MAX);
    receiver.handle_detached();
    assert_eq!(steps(&mut receiver).len(), KEYS_HELD_MAX);
}

#[test]
fn a_button_acts_where_the_viewer_pressed_it() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let click = [true, false].map(|is_down| Event::Button {
        button: 0,
        is_down,
        x: 10,
        y: 20,
    });
    receiver.handle_input(&events(1, &click), now);
    let place = Step::Place { x: 10, y: 20 };
    let button = |is_down| Step::Button { button: 0, is_down };
    assert_eq!(
        steps(&mut receiver),
        [place, button(true), place, button(false)]
    );
}

#[test]
fn a_button_nobody_has_only_moves_the_pointer() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let click = Event::Button {
        button: BUTTONS,
        is_down: true,
        x: 1,
        y: 2,
    };
    receiver.handle_input(&events(1, &[click]), now);
    assert_eq!(steps(&mut receiver), [Step::Place { x: 1, y: 2 }]);
}

#[test]
fn of_moves_only_a_newer_one_counts() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    for number in [5, 4, 5, 6] {
        let x = u16::try_from(number).unwrap();
        assert_eq!(receiver.handle_input(&moved(1, 0, number, x), now), None);
    }
    assert_eq!(
        steps(&mut receiver),
        [Step::Place { x: 5, y: 0 }, Step::Place { x: 6, y: 0 }]
    );
}

#[test]
fn a_move_waits_for_its_events_and_never_undoes_a_click() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    receiver.handle_input(&moved(2, 1, 1, 1), now);
    assert_eq!(steps(&mut receiver), [], "unknown stream past its start");
    receiver.handle_input(&events(1, &[key(1, true)]), now);
    receiver.handle_input(&moved(3, 2, 2, 2), now);
    assert_eq!(
        steps(&mut receiver),
        [key_step(1, true)],
        "ahead of event 2"
    );
    let wheel = Event::Wheel {
        dx: 0,
        dy: 120,
        x: 9,
        y: 9,
    };
    receiver.handle_input(&events(2, &[wheel]), now);
    receiver.handle_input(&moved(2, 1, 3, 3), now);
    let turned = [Step::Place { x: 9, y: 9 }, Step::Wheel { dx: 0, dy: 120 }];
    assert_eq!(steps(&mut receiver), turned, "older than the wheel step");
    receiver.handle_input(&events(3, &[key(1, false)]), now);
    receiver.handle_input(&moved(3, 2, 4, 4), now);
    assert_eq!(
        steps(&mut receiver),
        [key_step(1, false), Step::Place { x: 4, y: 0 }],
        "a key does not place the pointer"
    );
}

#[test]
fn a_pointer_moved_by_steps_is_left_where_it_is() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let (x, y) = HERE;
    let held = [
        Event::MoveBy { dx: 3, dy: -4 },
        Event::Button {
            button: 0,
            is_down: true,
            x,
            y,
        },
        Event::Wheel {
            dx: 0,
            dy: 120,
            x,
            y,
        },
    ];
    receiver.handle_input(&events(1, &held), now);
    let expected = [
        Step::MoveBy { dx: 3, dy: -4 },
        Step::Button {
            button: 0,
            is_down: true,
        },
        Step::Wheel { dx: 0, dy: 120 },
    ];
    assert_eq!(steps(&mut receiver), expected);
    receiver.handle_input(&events(4, &[Event::MoveBy { dx: 1, dy: 1 }]), now);
    receiver.handle_input(&moved(5, 3, 1, 9), now);
    let expected = [Step::MoveBy { dx: 1, dy: 1 }];
    assert_eq!(steps(&mut receiver), expected, "a move from before it");
}

#[test]
fn keys_that_the_viewer_does_not_name_go_up() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let mut packet = events(1, &[]);
    let down = [key(30, true), key(42, true)];
    packet.events = &down;
    packet.held = Some(&[30, 42]);
    receiver.handle_input(&packet, now);
    assert_eq!(steps(&mut receiver).len(), 2);
    let late = Input {
        held: Some(&[]),
        ..events(2, &[])
    };
    receiver.handle_input(&late, now);
    assert_eq!(steps(&mut receiver), [], "taken before the newest event");
    let confirmed = Input {
        held: Some(&[42]),
        ..events(3, &[])
    };
    receiver.handle_input(&confirmed, now);
    assert_eq!(steps(&mut receiver), [key_step(30, false)]);
}

#[test]
fn three_seconds_without_confirmation_release_everything() {
    let start = Instant::now();
    let mut receiver = Receiver::default();
    receiver.handle_input(&events(1, &[key(42, true), key(30, true)]), start);
    let later = start + Duration::from_secs(2);
    let confirmed = Input {
        held: Some(&[42, 30]),
        ..events(3, &[])
    };
    receiver.handle_input(&confirmed, later);
    receiver.handle_input(&moved(3, 2, 1, 1), later + Duration::from_secs(1));
    steps(&mut receiver);
    let at = later + HELD_CONFIRMATION_MAX;
    assert_eq!(receiver.poll_timeout().map(|it| it.at), Some(at));
    receiver.handle_timeout(at - Duration::from_millis(1));
    assert_eq!(steps(&mut receiver), []);
    receiver.handle_timeout(at);
    assert_eq!(
        steps(&mut receiver),
        [key_step(30, false), key_step(42, false)]
    );
    assert_eq!(receiver.poll_timeout(), None);
    assert_eq!(
        receiver.handle_input(&events(3, &[key(30, false)]), at),
        ack(3)
    );
    assert_eq!(steps(&mut receiver), [], "it is up already");
}

#[test]
fn a_held_button_alone_needs_no_confirmation() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let down = Event::Button {
        button: 0,
        is_down: true,
        x: 0,
        y: 0,
    };
    receiver.handle_input(&events(1, &[down]), now);
    assert_eq!(receiver.poll_timeout(), None);
    steps(&mut receiver);
    receiver.handle_detached();
    let up = Step::Button {
        button: 0,
        is_down: false,
    };
    assert_eq!(steps(&mut receiver), [up]);
}

#[test]
fn a_fresh_stream_starts_at_one_and_releases_what_the_last_one_held() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    let typed = [key(30, true)];
    receiver.handle_input(&events(1, &typed), now);
    steps(&mut receiver);
    let fresh = Input {
        stream: 8,
        ..events(1, &[Event::ReleaseAll])
    };
    assert_eq!(
        receiver.handle_input(&fresh, now),
        Some(Ack { stream: 8, seq: 1 })
    );
    assert_eq!(steps(&mut receiver), [key_step(30, false)]);
    assert_eq!(
        receiver.handle_input(&events(1, &typed), now),
        ack(1),
        "a late duplicate is acknowledged"
    );
    assert_eq!(steps(&mut receiver), [], "and not applied again");
    assert_eq!(receiver.applied(), 1);
    assert_eq!(receiver.applied_count(), 2);
}

#[test]
fn a_viewer_that_comes_back_goes_on_where_it_was() {
    let now = Instant::now();
    let mut receiver = Receiver::default();
    receiver.handle_input(&events(1, &[key(1, true)]), now);
    let typed = [key(9, true)];
    let other = Input {
        stream: 8,
        ..events(1, &typed)
    };
    receiver.handle_input(&other, now);
    steps(&mut receiver);
    assert_eq!(
        receiver.handle_input(&events(2, &[key(2, true)]), now),
        ack(2)
    );
    assert_eq!(
        steps(&mut receiver),
        [key_step(9, false), key_step(2, true)]
    );
}

/// SplitMix64: the same seed gives the same world.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A viewer that types key after key over a link that loses, doubles and reorders in both
/// directions. Odd events press the key that the next event releases.
fn simulate(seed: u64, total: u32) {
    let now = Instant::now();
    let mut chance = Chance(seed);
    let mut receiver = Receiver::default();
    let event = |seq: u32| {
        let code = u16::try_from((seq - 1) / 2 + 1).unwrap();
        key(code, seq % 2 == 1)
    };
    let (mut issued, mut acked) = (0_u32, 0_u32);
    let mut link: Vec<(u32, Vec<Event>)> = Vec::new();
    let mut acks: Vec<u32> = Vec::new();
    let mut seen = Vec::new();
    for round in 0.. {
        assert!(round < 200_000, "seed {seed}: no progress at {acked}");
        if acked == total {
            break;
        }
        let window = u32::try_from(INPUT_EVENTS_MAX).unwrap();
        if issued < total && issued - acked < window && chance.below(3) > 0 {
            issued += 1;
        }
        if issued > acked {
            let packet: Vec<_> = (acked + 1..=issued).map(event).collect();
            for _ in 0..chance.below(3) {
                link.push((acked + 1, packet.clone()));
            }
        }
        while link.len() > 8 || (!link.is_empty() && chance.below(2) == 0) {
            let at = usize::try_from(chance.below(link.len() as u64)).unwrap();
            let (first_seq, packet) = link.swap_remove(at);
            if let Some(ack) = receiver.handle_input(&events(first_seq, &packet), now)
                && chance.below(3) > 0
            {
                acks.push(ack.seq);
            }
            seen.extend(steps(&mut receiver));
        }
        if !acks.is_empty() && chance.below(2) == 0 {
            let at = usize::try_from(chance.below(acks.len() as u64)).unwrap();
            acked = acked.max(acks.swap_remove(at));
        }
    }
    let expected: Vec<_> = (1..=total)
        .map(|seq| key_step(u16::try_from((seq - 1) / 2 + 1).unwrap(), seq % 2 == 1))
        .collect();
    assert_eq!(seen, expected, "seed {seed}");
}

#[test]
fn every_event_is_applied_exactly_once_in_order_on_a_bad_link() {
    for seed in 0..200 {
        println!("seed {seed}");
        simulate(seed, 200);
    }
}
