// Two windows at one desktop: the newest has the keyboard, the other watches and may take it back.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { waitForNumber, watch } from './barcode.mjs';
import { openDesktop, openPage, signIn, untilRests, untilState, videoStats } from './browser.mjs';
import { close, onlySession, openBarcode, openBrowser, PASSWORD, serverWith } from './desktop.mjs';
import { until } from './wait.mjs';

/** X keycodes. */
const KEYS = { KeyA: 38, KeyB: 56, KeyC: 54, KeyD: 40, KeyE: 26, KeyF: 41, KeyG: 42, KeyH: 43 };
/** X repeats a key that is held after 660 ms. */
const REPEAT_MS = 1_000;
/** How long nothing may come at rest. */
const STILL_MS = 3_000;

let server;
let browser;
let first;
let second;
const pressed = [];

before(async () => {
  browser = await openBrowser();
  server = await serverWith(['ada']);
  first = await openBarcode(browser, server, 'ada');
});
after(() => close(browser));

async function press(page, key) {
  pressed.push(KEYS[key]);
  await page.keyboard.press(key);
}

/** Both pages show all keys so far. */
async function bothShowAll() {
  for (const page of [first, second]) await waitForNumber(page, pressed.length);
}

/** Waits until one window has the keyboard, and the other one says so. */
async function untilControl(page, other) {
  const isWatching = (of) => of.locator('#watching').isVisible();
  await until('control to pass', async () => !(await isWatching(page)) && isWatching(other));
}

/** What the program has seen, as it wrote it down itself. */
function recorded() {
  const log = fs.readFileSync(path.join(server.homeOf('ada').home, 'keys.log'), 'utf8');
  return log.trim().split('\n').map((it) => Number(it.split(' ')[1]));
}

test('a second window takes the keyboard, the first one watches and says so', async () => {
  await press(first, 'KeyA');
  await waitForNumber(first, 1);
  second = await openPage(browser, { width: 1000, height: 600 });
  await signIn(second, server.url, 'ada', PASSWORD);
  await openDesktop(second);
  await watch(second);
  await untilControl(second, first);
  await press(second, 'KeyB');
  await bothShowAll();
  const words = await first.locator('#watching p').textContent();
  assert.equal(words, 'You are watching; another window has the keyboard.');
  // The desktop has the size of the window that has the keyboard, and the other one shows all.
  await until('the size to be that of the second', () =>
    first.evaluate(() => document.documentElement.dataset.size === '1000x600'));
  assert.equal(await first.evaluate(() => document.documentElement.dataset.state), 'streaming');
  // What is pressed in the first goes nowhere.
  await first.keyboard.press('KeyC');
  await first.mouse.click(300, 300);
  await press(second, 'KeyD');
  await bothShowAll();
  assert.deepEqual(recorded(), pressed);
});

test('figures tell of both viewers and of each stage', async () => {
  const token = await server.login('ada', PASSWORD);
  const { id } = await onlySession(server, token);
  await press(second, 'KeyE');
  await bothShowAll();
  const stats = await server.stats(token, id);
  assert.equal(stats.viewers, 2);
  assert.ok(stats.fps > 0 && stats.bitrate_kbps > 0, JSON.stringify(stats));
  for (const stage of ['inject_damage', 'damage_capture', 'capture_encode', 'encode_send']) {
    const { p50, p95 } = stats.latency_ms[stage];
    assert.ok(p50 > 0 && p50 <= p95, `${stage}: ${p50}, ${p95}`);
  }
  assert.ok(stats.cpu_seconds > 0 && stats.memory_bytes > 0 && stats.pids > 0);
  assert.equal(stats.inputs_in_doubt, 0);
});

test('two windows at rest cost no media packet', async () => {
  for (const page of [first, second]) await untilRests(page);
  const packets = async () =>
    Promise.all([first, second].map(async (it) => (await videoStats(it)).packetsReceived));
  const start = await packets();
  await pause(STILL_MS);
  assert.deepEqual(await packets(), start);
});

test('Take control gives it back, and what the other one holds goes up', async () => {
  pressed.push(KEYS.KeyF);
  await second.keyboard.down('KeyF');
  await bothShowAll();
  await first.click('#take-control');
  await untilControl(first, second);
  await pause(REPEAT_MS);
  await press(first, 'KeyG');
  await bothShowAll();
  assert.deepEqual(recorded(), pressed, 'the key was still down');
  await second.keyboard.up('KeyF');
});

test('the daemon killed: both windows are back, and the keyboard is where it was', async () => {
  process.kill(server.daemonPid, 'SIGKILL');
  for (const page of [first, second]) {
    await until('the page to notice', async () =>
      (await page.evaluate(() => window.peerConnections.length)) > 1);
    await untilState(page, 'streaming');
  }
  await untilControl(first, second);
  await press(first, 'KeyH');
  await bothShowAll();
  assert.deepEqual(recorded(), pressed);
});

test('the window that has the keyboard is closed: the other one gets it', async () => {
  await first.context().close();
  await until('control to pass', async () => !(await second.locator('#watching').isVisible()));
  await press(second, 'KeyA');
  await waitForNumber(second, pressed.length);
  assert.deepEqual(recorded(), pressed);
  assert.deepEqual(second.faults, []);
  const token = await server.login('ada', PASSWORD);
  await server.endSession(token, (await onlySession(server, token)).id);
  await untilState(second, 'ended');
  await server.untilNothingIsLeft();
  await server.stop();
});
