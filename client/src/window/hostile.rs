//! Sequences of events that no device makes, from seeds: nothing panics, grows or stays pressed.

use std::time::{Duration, Instant};

use sandbox_protocol::Size;
use sandbox_protocol::wire::input::Event as Input;
use winit::event::{Ime, TouchPhase};
use winit::keyboard::{Key, KeyCode, KeyLocation, ModifiersState, NamedKey, PhysicalKey};

use super::chance::Chance;
use super::ime::InputMethod;
use super::input::{Keyboard, Meaning, Pointer};
use super::layout::Layout;
use super::monitors::Part;
use super::paint::Canvas;
use super::text::{Place, Words};
use super::touch::{Touch, Vector};
use crate::net::Command;
use crate::script::typed;

const SEEDS: u64 = 200;
const EVENTS: u64 = 300;
const DESKTOP: Size = Size {
    width: 640,
    height: 400,
};

fn one_of<T: Copy>(chance: &mut Chance, all: &[T]) -> T {
    all[chance.below(all.len() as u64) as usize]
}

fn number(chance: &mut Chance) -> f64 {
    let absurd = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN_POSITIVE,
        -0.0,
        1e300,
        -1e300,
    ];
    if chance.happens(0.3) {
        one_of(chance, &absurd)
    } else {
        chance.below(2_000) as f64 - 500.0
    }
}

/// What the desktop's pointer has been told.
#[derive(Default)]
struct Told {
    pressed: Option<u8>,
    count: usize,
}

impl Told {
    fn handle(&mut self, command: Command) {
        self.count += 1;
        #[expect(clippy::wildcard_enum_match_arm, reason = "fingers mean nothing else")]
        match command {
            Command::Move { x, y } => assert!(x < DESKTOP.width && y < DESKTOP.height),
            Command::Input(Input::Button {
                button, is_down, ..
            }) => {
                let before = if is_down { None } else { Some(button) };
                assert_eq!(self.pressed, before, "{button} {is_down}");
                self.pressed = is_down.then_some(button);
            }
            Command::Input(Input::Wheel { dx, dy, .. }) => assert!((dx, dy) != (0, 0)),
            other => panic!("{other:?} of fingers"),
        }
    }
}

struct Hand {
    touch: Touch,
    pointer: Pointer,
    layout: Layout,
    told: Told,
}

impl Hand {
    fn act(&mut self) {
        while let Some(act) = self.touch.poll_act() {
            if let Some(command) = self.pointer.handle_act(act, &self.layout) {
                self.told.handle(command);
            }
        }
    }

    fn does(&mut self, now: Instant, id: u64, place: Vector, phase: TouchPhase, scale: f64) {
        self.touch.handle_touch(now, (id, place), phase, scale);
        self.act();
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
fn fingers_of_any_kind_leave_nothing_pressed() {
    use TouchPhase::{Cancelled, Ended, Moved, Started};
    for seed in 0..SEEDS {
        let chance = &mut Chance::new(seed);
        let mut now = Instant::now();
        let mut hand = Hand {
            touch: Touch::default(),
            pointer: Pointer::default(),
            layout: Layout::new(DESKTOP, Part::WHOLE, (1_280, 800)),
            told: Told::default(),
        };
        for _ in 0..EVENTS {
            if chance.happens(0.3) {
                now += Duration::from_millis(chance.below(900));
                hand.touch.handle_timeout(now);
                assert!(hand.touch.poll_timeout().is_none_or(|it| it > now));
                hand.act();
            }
            let id = one_of(chance, &[0, 1, 2, 3, u64::MAX]);
            let place = (number(chance), number(chance));
            let phases = [
                Started, Started, Moved, Moved, Moved, Ended, Ended, Cancelled,
            ];
            let phase = one_of(chance, &phases);
            let scale = one_of(chance, &[1.0, 2.0, 0.0, -1.0, f64::NAN, f64::INFINITY]);
            let before = hand.told.count;
            hand.does(now, id, place, phase, scale);
            assert!(hand.told.count - before <= 3, "seed {seed}: {phase:?}");
        }
        hand.touch.cancel();
        hand.act();
        assert_eq!(hand.told.pressed, None, "seed {seed}");
        // The next fingers are fingers.
        let before = hand.told.count;
        hand.does(now, 1, (10.0, 10.0), Started, 1.0);
        hand.does(now, 2, (20.0, 10.0), Started, 1.0);
        hand.does(now, 1, (10.0, 300.0), Moved, 1.0);
        assert_eq!(
            hand.told.count - before,
            2,
            "seed {seed}: a move, and the wheel"
        );
    }
}

fn text(chance: &mut Chance, length: usize) -> String {
    let characters = [
        'a',
        'é',
        '漢',
        '\0',
        '\u{1b}',
        '\n',
        '\t',
        '\u{7f}',
        '\u{9f}',
        '\u{d7ff}',
        '\u{e000}',
        '\u{ffff}',
        '\u{202e}',
        '\u{fe0f}',
        '\u{10ffff}',
        '😀',
    ];
    std::iter::repeat_with(|| one_of(chance, &characters))
        .take(length)
        .collect()
}

/// Every key that goes down goes up again, and means something.
fn check_typed(text: &str) {
    let events: Vec<Input> = typed(text).collect();
    assert!(events.len() <= 2 * text.chars().count());
    for pair in events.chunks(2) {
        let [down, up] = pair else { panic!("{pair:?}") };
        let Input::Key {
            code: 0,
            keysym,
            is_down: true,
        } = *down
        else {
            panic!("{down:?}")
        };
        assert_ne!(keysym, 0);
        let other = Input::Key {
            code: 0,
            keysym,
            is_down: false,
        };
        assert_eq!(*up, other);
    }
}

#[test]
fn an_input_method_that_says_anything_is_typed_or_shown_within_bounds() {
    for seed in 0..SEEDS / 10 {
        let chance = &mut Chance::new(seed);
        let mut input_method = InputMethod::default();
        for _ in 0..20 {
            let length = one_of(chance, &[0, 1, 2, 300, 100_000]);
            let said = text(chance, length);
            let range = chance.happens(0.5).then_some((usize::MAX, 3));
            let ime = match chance.below(4) {
                0 => Ime::Enabled,
                1 => Ime::Disabled,
                2 => Ime::Preedit(said, range),
                _ => Ime::Commit(said),
            };
            if let Some(text) = input_method.handle(ime) {
                check_typed(&text);
            }
            let Some(unfinished) = input_method.unfinished() else {
                continue;
            };
            assert!(unfinished.chars().count() <= 256);
            let window = one_of(chance, &[(1, 1), (30, 20), (640, 400)]);
            let mut pixels = vec![0; (window.0 * window.1) as usize];
            let mut canvas = Canvas {
                pixels: &mut pixels,
                width: window.0,
            };
            let words = Words::new(unfinished, window);
            words.draw(words.area(window, Place::UpperLeft), &mut canvas);
        }
    }
}

#[test]
fn keys_of_any_kind_mean_input_or_a_wish() {
    let codes = [
        PhysicalKey::Code(KeyCode::KeyM),
        PhysicalKey::Code(KeyCode::F11),
        PhysicalKey::Code(KeyCode::Fn),
        PhysicalKey::Unidentified(winit::keyboard::NativeKeyCode::Xkb(u32::MAX)),
    ];
    for seed in 0..SEEDS {
        let chance = &mut Chance::new(seed);
        let mut keyboard = Keyboard::default();
        for _ in 0..EVENTS {
            let bits = chance.number() as u32;
            keyboard.handle_modifiers(ModifiersState::from_bits_truncate(bits));
            let length = chance.below(4) as usize;
            let said = text(chance, length);
            let key = match chance.below(4) {
                0 => Key::Dead(said.chars().next()),
                1 => Key::Named(NamedKey::Insert),
                2 => Key::Unidentified(winit::keyboard::NativeKey::Xkb(u32::MAX)),
                _ => Key::Character(said.as_str().into()),
            };
            let (place, is_down) = (one_of(chance, &codes), chance.happens(0.5));
            match keyboard.meaning(place, &key, KeyLocation::Numpad, is_down) {
                Some(Meaning::Input(Input::Key { code, keysym, .. })) => {
                    assert!(code != 0 || keysym != 0);
                }
                Some(Meaning::Text(text)) => check_typed(&text),
                Some(Meaning::Input(other)) => panic!("{other:?} of a key"),
                Some(
                    Meaning::Paste(_)
                    | Meaning::Fullscreen
                    | Meaning::Figures
                    | Meaning::TakeControl
                    | Meaning::Capture
                    | Meaning::Leave,
                ) => assert!(is_down),
                None => (),
            }
        }
    }
}
