//! What keys and pointer mean: input for the desktop, or wishes about the window.

use std::collections::BTreeSet;

use sandbox_protocol::wire::input::{Event as Input, HERE};
use winit::event::{ElementState, KeyEvent, MouseButton, MouseScrollDelta, WindowEvent};
use winit::keyboard::{Key, KeyCode, KeyLocation, ModifiersState, NamedKey, PhysicalKey};

use super::layout::Layout;
use super::touch::Act;
use crate::keys::{evdev_code, is_composing, keysym};
use crate::net::Command;

/// One step of a wheel on the wire.
const STEP: f64 = 120.0;

/// Pixels that a touchpad moves for one step: what browsers scroll for it.
const STEP_PIXELS: f64 = 100.0;

const CHORD: ModifiersState = ModifiersState::CONTROL
    .union(ModifiersState::ALT)
    .union(ModifiersState::SHIFT);

/// What a key means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Input(Input),
    /// Several characters of one key.
    Text(String),
    /// A key that makes programs paste.
    Paste(Input),
    Fullscreen,
    Figures,
    TakeControl,
    Capture,
    Leave,
}

/// Keys that are held.
#[derive(Debug, Default)]
pub(super) struct Keyboard {
    modifiers: ModifiersState,
    /// Keys whose press meant something here: their release is not the desktop's either.
    ours: BTreeSet<KeyCode>,
}

impl Keyboard {
    pub(super) const fn handle_modifiers(&mut self, modifiers: ModifiersState) {
        self.modifiers = modifiers;
    }

    pub(super) fn handle_focus_lost(&mut self) {
        self.ours.clear();
    }

    pub(super) fn handle_key(&mut self, event: &KeyEvent) -> Option<Meaning> {
        // The desktop repeats keys by itself.
        if event.repeat {
            return None;
        }
        let is_down = event.state == ElementState::Pressed;
        self.meaning(
            event.physical_key,
            &event.logical_key,
            event.location,
            is_down,
        )
    }

    pub(super) fn meaning(
        &mut self,
        place: PhysicalKey,
        key: &Key,
        location: KeyLocation,
        is_down: bool,
    ) -> Option<Meaning> {
        if let PhysicalKey::Code(code) = place {
            if !is_down && self.ours.remove(&code) {
                return None;
            }
            if let Some(meaning) = self.wish(code).filter(|_| is_down) {
                self.ours.insert(code);
                return Some(meaning);
            }
        }
        if is_composing(key) {
            return None;
        }
        if let Key::Character(text) = key
            && text.chars().nth(1).is_some()
        {
            return is_down.then(|| Meaning::Text(text.to_string()));
        }
        let (code, keysym) = (evdev_code(place), keysym(key, location));
        let input = Input::Key {
            code,
            keysym,
            is_down,
        };
        (code != 0 || keysym != 0).then_some(if is_down && self.pastes(place, key) {
            Meaning::Paste(input)
        } else {
            Meaning::Input(input)
        })
    }

    /// Ctrl+V, Ctrl+Shift+V and Shift+Insert. Where the layout has no Latin letters V is where
    /// it is on others.
    fn pastes(&self, place: PhysicalKey, key: &Key) -> bool {
        let held = self.modifiers;
        let is_v = match key {
            Key::Character(text) if text.is_ascii() => text.eq_ignore_ascii_case("v"),
            Key::Character(_) => place == PhysicalKey::Code(KeyCode::KeyV),
            Key::Named(_) | Key::Unidentified(_) | Key::Dead(_) => false,
        };
        if is_v {
            return held.difference(ModifiersState::SHIFT) == ModifiersState::CONTROL;
        }
        *key == Key::Named(NamedKey::Insert) && held == ModifiersState::SHIFT
    }

    fn wish(&self, code: KeyCode) -> Option<Meaning> {
        let held = self.modifiers;
        let full = ModifiersState::CONTROL.union(ModifiersState::ALT);
        if (code == KeyCode::F11 && held.is_empty()) || (code == KeyCode::Enter && held == full) {
            return Some(Meaning::Fullscreen);
        }
        if held != CHORD {
            return None;
        }
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the other keys are the desktop's"
        )]
        match code {
            KeyCode::KeyS => Some(Meaning::Figures),
            KeyCode::KeyC => Some(Meaning::TakeControl),
            KeyCode::KeyM => Some(Meaning::Capture),
            KeyCode::KeyQ => Some(Meaning::Leave),
            _ => None,
        }
    }
}

/// The pointer over the desktop.
#[derive(Debug, Default)]
pub(super) struct Pointer {
    x: u16,
    y: u16,
    /// What is left of steps that were no whole 120ths.
    rest: (f64, f64),
}

impl Pointer {
    /// It moves by steps from here on: where it is on the desktop is not known until it comes to a
    /// place again.
    pub(super) const fn handle_captured(&mut self) {
        (self.x, self.y) = HERE;
    }

    pub(super) fn handle_event(&mut self, event: &WindowEvent, layout: &Layout) -> Option<Command> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the others are no pointer's"
        )]
        match event {
            WindowEvent::CursorMoved { position, .. } => {
                let (x, y) = layout.desktop_at(position.x, position.y);
                (self.x, self.y) = (x, y);
                Some(Command::Move { x, y })
            }
            WindowEvent::MouseInput { state, button, .. } => Some(Command::Input(Input::Button {
                button: button_number(*button)?,
                is_down: *state == ElementState::Pressed,
                x: self.x,
                y: self.y,
            })),
            WindowEvent::MouseWheel { delta, .. } => {
                // Here right and down are what the contents do; there, what the view does.
                let (dx, dy) = match delta {
                    MouseScrollDelta::LineDelta(x, y) => {
                        (-f64::from(*x) * STEP, -f64::from(*y) * STEP)
                    }
                    MouseScrollDelta::PixelDelta(by) => {
                        (-by.x / STEP_PIXELS * STEP, -by.y / STEP_PIXELS * STEP)
                    }
                };
                self.turn(dx, dy)
            }
            _ => None,
        }
    }

    /// What the fingers do.
    pub(super) fn handle_act(&mut self, act: Act, layout: &Layout) -> Option<Command> {
        let (Act::Move(place) | Act::Button { place, .. } | Act::Scroll { place, .. }) = act;
        let (x, y) = layout.desktop_at(place.0, place.1);
        (self.x, self.y) = (x, y);
        match act {
            Act::Move(_) => Some(Command::Move { x, y }),
            Act::Button {
                button, is_down, ..
            } => Some(Command::Input(Input::Button {
                button,
                is_down,
                x,
                y,
            })),
            Act::Scroll { by, .. } => {
                let steps = |pixels: f64| -pixels / STEP_PIXELS * STEP;
                self.turn(steps(by.0), steps(by.1))
            }
        }
    }

    fn turn(&mut self, dx: f64, dy: f64) -> Option<Command> {
        // What is no number would stay in the rest for ever.
        let finite = |it: f64| if it.is_finite() { it } else { 0.0 };
        let (dx, dy) = (finite(self.rest.0 + dx), finite(self.rest.1 + dy));
        self.rest = (dx.fract(), dy.fract());
        let (dx, dy) = (dx.trunc() as i16, dy.trunc() as i16);
        (dx != 0 || dy != 0).then_some(Command::Input(Input::Wheel {
            dx,
            dy,
            x: self.x,
            y: self.y,
        }))
    }
}

const fn button_number(button: MouseButton) -> Option<u8> {
    match button {
        MouseButton::Left => Some(0),
        MouseButton::Middle => Some(1),
        MouseButton::Right => Some(2),
        MouseButton::Back => Some(3),
        MouseButton::Forward => Some(4),
        MouseButton::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::monitors::Part;
    use super::*;

    fn press(keyboard: &mut Keyboard, code: KeyCode, key: Key, is_down: bool) -> Option<Meaning> {
        keyboard.meaning(
            PhysicalKey::Code(code),
            &key,
            KeyLocation::Standard,
            is_down,
        )
    }

    #[test]
    fn keys_are_the_desktops_but_for_a_few_chords() {
        let mut keyboard = Keyboard::default();
        let letter = || Key::Character("s".into());
        let input = |is_down| {
            Some(Meaning::Input(Input::Key {
                code: 31,
                keysym: 0x73,
                is_down,
            }))
        };
        assert_eq!(
            press(&mut keyboard, KeyCode::KeyS, letter(), true),
            input(true)
        );
        assert_eq!(
            press(&mut keyboard, KeyCode::KeyS, letter(), false),
            input(false)
        );
        keyboard.handle_modifiers(CHORD);
        let figures = press(&mut keyboard, KeyCode::KeyS, letter(), true);
        assert_eq!(figures, Some(Meaning::Figures));
        keyboard.handle_modifiers(ModifiersState::empty());
        assert_eq!(press(&mut keyboard, KeyCode::KeyS, letter(), false), None);
        let f11 = press(&mut keyboard, KeyCode::F11, Key::Named(NamedKey::F11), true);
        assert_eq!(f11, Some(Meaning::Fullscreen));
    }

    #[test]
    fn the_keys_that_paste_are_told_when_they_go_down() {
        let (control, shift) = (ModifiersState::CONTROL, ModifiersState::SHIFT);
        let letter = |text: &str| Key::Character(text.into());
        let insert = Key::Named(NamedKey::Insert);
        let pastes = |held, code, key: &Key, is_down| {
            let mut keyboard = Keyboard::default();
            keyboard.handle_modifiers(held);
            let meaning = press(&mut keyboard, code, key.clone(), is_down);
            matches!(meaning, Some(Meaning::Paste(_)))
        };
        for (held, code, key, expected) in [
            (control, KeyCode::KeyV, letter("v"), true),
            (control | shift, KeyCode::KeyV, letter("V"), true),
            (shift, KeyCode::Insert, insert.clone(), true),
            // Dvorak's V, and what it has in V's place; a layout without Latin letters.
            (control, KeyCode::Period, letter("v"), true),
            (control, KeyCode::KeyV, letter("k"), false),
            (control, KeyCode::KeyV, letter("м"), true),
            (shift, KeyCode::KeyV, letter("V"), false),
            (
                control | ModifiersState::ALT,
                KeyCode::KeyV,
                letter("v"),
                false,
            ),
            (control, KeyCode::KeyC, letter("c"), false),
            (control, KeyCode::Insert, insert, false),
        ] {
            let found = pastes(held, code, &key, true);
            assert_eq!(found, expected, "{held:?} {code:?} {key:?}");
            assert!(!pastes(held, code, &key, false), "up: {held:?} {code:?}");
        }
    }

    #[test]
    fn only_the_whole_of_what_is_composed_goes_to_the_desktop() {
        let mut keyboard = Keyboard::default();
        let mut press = |key, is_down| press(&mut keyboard, KeyCode::Quote, key, is_down);
        let dead = Key::Dead(Some('´'));
        assert_eq!(press(dead.clone(), true), None, "nor what is in its place");
        assert_eq!(press(dead, false), None);
        let whole = press(Key::Character("é".into()), true);
        let key = Input::Key {
            code: 40,
            keysym: 0xe9,
            is_down: true,
        };
        assert_eq!(whole, Some(Meaning::Input(key)));
        let several = Key::Character("o̧".into());
        let text = Meaning::Text("o̧".to_owned());
        assert_eq!(press(several.clone(), true), Some(text));
        assert_eq!(press(several, false), None);
    }

    #[test]
    fn a_key_without_place_and_meaning_is_nothing() {
        let mut keyboard = Keyboard::default();
        let nothing = press(&mut keyboard, KeyCode::Fn, Key::Dead(None), true);
        assert_eq!(nothing, None);
    }

    #[test]
    fn a_captured_pointer_is_clicked_where_the_desktop_has_it() {
        let mut pointer = Pointer::default();
        pointer.handle_captured();
        let wheel = Command::Input(Input::Wheel {
            dx: 0,
            dy: 120,
            x: u16::MAX,
            y: u16::MAX,
        });
        assert_eq!(pointer.turn(0.0, 120.0), Some(wheel));
    }

    #[test]
    fn what_lies_under_two_fingers_follows_them() {
        let size = sandbox_protocol::Size {
            width: 640,
            height: 400,
        };
        let layout = Layout::new(size, Part::WHOLE, (1_280, 800));
        let scroll = Act::Scroll {
            place: (200.0, 100.0),
            by: (0.0, 50.0),
        };
        let wheel = Command::Input(Input::Wheel {
            dx: 0,
            dy: -60,
            x: 100,
            y: 50,
        });
        let turned = Pointer::default().handle_act(scroll, &layout);
        assert_eq!(turned, Some(wheel));
    }

    #[test]
    fn a_touchpads_small_steps_add_up() {
        let mut pointer = Pointer::default();
        assert_eq!(pointer.turn(0.0, 0.6), None);
        let wheel = |dy| {
            Some(Command::Input(Input::Wheel {
                dx: 0,
                dy,
                x: 0,
                y: 0,
            }))
        };
        assert_eq!(pointer.turn(0.0, 0.6), wheel(1));
        assert_eq!(pointer.turn(0.0, -120.0), wheel(-119));
    }
}
