//! Orders of calls that no peer of ours causes: the input of a desktop under hostile viewers. The
//! streams' machines have theirs among the simulated worlds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sandbox_protocol::codec;
use sandbox_protocol::limits::{INPUT_EVENTS_MAX, KEYS_HELD_MAX};
use sandbox_protocol::stream::input::{BUTTONS, Input, Progress, Receiver, Step};
use sandbox_protocol::wire::input::{Event, Move};

use crate::chance::Chance;
use crate::is_long;
use crate::replay::turn;

/// Steps that one packet causes at most: two for each event, a place, and all that is held twice.
const STEPS_MAX: usize = 2 * INPUT_EVENTS_MAX + 1 + 2 * (KEYS_HELD_MAX + BUTTONS as usize);

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant has no other origin; only differences count"
)]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

/// Small numbers, and those around the end.
fn number(chance: &mut Chance) -> u32 {
    let near = chance.below(40) as u32;
    match chance.below(4) {
        0 => u32::MAX - near,
        1 => chance.number() as u32,
        _ => near,
    }
}

fn event(chance: &mut Chance) -> Event {
    let is_down = chance.below(3) > 0;
    let [x, y] = [(); 2].map(|()| number(chance) as u16);
    match chance.below(9) {
        8 => Event::MoveBy {
            dx: x.cast_signed(),
            dy: y.cast_signed(),
        },
        0 => Event::ReleaseAll,
        1 => Event::Wheel {
            dx: 1,
            dy: -1,
            x,
            y,
        },
        2 => Event::Button {
            button: chance.below(9) as u8,
            is_down,
            x,
            y,
        },
        _ => Event::Key {
            code: chance.below(60) as u16,
            keysym: chance.below(60) as u32,
            is_down,
        },
    }
}

/// What is down: no key or button goes down twice, or up without having been down.
#[derive(Default)]
struct Desktop {
    keys: BTreeSet<(u16, u32)>,
    buttons: BTreeSet<u8>,
}

impl Desktop {
    fn take(&mut self, receiver: &mut Receiver, seed: u64) {
        let mut steps = 0;
        while let Some(step) = receiver.poll_step() {
            steps += 1;
            match step {
                Step::Key {
                    code,
                    keysym,
                    is_down,
                } => {
                    let key = (code, keysym);
                    let is_new = match is_down {
                        true => self.keys.insert(key),
                        false => self.keys.remove(&key),
                    };
                    assert!(is_new, "seed {seed}: {step:?}");
                }
                Step::Button { button, is_down } => {
                    assert!(button < BUTTONS, "seed {seed}");
                    let is_new = match is_down {
                        true => self.buttons.insert(button),
                        false => self.buttons.remove(&button),
                    };
                    assert!(is_new, "seed {seed}: {step:?}");
                }
                Step::Place { .. } | Step::Wheel { .. } | Step::MoveBy { .. } => (),
            }
        }
        assert!(steps <= STEPS_MAX, "seed {seed}: {steps} steps");
        assert!(self.keys.len() <= KEYS_HELD_MAX, "seed {seed}");
    }

    fn is_free(&self) -> bool {
        self.keys.is_empty() && self.buttons.is_empty()
    }
}

#[test]
fn hostile_viewers_leave_nothing_pressed() {
    let _turn = turn();
    let (seeds, calls) = if is_long() { (60, 30_000) } else { (3, 10_000) };
    for seed in 0..seeds {
        let mut chance = Chance::new(seed);
        let mut now = epoch();
        let mut receiver = Receiver::default();
        let mut desktop = Desktop::default();
        for _ in 0..calls {
            now += Duration::from_millis(chance.below(3) * chance.below(900));
            match chance.below(20) {
                0 => receiver.handle_detached(),
                1 => now -= Duration::from_millis(chance.below(50)),
                2 => {
                    receiver.handle_detached();
                    desktop.take(&mut receiver, seed);
                    assert!(desktop.is_free(), "seed {seed}");
                    receiver = Receiver::resume(receiver.progress().to_vec());
                }
                3 => receiver.handle_timeout(now),
                _ => {
                    let count = chance.below(INPUT_EVENTS_MAX as u64 + 1);
                    let events: Vec<_> = (0..count).map(|_| event(&mut chance)).collect();
                    let held: Vec<_> = (0..chance.below(33)).map(|it| it as u16).collect();
                    let next = receiver.applied().wrapping_add(1);
                    let pointer = Move {
                        after: receiver.applied().wrapping_sub(chance.below(3) as u32),
                        number: number(&mut chance),
                        x: 1,
                        y: 2,
                    };
                    let first_seq = match chance.below(3) {
                        0 => number(&mut chance),
                        1 => 1,
                        _ => next.wrapping_sub(chance.below(4) as u32),
                    };
                    let input = Input {
                        stream: chance.below(12),
                        first_seq,
                        events: &events,
                        pointer: (chance.below(2) == 0).then_some(pointer),
                        held: (chance.below(3) == 0).then_some(&held),
                    };
                    if let Some(ack) = receiver.handle_input(&input, now) {
                        assert_eq!(ack.stream, input.stream, "seed {seed}");
                    }
                }
            }
            desktop.take(&mut receiver, seed);
            // What is held is confirmed or goes up: there is a time for it.
            let is_held = !desktop.keys.is_empty();
            assert!(!is_held || receiver.poll_timeout().is_some(), "seed {seed}");
        }
        receiver.handle_detached();
        desktop.take(&mut receiver, seed);
        assert!(desktop.is_free(), "seed {seed}");
    }
}

/// The notes of a worker come from another one, which may have been taken over.
#[test]
fn notes_of_a_worker_may_hold_any_numbers() {
    let _turn = turn();
    let now = epoch();
    let mut chance = Chance::new(0);
    for case in 0..2_000 {
        let mut bytes = chance.below(3).to_le_bytes().to_vec();
        bytes.extend(number(&mut chance).to_le_bytes());
        bytes.extend(number(&mut chance).to_le_bytes());
        bytes.push(1);
        bytes.extend(number(&mut chance).to_le_bytes());
        let progress: Progress = codec::decode(&bytes).unwrap();
        let mut receiver = Receiver::resume(vec![progress; case % 20]);
        assert!(receiver.progress().len() <= 8);
        let events = [event(&mut chance), event(&mut chance)];
        for first_seq in [
            1,
            2,
            receiver.applied(),
            u32::MAX - 2,
            u32::MAX - 1,
            u32::MAX,
        ] {
            let input = Input {
                stream: chance.below(3),
                first_seq,
                events: &events,
                pointer: None,
                held: None,
            };
            receiver.handle_input(&input, now);
            while receiver.poll_step().is_some() {}
        }
    }
}
