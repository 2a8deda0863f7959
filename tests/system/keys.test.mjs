// Keys at random times, with each encoder: none missing, doubled or out of order.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { account, waitForNumber } from './barcode.mjs';
import { close, onlySession, openBarcode, openBrowser, PASSWORD, serverWith } from './desktop.mjs';
import { seeded } from './wait.mjs';

const KEYS = 200;
/** Enough to see that the built-in encoder shows each one. */
const KEYS_WITH_OPENH264 = 20;
const SEED = Number(process.env.SEED ?? 4);

/** Linux evdev codes; the X keycode is eight more. */
const CODES = {
  KeyQ: 16, KeyW: 17, KeyE: 18, KeyR: 19, KeyT: 20, KeyY: 21, KeyU: 22, KeyI: 23, KeyO: 24,
  KeyP: 25, KeyA: 30, KeyS: 31, KeyD: 32, KeyF: 33, KeyG: 34, KeyH: 35, KeyJ: 36, KeyK: 37,
  KeyL: 38, KeyZ: 44, KeyX: 45, KeyC: 46, KeyV: 47, KeyB: 48, KeyN: 49, KeyM: 50,
  Digit1: 2, Digit2: 3, Digit3: 4, Digit9: 10, Digit0: 11, Minus: 12, Comma: 51, Period: 52,
  Space: 57, Enter: 28, Backspace: 14, Tab: 15, ArrowLeft: 105, ArrowUp: 103, Home: 102,
};

let browser;
after(() => close(browser));

test(`${KEYS} keys at random times arrive once each and in order`, (t) =>
  typeKeys(t, KEYS, { VIDEO_CODEC: 'auto' }, /^libx264/));

test('so do those that OpenH264 shows', (t) =>
  typeKeys(t, KEYS_WITH_OPENH264, { VIDEO_CODEC: 'openh264' }, /^openh264/));

/** Types `count` keys on a server with `changes`, whose page names an encoder like `encoder`. */
async function typeKeys(t, count, changes, encoder) {
  t.diagnostic(`seed ${SEED}`);
  const server = await serverWith(['ada'], undefined, undefined, changes);
  browser ??= await openBrowser();
  const page = await openBarcode(browser, server, 'ada');
  const random = seeded(SEED);
  const names = Object.keys(CODES);
  const pressed = [];
  for (let sent = 0; sent < count; sent += 1) {
    const name = names[Math.floor(random() * names.length)];
    pressed.push(CODES[name] + 8);
    await page.keyboard.press(name);
    // From typing faster than anybody to a thoughtful pause; also two in one frame.
    await pause(random() < 0.2 ? 0 : random() * 120);
  }
  // One more at the end: had any key come twice, this one's number would be higher.
  pressed.push(CODES.KeyQ + 8);
  await page.keyboard.press('KeyQ');
  await waitForNumber(page, count + 1);

  const { pictures, torn, seen } = await page.evaluate(() => window.barcodes);
  t.diagnostic(`${pictures} pictures, ${torn} torn`);
  const { keys, conflicts } = account(seen);
  assert.deepEqual(conflicts, []);
  assert.equal(seen.at(-1).number, count + 1, 'more keys arrived than were pressed');
  const shown = pressed.map((_, index) => keys.get(index + 1));
  assert.deepEqual(shown, pressed);

  // The program's own record, as a second witness that does not go through the video.
  const log = fs.readFileSync(path.join(server.homeOf('ada').home, 'keys.log'), 'utf8');
  const recorded = log.trim().split('\n').map((it) => Number(it.split(' ')[1]));
  assert.deepEqual(recorded, pressed);

  await page.evaluate(() => document.querySelector('#overlay-toggle').click());
  await page.waitForSelector('#overlay dd');
  const facts = await page.locator('#overlay dd').allTextContents();
  assert.ok(facts.some((it) => encoder.test(it)), facts.join('; '));

  assert.deepEqual(page.faults, []);
  const token = await server.login('ada', PASSWORD);
  const { id } = await onlySession(server, token);
  await server.endSession(token, id);
  await server.untilNothingIsLeft();
  await server.stop();
}
