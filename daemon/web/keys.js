// @ts-check
// Translates browser keys: places to evdev codes, meanings to X keysyms.

/**
 * Numbers consecutive codes from the first one on.
 *
 * @param {number} first
 * @param {string} names separated by spaces
 * @returns {Array<[string, number]>}
 */
function run(first, names) {
  return names.split(' ').map((name, index) => [name, first + index]);
}

/** `KeyboardEvent.code` to the evdev code (linux/input-event-codes.h): a place on the keyboard. */
const EVDEV = new Map([
  ...run(1, 'Escape Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0'),
  ...run(12, 'Minus Equal Backspace Tab KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP'),
  ...run(26, 'BracketLeft BracketRight Enter ControlLeft KeyA KeyS KeyD KeyF KeyG KeyH KeyJ'),
  ...run(37, 'KeyK KeyL Semicolon Quote Backquote ShiftLeft Backslash KeyZ KeyX KeyC KeyV KeyB'),
  ...run(49, 'KeyN KeyM Comma Period Slash ShiftRight NumpadMultiply AltLeft Space CapsLock'),
  ...run(59, 'F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NumLock ScrollLock Numpad7 Numpad8 Numpad9'),
  ...run(74, 'NumpadSubtract Numpad4 Numpad5 Numpad6 NumpadAdd Numpad1 Numpad2 Numpad3 Numpad0'),
  ...run(83, 'NumpadDecimal'),
  ...run(85, 'Lang5 IntlBackslash F11 F12 IntlRo Lang3 Lang4 Convert KanaMode NonConvert'),
  ...run(96, 'NumpadEnter ControlRight NumpadDivide PrintScreen AltRight'),
  ...run(102, 'Home ArrowUp PageUp ArrowLeft ArrowRight End ArrowDown PageDown Insert Delete'),
  ...run(113, 'AudioVolumeMute AudioVolumeDown AudioVolumeUp Power NumpadEqual'),
  ...run(119, 'Pause'),
  ...run(121, 'NumpadComma Lang1 Lang2 IntlYen MetaLeft MetaRight ContextMenu BrowserStop Again'),
  ...run(130, 'Props Undo Select Copy Open Paste Find Cut Help'),
  ...run(140, 'LaunchApp2'),
  ...run(142, 'Sleep WakeUp'),
  ...run(155, 'LaunchMail BrowserFavorites'),
  ...run(158, 'BrowserBack BrowserForward'),
  ...run(161, 'Eject'),
  ...run(163, 'MediaTrackNext MediaPlayPause MediaTrackPrevious MediaStop'),
  ...run(172, 'BrowserHome BrowserRefresh'),
  ...run(179, 'NumpadParenLeft NumpadParenRight'),
  ...run(183, 'F13 F14 F15 F16 F17 F18 F19 F20 F21 F22 F23 F24'),
  ...run(217, 'BrowserSearch'),
  ...run(226, 'MediaSelect'),
]);

/** `KeyboardEvent.key` names to keysyms (X11/keysymdef.h, XF86keysym.h). */
const NAMED = new Map([
  ...run(0xff08, 'Backspace Tab'),
  ['Clear', 0xff0b],
  ['Enter', 0xff0d],
  ...run(0xff13, 'Pause ScrollLock'),
  ['Escape', 0xff1b],
  ...run(0xff22, 'NonConvert Convert Romaji Hiragana Katakana HiraganaKatakana Zenkaku Hankaku'),
  ['ZenkakuHankaku', 0xff2a],
  ['KanaMode', 0xff2d],
  ['Eisu', 0xff30],
  ['Alphanumeric', 0xff30],
  ['HangulMode', 0xff31],
  ['HanjaMode', 0xff34],
  ...run(0xff50, 'Home ArrowLeft ArrowUp ArrowRight ArrowDown PageUp PageDown End'),
  ...run(0xff60, 'Select PrintScreen Execute Insert'),
  ...run(0xff65, 'Undo Redo ContextMenu Find Cancel Help'),
  ['NumLock', 0xff7f],
  ...run(0xffbe, 'F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 F13 F14 F15 F16 F17 F18 F19 F20 F21'),
  ...run(0xffd3, 'F22 F23 F24'),
  ['CapsLock', 0xffe5],
  ['Delete', 0xffff],
  ['AltGraph', 0xfe03],
  ...run(0x1008ff11, 'AudioVolumeDown AudioVolumeMute AudioVolumeUp MediaPlayPause MediaStop'),
  ...run(0x1008ff16, 'MediaTrackPrevious MediaTrackNext BrowserHome LaunchMail'),
  ['BrowserSearch', 0x1008ff1b],
  ...run(0x1008ff26, 'BrowserBack BrowserForward BrowserStop BrowserRefresh'),
  ['BrowserFavorites', 0x1008ff30],
  ...run(0x1008ff57, 'Copy Cut'),
  ['Open', 0x1008ff6b],
  ['Paste', 0x1008ff6d],
]);

/** Keys that stand on both sides: left keysym; the right one is the next. */
const TWO_SIDED = new Map([
  ['Shift', 0xffe1],
  ['Control', 0xffe3],
  ['Alt', 0xffe9],
  ['Meta', 0xffeb], // Super: what desktops bind the logo key to
  ['OS', 0xffeb],
]);

/** Keys of the number pad, by what they mean there. */
const NUMPAD = new Map([
  ['Enter', 0xff8d],
  ...run(0xff95, 'Home ArrowLeft ArrowUp ArrowRight ArrowDown PageUp PageDown End Clear Insert'),
  ['Delete', 0xff9f],
  ...run(0xffaa, '* + , - . /'),
  ...run(0xffb0, '0 1 2 3 4 5 6 7 8 9'),
  ['=', 0xffbd],
]);

/** The keysym EuroSign and the character have the same number. */
const EURO = 0x20ac;
const LOCATION_RIGHT = 2;
const LOCATION_NUMPAD = 3;

/**
 * The evdev code of a key's place; 0 where the place has none.
 *
 * @param {string} code `KeyboardEvent.code`
 * @returns {number}
 */
export function evdevCode(code) {
  return EVDEV.get(code) ?? 0;
}

/**
 * The X keysym of what the viewer's layout made of a key; 0 where that is no keysym
 * (dead keys, input methods, keys that the browser does not identify).
 *
 * @param {{ key: string, location: number }} event
 * @returns {number}
 */
export function keysym({ key, location }) {
  const onNumpad = location === LOCATION_NUMPAD ? NUMPAD.get(key) : undefined;
  if (onNumpad !== undefined) return onNumpad;
  const leftSym = TWO_SIDED.get(key);
  if (leftSym !== undefined) return location === LOCATION_RIGHT ? leftSym + 1 : leftSym;
  const point = key.codePointAt(0) ?? 0;
  const isOneCharacter = key.length === (point > 0xffff ? 2 : 1);
  return isOneCharacter ? characterKeysym(point) : (NAMED.get(key) ?? 0);
}

/**
 * Latin-1 has keysyms of its own; every other character is 0x01000000 + its code point
 * (X Window System Protocol, appendix A), but layouts name the euro by its own keysym.
 *
 * @param {number} point
 */
function characterKeysym(point) {
  const isControl = point < 0x20 || (point >= 0x7f && point < 0xa0);
  const isHalfOfPair = point >= 0xd800 && point < 0xe000;
  if (isControl || isHalfOfPair) return 0;
  return point < 0x100 || point === EURO ? point : 0x01000000 + point;
}
