//! Does on the X server what the viewer did, by XTEST.

use sandbox_protocol::Size;
use sandbox_protocol::stream::input::Step;
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConnectionExt as _, KEY_PRESS_EVENT,
    KEY_RELEASE_EVENT, MOTION_NOTIFY_EVENT, MapIndex,
};
use x11rb::protocol::xtest::ConnectionExt as _;

use crate::display::{Display, DisplayError};
use crate::keymap::{Choice, Keymap, Mapping};

/// Units of one wheel step.
const WHEEL_STEP: i32 = 120;

/// Wheel steps that one event may make: a flick of a free-running wheel.
const WHEEL_STEPS_MAX: i32 = 20;

/// X buttons of the DOM's buttons 0 to 4; X keeps 4 to 7 for the wheel.
const BUTTONS: [u8; 5] = [1, 2, 3, 8, 9];

/// The detail of a motion that is no place (the XTEST extension's protocol: `FakeInput`).
const RELATIVE: u8 = 1;

/// Wheel buttons: (towards the negative, towards the positive).
const VERTICAL: (u8, u8) = (4, 5);
const HORIZONTAL: (u8, u8) = (6, 7);

/// Input of one display.
#[derive(Debug, Default)]
pub(crate) struct Injection {
    keymap: Keymap,
    /// The keymap must be read before the next key.
    is_known: bool,
    pressed: Vec<Pressed>,
    is_caps_locked: bool,
    wheel_x: i32,
    wheel_y: i32,
}

#[derive(Clone, Copy, Debug)]
struct Pressed {
    code: u16,
    keysym: u32,
    keycode: u8,
}

impl Injection {
    /// Keycodes mean something else from now on.
    pub(crate) fn handle_keymap_changed(&mut self, first: u8, count: u8) {
        let is_ours = count == 1 && self.keymap.is_spare(first);
        self.is_known &= is_ours;
    }

    /// Caps Lock is on, or off.
    pub(crate) const fn handle_lock_changed(&mut self, is_on: bool) {
        self.is_caps_locked = is_on;
    }

    /// Puts one step into the connection's buffer.
    pub(crate) fn apply(&mut self, step: Step, display: &Display) -> Result<(), DisplayError> {
        match step {
            Step::Key {
                code,
                keysym,
                is_down: true,
            } => self.press(code, keysym, display),
            Step::Key {
                code,
                keysym,
                is_down: false,
            } => self.release(code, keysym, display),
            Step::Place { x, y } => place(x, y, display),
            Step::Button { button, is_down } => {
                let Some(&button) = BUTTONS.get(usize::from(button)) else {
                    return Ok(());
                };
                fake(
                    display,
                    if is_down {
                        BUTTON_PRESS_EVENT
                    } else {
                        BUTTON_RELEASE_EVENT
                    },
                    button,
                )
            }
            Step::Wheel { dx, dy } => {
                turn(&mut self.wheel_x, dx, HORIZONTAL, display)?;
                turn(&mut self.wheel_y, dy, VERTICAL, display)
            }
            Step::MoveBy { dx, dy } => move_by(dx, dy, display),
        }
    }

    fn press(&mut self, code: u16, keysym: u32, display: &Display) -> Result<(), DisplayError> {
        if !self.is_known {
            self.keymap.set(read_mapping(display)?);
            self.is_known = true;
        }
        let down: Vec<u8> = self.pressed.iter().map(|it| it.keycode).collect();
        let Some(choice) = self.keymap.choose(code, keysym, &down) else {
            tracing::debug!("a key that means nothing here");
            return Ok(());
        };
        let Choice {
            keycode,
            meaning,
            caps_lock,
        } = choice;
        if let Some(wanted) = caps_lock {
            self.lock_caps(wanted, &down, display)?;
        }
        if let Some(keysym) = meaning {
            // The same at both levels, so that Shift, down for the viewer's layout, changes
            // nothing. The reply comes after every program was told.
            let x = display.x();
            x.change_keyboard_mapping(1, keycode, 2, &[keysym, keysym])?;
            x.get_input_focus()?.reply()?;
        }
        self.pressed.push(Pressed {
            code,
            keysym,
            keycode,
        });
        fake(display, KEY_PRESS_EVENT, keycode)
    }

    /// The viewer's Caps Lock may have been on before it came.
    fn lock_caps(
        &mut self,
        wanted: bool,
        down: &[u8],
        display: &Display,
    ) -> Result<(), DisplayError> {
        let Some(keycode) = self.keymap.caps_lock() else {
            return Ok(());
        };
        if wanted == self.is_caps_locked || down.contains(&keycode) {
            return Ok(());
        }
        self.is_caps_locked = wanted;
        fake(display, KEY_PRESS_EVENT, keycode)?;
        fake(display, KEY_RELEASE_EVENT, keycode)
    }

    fn release(&mut self, code: u16, keysym: u32, display: &Display) -> Result<(), DisplayError> {
        let is_it = |it: &Pressed| (it.code, it.keysym) == (code, keysym);
        let Some(at) = self.pressed.iter().position(is_it) else {
            return Ok(());
        };
        let Pressed { keycode, .. } = self.pressed.remove(at);
        fake(display, KEY_RELEASE_EVENT, keycode)
    }
}

fn fake(display: &Display, kind: u8, detail: u8) -> Result<(), DisplayError> {
    display
        .x()
        .xtest_fake_input(kind, detail, 0, x11rb::NONE, 0, 0, 0)?;
    Ok(())
}

fn place(x: u16, y: u16, display: &Display) -> Result<(), DisplayError> {
    let Size { width, height } = display.size();
    let within =
        |at: u16, side: u16| i16::try_from(at.min(side.saturating_sub(1))).unwrap_or(i16::MAX);
    let (x, y) = (within(x, width), within(y, height));
    display
        .x()
        .xtest_fake_input(MOTION_NOTIFY_EVENT, 0, 0, display.root(), x, y, 0)?;
    Ok(())
}

fn move_by(dx: i16, dy: i16, display: &Display) -> Result<(), DisplayError> {
    display
        .x()
        .xtest_fake_input(MOTION_NOTIFY_EVENT, RELATIVE, 0, x11rb::NONE, dx, dy, 0)?;
    Ok(())
}

fn turn(
    rest: &mut i32,
    by: i16,
    (negative, positive): (u8, u8),
    display: &Display,
) -> Result<(), DisplayError> {
    *rest += i32::from(by);
    let steps = *rest / WHEEL_STEP;
    *rest %= WHEEL_STEP;
    let button = if steps < 0 { negative } else { positive };
    for _ in 0..steps.abs().min(WHEEL_STEPS_MAX) {
        fake(display, BUTTON_PRESS_EVENT, button)?;
        fake(display, BUTTON_RELEASE_EVENT, button)?;
    }
    Ok(())
}

fn read_mapping(display: &Display) -> Result<Mapping, DisplayError> {
    let x = display.x();
    let (first, last) = (x.setup().min_keycode, x.setup().max_keycode);
    let count = last.saturating_sub(first).saturating_add(1);
    let keysyms = x.get_keyboard_mapping(first, count)?;
    let modifiers = x.get_modifier_mapping()?;
    let (keysyms, modifiers) = (keysyms.reply()?, modifiers.reply()?);
    let per_modifier = usize::from(modifiers.keycodes_per_modifier());
    let shifts = modifiers
        .keycodes
        .iter()
        .skip(usize::from(u8::from(MapIndex::SHIFT)) * per_modifier)
        .take(per_modifier);
    Ok(Mapping {
        first,
        columns: keysyms.keysyms_per_keycode.into(),
        shifts: shifts.copied().filter(|it| *it != 0).collect(),
        keysyms: keysyms.keysyms,
    })
}
