//! Characters that several keys make.

use sandbox_protocol::wire::input::Event as Input;
use x11rb::protocol::xproto::ConnectionExt as _;

use crate::fake::Server;
use crate::{KEY_A, SIZE, World, X_KEYCODE_MIN};

const KEY_E: u8 = 18;
const KEY_QUOTE: u8 = 40;
const KEY_102ND: u8 = 86;
const KEY_RO: u8 = 89;
const KEY_MENU: u8 = 127;
const ASTERISK: u32 = 0x2a;
const DEAD_ACUTE: u32 = 0xfe51;
const MULTI_KEY: u32 = 0xff20;

impl World {
    fn give_meaning(&self, key: u8, keysym: u32) {
        let keycode = key + X_KEYCODE_MIN;
        self.x
            .change_keyboard_mapping(1, keycode, 2, &[keysym, keysym])
            .unwrap();
    }
}

fn pressed(code: u8, keysym: u32) -> Input {
    Input::Key {
        code: code.into(),
        keysym,
        is_down: true,
    }
}

/// One of the keys that compose, not the one that is waited for.
fn is_press(event: &Input) -> bool {
    matches!(event, Input::Key { is_down: true, code, .. } if *code != KEY_RO.into())
}

#[test]
fn dead_keys_and_compose_send_the_character_alone() {
    let world = World::new("compose", Server::new(SIZE), &[]);
    world.until_same();
    for (key, keysym) in [
        (KEY_MENU, MULTI_KEY),
        (KEY_102ND, DEAD_ACUTE),
        (KEY_RO, ASTERISK),
    ] {
        world.give_meaning(key, keysym);
    }
    // The window has taken note of all when it has of the last.
    let noted = pressed(KEY_RO, ASTERISK);
    world.until("the other meanings", |it| {
        it.press(KEY_RO);
        it.host.server().input.contains(&noted).then_some(())
    });
    // A quote that is composed is no quote on the desktop.
    for key in [
        KEY_MENU, KEY_QUOTE, KEY_A, KEY_QUOTE, KEY_102ND, KEY_E, KEY_A,
    ] {
        world.press(key);
    }
    let expected = [
        pressed(KEY_A, 0xe1),
        pressed(KEY_QUOTE, 0x27),
        pressed(KEY_E, 0xe9),
        pressed(KEY_A, 0x61),
    ];
    world.host.until("four keys", |it| {
        let pressed = it.input.iter().filter(|it| is_press(it));
        let pressed: Vec<_> = pressed.copied().collect();
        assert!(expected.starts_with(&pressed), "{pressed:?}");
        pressed.len() == expected.len()
    });
}
