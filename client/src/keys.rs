//! Translates keys of the window system: places to evdev codes, meanings to X keysyms.

use winit::keyboard::{Key, KeyCode, KeyLocation, NamedKey, NativeKey, PhysicalKey};

/// The keysym EuroSign and the character have the same number; layouts name it by that.
const EURO: u32 = 0x20ac;

/// Added to the code point of a character that has no keysym of its own (X Window System
/// Protocol, appendix A).
const UNICODE: u32 = 0x0100_0000;

/// Dead keys.
const DEAD_FIRST: u32 = 0xfe50;
const DEAD_LAST: u32 = 0xfe93;

/// The evdev code (`linux/input-event-codes.h`) of a key's place; 0 where the place has none.
#[expect(clippy::too_many_lines, reason = "a table")]
pub fn evdev_code(key: PhysicalKey) -> u16 {
    use KeyCode as K;
    let PhysicalKey::Code(code) = key else {
        return 0;
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is open: places that X cannot name have no code"
    )]
    match code {
        K::Escape => 1,
        K::Digit1 => 2,
        K::Digit2 => 3,
        K::Digit3 => 4,
        K::Digit4 => 5,
        K::Digit5 => 6,
        K::Digit6 => 7,
        K::Digit7 => 8,
        K::Digit8 => 9,
        K::Digit9 => 10,
        K::Digit0 => 11,
        K::Minus => 12,
        K::Equal => 13,
        K::Backspace => 14,
        K::Tab => 15,
        K::KeyQ => 16,
        K::KeyW => 17,
        K::KeyE => 18,
        K::KeyR => 19,
        K::KeyT => 20,
        K::KeyY => 21,
        K::KeyU => 22,
        K::KeyI => 23,
        K::KeyO => 24,
        K::KeyP => 25,
        K::BracketLeft => 26,
        K::BracketRight => 27,
        K::Enter => 28,
        K::ControlLeft => 29,
        K::KeyA => 30,
        K::KeyS => 31,
        K::KeyD => 32,
        K::KeyF => 33,
        K::KeyG => 34,
        K::KeyH => 35,
        K::KeyJ => 36,
        K::KeyK => 37,
        K::KeyL => 38,
        K::Semicolon => 39,
        K::Quote => 40,
        K::Backquote => 41,
        K::ShiftLeft => 42,
        K::Backslash => 43,
        K::KeyZ => 44,
        K::KeyX => 45,
        K::KeyC => 46,
        K::KeyV => 47,
        K::KeyB => 48,
        K::KeyN => 49,
        K::KeyM => 50,
        K::Comma => 51,
        K::Period => 52,
        K::Slash => 53,
        K::ShiftRight => 54,
        K::NumpadMultiply => 55,
        K::AltLeft => 56,
        K::Space => 57,
        K::CapsLock => 58,
        K::F1 => 59,
        K::F2 => 60,
        K::F3 => 61,
        K::F4 => 62,
        K::F5 => 63,
        K::F6 => 64,
        K::F7 => 65,
        K::F8 => 66,
        K::F9 => 67,
        K::F10 => 68,
        K::NumLock => 69,
        K::ScrollLock => 70,
        K::Numpad7 => 71,
        K::Numpad8 => 72,
        K::Numpad9 => 73,
        K::NumpadSubtract => 74,
        K::Numpad4 => 75,
        K::Numpad5 => 76,
        K::Numpad6 => 77,
        K::NumpadAdd => 78,
        K::Numpad1 => 79,
        K::Numpad2 => 80,
        K::Numpad3 => 81,
        K::Numpad0 => 82,
        K::NumpadDecimal => 83,
        K::Lang5 => 85,
        K::IntlBackslash => 86,
        K::F11 => 87,
        K::F12 => 88,
        K::IntlRo => 89,
        K::Lang3 => 90,
        K::Lang4 => 91,
        K::Convert => 92,
        K::KanaMode => 93,
        K::NonConvert => 94,
        K::NumpadEnter => 96,
        K::ControlRight => 97,
        K::NumpadDivide => 98,
        K::PrintScreen => 99,
        K::AltRight => 100,
        K::Home => 102,
        K::ArrowUp => 103,
        K::PageUp => 104,
        K::ArrowLeft => 105,
        K::ArrowRight => 106,
        K::End => 107,
        K::ArrowDown => 108,
        K::PageDown => 109,
        K::Insert => 110,
        K::Delete => 111,
        K::AudioVolumeMute => 113,
        K::AudioVolumeDown => 114,
        K::AudioVolumeUp => 115,
        K::Power => 116,
        K::NumpadEqual => 117,
        K::Pause => 119,
        K::NumpadComma => 121,
        K::Lang1 => 122,
        K::Lang2 => 123,
        K::IntlYen => 124,
        K::SuperLeft => 125,
        K::SuperRight => 126,
        K::ContextMenu => 127,
        K::BrowserStop => 128,
        K::Again => 129,
        K::Props => 130,
        K::Undo => 131,
        K::Select => 132,
        K::Copy => 133,
        K::Open => 134,
        K::Paste => 135,
        K::Find => 136,
        K::Cut => 137,
        K::Help => 138,
        K::LaunchApp2 => 140,
        K::Sleep => 142,
        K::WakeUp => 143,
        K::LaunchMail => 155,
        K::BrowserFavorites => 156,
        K::BrowserBack => 158,
        K::BrowserForward => 159,
        K::Eject => 161,
        K::MediaTrackNext => 163,
        K::MediaPlayPause => 164,
        K::MediaTrackPrevious => 165,
        K::MediaStop => 166,
        K::BrowserHome => 172,
        K::BrowserRefresh => 173,
        K::NumpadParenLeft => 179,
        K::NumpadParenRight => 180,
        K::F13 => 183,
        K::F14 => 184,
        K::F15 => 185,
        K::F16 => 186,
        K::F17 => 187,
        K::F18 => 188,
        K::F19 => 189,
        K::F20 => 190,
        K::F21 => 191,
        K::F22 => 192,
        K::F23 => 193,
        K::F24 => 194,
        K::BrowserSearch => 217,
        K::MediaSelect => 226,
        _ => 0,
    }
}

/// The X keysym of what the viewer's layout made of a key; 0 where that is none (dead keys, keys
/// that the window system does not identify).
pub fn keysym(key: &Key, location: KeyLocation) -> u32 {
    match key {
        Key::Character(text) if location == KeyLocation::Numpad => numpad_character(text),
        Key::Character(text) => one_character(text).map_or(0, character_keysym),
        Key::Named(named) => named_keysym(*named, location),
        Key::Unidentified(_) | Key::Dead(_) => 0,
    }
}

/// The keysyms of a text that was not typed key by key (an input method's).
pub fn text_keysyms(text: &str) -> impl Iterator<Item = u32> {
    text.chars().map(typed_keysym).filter(|it| *it != 0)
}

/// Ends of lines and tabs have keys.
fn typed_keysym(character: char) -> u32 {
    match character {
        '\n' => 0xff0d,
        '\t' => 0xff09,
        other => character_keysym(other),
    }
}

/// Whether a key is a part of a character that is not whole: a dead key, the compose key, and what
/// follows that. The character comes as the meaning of the last key.
pub fn is_composing(key: &Key) -> bool {
    match key {
        Key::Dead(_) | Key::Named(NamedKey::Compose) => true,
        // What would mean a character by itself.
        Key::Unidentified(NativeKey::Xkb(keysym)) => {
            matches!(keysym, 0x20..=0xfcff | DEAD_FIRST..=DEAD_LAST | UNICODE..=0x0110_ffff)
        }
        Key::Unidentified(_) | Key::Named(_) | Key::Character(_) => false,
    }
}

fn one_character(text: &str) -> Option<char> {
    let mut characters = text.chars();
    characters.next().filter(|_| characters.next().is_none())
}

/// Latin-1 has keysyms of its own, and so has the euro; every other character is named by its
/// code point.
fn character_keysym(character: char) -> u32 {
    let point = u32::from(character);
    if character.is_control() {
        0
    } else if point < 0x100 || point == EURO {
        point
    } else {
        UNICODE + point
    }
}

fn numpad_character(text: &str) -> u32 {
    match one_character(text) {
        Some(it @ '*'..='/') => 0xffaa + (u32::from(it) - u32::from('*')),
        Some(it @ '0'..='9') => 0xffb0 + (u32::from(it) - u32::from('0')),
        Some('=') => 0xffbd,
        Some(it) => character_keysym(it),
        None => 0,
    }
}

/// Keysyms of X11/keysymdef.h and XF86keysym.h.
#[expect(clippy::too_many_lines, reason = "a table")]
fn named_keysym(named: NamedKey, location: KeyLocation) -> u32 {
    use NamedKey as N;
    if location == KeyLocation::Numpad
        && let Some(keysym) = numpad_keysym(named)
    {
        return keysym;
    }
    let sided = |left: u32| left + u32::from(location == KeyLocation::Right);
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is open: what X cannot name has no keysym"
    )]
    match named {
        N::Shift => sided(0xffe1),
        N::Control => sided(0xffe3),
        N::CapsLock => 0xffe5,
        N::Alt => sided(0xffe9),
        // What desktops bind the logo key to.
        N::Super | N::Meta => sided(0xffeb),
        N::AltGraph => 0xfe03,
        N::Space => 0x20,
        N::Backspace => 0xff08,
        N::Tab => 0xff09,
        N::Clear => 0xff0b,
        N::Enter => 0xff0d,
        N::Pause => 0xff13,
        N::ScrollLock => 0xff14,
        N::Escape => 0xff1b,
        N::NonConvert => 0xff22,
        N::Convert => 0xff23,
        N::KanaMode => 0xff2d,
        N::Home => 0xff50,
        N::ArrowLeft => 0xff51,
        N::ArrowUp => 0xff52,
        N::ArrowRight => 0xff53,
        N::ArrowDown => 0xff54,
        N::PageUp => 0xff55,
        N::PageDown => 0xff56,
        N::End => 0xff57,
        N::Select => 0xff60,
        N::PrintScreen => 0xff61,
        N::Execute => 0xff62,
        N::Insert => 0xff63,
        N::Undo => 0xff65,
        N::Redo => 0xff66,
        N::ContextMenu => 0xff67,
        N::Find => 0xff68,
        N::Cancel => 0xff69,
        N::Help => 0xff6a,
        N::NumLock => 0xff7f,
        N::Delete => 0xffff,
        N::AudioVolumeDown => 0x1008_ff11,
        N::AudioVolumeMute => 0x1008_ff12,
        N::AudioVolumeUp => 0x1008_ff13,
        N::MediaPlayPause => 0x1008_ff14,
        N::MediaStop => 0x1008_ff15,
        N::MediaTrackPrevious => 0x1008_ff16,
        N::MediaTrackNext => 0x1008_ff17,
        N::BrowserHome => 0x1008_ff18,
        N::LaunchMail => 0x1008_ff19,
        N::BrowserSearch => 0x1008_ff1b,
        N::BrowserBack => 0x1008_ff26,
        N::BrowserForward => 0x1008_ff27,
        N::BrowserStop => 0x1008_ff28,
        N::BrowserRefresh => 0x1008_ff29,
        N::BrowserFavorites => 0x1008_ff30,
        N::Copy => 0x1008_ff57,
        N::Cut => 0x1008_ff58,
        N::Open => 0x1008_ff6b,
        N::Paste => 0x1008_ff6d,
        N::F1 => 0xffbe,
        N::F2 => 0xffbf,
        N::F3 => 0xffc0,
        N::F4 => 0xffc1,
        N::F5 => 0xffc2,
        N::F6 => 0xffc3,
        N::F7 => 0xffc4,
        N::F8 => 0xffc5,
        N::F9 => 0xffc6,
        N::F10 => 0xffc7,
        N::F11 => 0xffc8,
        N::F12 => 0xffc9,
        N::F13 => 0xffca,
        N::F14 => 0xffcb,
        N::F15 => 0xffcc,
        N::F16 => 0xffcd,
        N::F17 => 0xffce,
        N::F18 => 0xffcf,
        N::F19 => 0xffd0,
        N::F20 => 0xffd1,
        N::F21 => 0xffd2,
        N::F22 => 0xffd3,
        N::F23 => 0xffd4,
        N::F24 => 0xffd5,
        _ => 0,
    }
}

fn numpad_keysym(named: NamedKey) -> Option<u32> {
    use NamedKey as N;
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is open: the other keys mean the same beside the number pad"
    )]
    Some(match named {
        N::Enter => 0xff8d,
        N::Home => 0xff95,
        N::ArrowLeft => 0xff96,
        N::ArrowUp => 0xff97,
        N::ArrowRight => 0xff98,
        N::ArrowDown => 0xff99,
        N::PageUp => 0xff9a,
        N::PageDown => 0xff9b,
        N::End => 0xff9c,
        N::Clear => 0xff9d,
        N::Insert => 0xff9e,
        N::Delete => 0xff9f,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use winit::keyboard::NativeKeyCode;

    use super::*;

    #[test]
    fn places_have_the_codes_of_the_kernel() {
        #[track_caller]
        fn check(code: KeyCode, expected: u16) {
            assert_eq!(evdev_code(PhysicalKey::Code(code)), expected);
        }
        check(KeyCode::KeyA, 30);
        check(KeyCode::IntlBackslash, 86);
        check(KeyCode::SuperRight, 126);
        check(KeyCode::F24, 194);
        check(KeyCode::Fn, 0);
        let unknown = PhysicalKey::Unidentified(NativeKeyCode::Xkb(999));
        assert_eq!(evdev_code(unknown), 0);
    }

    #[test]
    fn meanings_have_the_keysyms_of_x() {
        #[track_caller]
        fn check(key: Key, location: KeyLocation, expected: u32) {
            assert_eq!(keysym(&key, location), expected, "{key:?}");
        }
        let character = |text: &str| Key::Character(text.into());
        let (standard, right, numpad) = (
            KeyLocation::Standard,
            KeyLocation::Right,
            KeyLocation::Numpad,
        );
        check(character("a"), standard, 0x61);
        check(character("ß"), standard, 0xdf);
        check(character("€"), standard, 0x20ac);
        check(character("ł"), standard, 0x0100_0142);
        check(character("😀"), standard, 0x0101_f600);
        check(character("ab"), standard, 0);
        check(character("\u{7f}"), standard, 0);
        check(character("5"), numpad, 0xffb5);
        check(character(","), numpad, 0xffac);
        check(Key::Named(NamedKey::Shift), KeyLocation::Left, 0xffe1);
        check(Key::Named(NamedKey::Shift), right, 0xffe2);
        check(Key::Named(NamedKey::Super), right, 0xffec);
        check(Key::Named(NamedKey::Enter), numpad, 0xff8d);
        check(Key::Named(NamedKey::Enter), standard, 0xff0d);
        check(Key::Named(NamedKey::F12), standard, 0xffc9);
        check(Key::Dead(Some('^')), standard, 0);
    }

    #[test]
    fn parts_of_a_character_are_told_from_keys_that_nobody_knows() {
        let native = |keysym| Key::Unidentified(NativeKey::Xkb(keysym));
        for (key, expected) in [
            (Key::Dead(Some('^')), true),
            (Key::Named(NamedKey::Compose), true),
            (native(0x27), true),
            (native(0x0100_0142), true),
            (native(0x1008_ff5b), false),
            (native(0xfe51), true),
            (native(0xfe08), false),
            (Key::Unidentified(NativeKey::Unidentified), false),
            (Key::Character("a".into()), false),
            (Key::Named(NamedKey::Shift), false),
        ] {
            assert_eq!(is_composing(&key), expected, "{key:?}");
        }
    }

    #[test]
    fn a_text_becomes_the_keysyms_of_its_characters() {
        let keysyms: Vec<u32> = text_keysyms("né\r\n漢\t").collect();
        assert_eq!(keysyms, [0x6e, 0xe9, 0xff0d, 0x0100_6f22, 0xff09]);
    }
}
