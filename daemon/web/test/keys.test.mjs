// Key tables: places to evdev codes, meanings to keysyms.

import assert from 'node:assert/strict';
import test from 'node:test';

import { evdevCode, keysym } from '../keys.js';

test('places have the codes of linux/input-event-codes.h', () => {
  const expected = {
    Escape: 1, Digit1: 2, Digit0: 11, Minus: 12, Equal: 13, Backspace: 14, Tab: 15, KeyQ: 16,
    KeyP: 25, BracketLeft: 26, Enter: 28, ControlLeft: 29, KeyA: 30, KeyL: 38, Semicolon: 39,
    Quote: 40, Backquote: 41, ShiftLeft: 42, Backslash: 43, KeyZ: 44, KeyM: 50, Comma: 51,
    Slash: 53, ShiftRight: 54, NumpadMultiply: 55, AltLeft: 56, Space: 57, CapsLock: 58, F1: 59,
    F10: 68, NumLock: 69, ScrollLock: 70, Numpad7: 71, NumpadSubtract: 74, Numpad4: 75,
    NumpadAdd: 78, Numpad1: 79, Numpad0: 82, NumpadDecimal: 83, Lang5: 85, IntlBackslash: 86,
    F11: 87, F12: 88, IntlRo: 89, Convert: 92, NonConvert: 94, NumpadEnter: 96, ControlRight: 97,
    NumpadDivide: 98, PrintScreen: 99, AltRight: 100, Home: 102, ArrowUp: 103, PageUp: 104,
    ArrowLeft: 105, ArrowRight: 106, End: 107, ArrowDown: 108, PageDown: 109, Insert: 110,
    Delete: 111, AudioVolumeMute: 113, AudioVolumeUp: 115, NumpadEqual: 117, Pause: 119,
    NumpadComma: 121, Lang1: 122, IntlYen: 124, MetaLeft: 125, MetaRight: 126, ContextMenu: 127,
    Help: 138, BrowserBack: 158, MediaPlayPause: 164, BrowserHome: 172, F13: 183, F24: 194,
  };
  for (const [code, evdev] of Object.entries(expected)) assert.equal(evdevCode(code), evdev, code);
  assert.equal(evdevCode(''), 0);
  assert.equal(evdevCode('Fn'), 0);
});

test('meanings have the keysyms of keysymdef.h', () => {
  const check = (key, expected, location = 0) =>
    assert.equal(keysym({ key, location }), expected, key);
  check('a', 0x61);
  check('A', 0x41);
  check(' ', 0x20);
  check('ä', 0xe4);
  check('€', 0x20ac);
  check('я', 0x0100044f);
  check('😀', 0x0101f600);
  check('Enter', 0xff0d);
  check('Backspace', 0xff08);
  check('Tab', 0xff09);
  check('Escape', 0xff1b);
  check('Delete', 0xffff);
  check('ArrowLeft', 0xff51);
  check('End', 0xff57);
  check('PrintScreen', 0xff61);
  check('Insert', 0xff63);
  check('ContextMenu', 0xff67);
  check('F1', 0xffbe);
  check('F12', 0xffc9);
  check('F24', 0xffd5);
  check('AltGraph', 0xfe03);
  check('CapsLock', 0xffe5);
  check('AudioVolumeUp', 0x1008ff13);
  check('MediaPlayPause', 0x1008ff14);
});

test('the side of a modifier and the number pad make a difference', () => {
  const check = (key, location, expected) =>
    assert.equal(keysym({ key, location }), expected, `${key} at ${location}`);
  check('Shift', 1, 0xffe1);
  check('Shift', 2, 0xffe2);
  check('Control', 1, 0xffe3);
  check('Alt', 2, 0xffea);
  check('Meta', 1, 0xffeb);
  check('7', 0, 0x37);
  check('7', 3, 0xffb7);
  check('+', 3, 0xffab);
  check('.', 3, 0xffae);
  check('Enter', 3, 0xff8d);
  check('Home', 3, 0xff95);
  check('Insert', 3, 0xff9e);
  check('Delete', 3, 0xff9f);
});

test('what is no character and no known key has no keysym', () => {
  for (const key of ['Dead', 'Process', 'Unidentified', '', '\u0000', '\u007f', '\ud800']) {
    assert.equal(keysym({ key, location: 0 }), 0, JSON.stringify(key));
  }
});
