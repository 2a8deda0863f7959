// What ends and what lives on: worker and daemon killed, the daemon upgraded, keys across each gap.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { waitForNumber } from './barcode.mjs';
import { untilState } from './browser.mjs';
import { close, onlySession, openBarcode, openBrowser, PASSWORD, serverWith } from './desktop.mjs';
import { seeded, until } from './wait.mjs';

const KEYS = process.env.LONG === '1' ? 200 : 60;
const SEED = Number(process.env.SEED ?? 5);
/** Evdev codes; the X keycode is eight more. */
const CODES = { KeyQ: 16, KeyW: 17, KeyE: 18, KeyR: 19, KeyT: 20, KeyY: 21, KeyU: 22, KeyI: 23 };
const NAMES = Object.keys(CODES);
/** Ends of one session's workers that the warden makes good within a minute. */
const WORKERS_MAX = 5;

let server;
let browser;
let page;
const pressed = [];

before(async () => {
  browser = await openBrowser();
  server = await serverWith(['ada', 'bob']);
  page = await openBarcode(browser, server, 'ada');
});
after(() => close(browser));

async function press() {
  const name = NAMES[pressed.length % NAMES.length];
  pressed.push(CODES[name] + 8);
  await page.keyboard.press(name);
}

/** What the program has seen, as it wrote it down itself. */
function recorded() {
  const log = fs.readFileSync(path.join(server.homeOf('ada').home, 'keys.log'), 'utf8');
  return log.trim().split('\n').map((it) => Number(it.split(' ')[1]));
}

function worker(name) {
  const uids = new Set(server.programsOf(name).map((it) => it.uid));
  return server.jailed().find((it) => it.command[1] === 'desktop' && uids.has(it.uid - 2));
}

const newest = (of) => of.evaluate(() => window.barcodes.seen.at(-1)?.number ?? -1);
const connections = () => page.evaluate(() => window.peerConnections.length);

/** Presses keys at random times while `act` happens after a third of them. */
async function typeDuring(act) {
  const random = seeded(SEED);
  for (let sent = 0; sent < KEYS; sent += 1) {
    if (sent === Math.floor(KEYS / 3)) act();
    await press();
    await pause(random() * 50);
  }
}

test('a killed worker is replaced: same windows, same connection, no key twice', async (t) => {
  const other = await openBarcode(browser, server, 'bob');
  const pictures = () => other.evaluate(() => window.barcodes.pictures);
  await press();
  await waitForNumber(page, 1);
  const [before, daemon] = [worker('ada'), server.daemonPid];
  const others = worker('bob');
  const otherPictures = await pictures();
  const began = performance.now();
  process.kill(before.pid, 'SIGKILL');
  // Only a picture of the next worker can show a key that is pressed after the end.
  await until('the end of the worker', () => worker('ada')?.pid !== before.pid, { every: 5 });
  await press();
  await waitForNumber(page, 2);
  const took = performance.now() - began;
  t.diagnostic(`worker killed → new picture: ${took.toFixed(0)} ms`);
  assert.ok(took < 1_000, `${took} ms\n${server.log.slice(-4_000)}`);
  assert.deepEqual(recorded(), pressed);
  assert.equal(await connections(), 1, 'the page made another connection');
  assert.equal(server.daemonPid, daemon);
  assert.equal(worker('bob').pid, others.pid);
  await other.keyboard.press('KeyA');
  await waitForNumber(other, 1);
  assert.ok((await pictures()) > otherPictures);
  await other.context().close();
});

test('keys while the daemon is killed and replaced arrive once each', async (t) => {
  t.diagnostic(`${KEYS} keys, seed ${SEED}`);
  const [session, daemon, desktop] = [await current(), server.daemonPid, worker('ada').pid];
  await typeDuring(() => process.kill(daemon, 'SIGKILL'));
  await until('all keys', () => recorded().length >= pressed.length).catch(report);
  await waitForNumber(page, pressed.length);
  assert.deepEqual(recorded(), pressed);
  assert.notEqual(server.daemonPid, daemon);
  assert.equal(worker('ada').pid, desktop, 'the desktop lived on');
  assert.equal((await current()).id, session.id);
});

test('keys while the daemon is upgraded arrive once each', async () => {
  const [session, daemon, desktop] = [await current(), server.daemonPid, worker('ada').pid];
  await typeDuring(() => process.kill(server.wardenPid, 'SIGUSR2'));
  await until('all keys', () => recorded().length >= pressed.length).catch(report);
  await waitForNumber(page, pressed.length);
  assert.deepEqual(recorded(), pressed);
  assert.ok(server.log.includes('upgrade: the next daemon serves'), server.log.slice(-2_000));
  await until('the old daemon to be gone', () => !fs.existsSync(`/proc/${daemon}`));
  assert.equal(worker('ada').pid, desktop, 'the desktop lived on');
  assert.equal((await current()).id, session.id);
});

test('a session whose workers end again and again ends with the reason', async () => {
  // The ends above may count or be too long ago.
  const isOver = () => /reason="?worker_ended/.test(server.log);
  for (let end = 1; end <= WORKERS_MAX; end += 1) {
    const found = await until('a worker or the end', () => isOver() || worker('ada'));
    if (found === true) break;
    process.kill(found.pid, 'SIGKILL');
    await until('its end', () => worker('ada')?.pid !== found.pid, { every: 5 });
  }
  await untilState(page, 'ended');
  assert.ok(isOver(), server.log.slice(-2_000));
  const token = await server.login('bob', PASSWORD);
  await server.endSession(token, (await onlySession(server, token)).id);
  await server.untilNothingIsLeft();
  await server.stop();
});

async function current() {
  return onlySession(server, await server.login('ada', PASSWORD));
}

async function report(error) {
  const state = { pressed: pressed.length, seen: recorded().length, shown: await newest(page) };
  throw new Error(`${error.message}: ${JSON.stringify(state)}\n${server.log.slice(-4_000)}`);
}
