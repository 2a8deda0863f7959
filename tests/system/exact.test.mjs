// The native viewer against the real server: its picture is the X server's, bit for bit, and its
// keys arrive once each, whatever happens between them.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { serverWith, SHOW_BARCODE } from './desktop.mjs';
import { closeViewers, NativeViewer, runInTerminal, xvfbOf } from './native.mjs';
import { Relay } from './relay.mjs';
import { discardAll } from './server.mjs';
import { seeded, until } from './wait.mjs';

const SEED = Number(process.env.SEED ?? 5);
const KEYS = 200;
/** Keysyms of letters, and the X keycodes that they are on. */
const LETTERS = { q: 24, w: 25, e: 26, r: 27, t: 28, y: 29, u: 30, i: 31 };

let server;
let relay;
before(async () => {
  relay = await Relay.open();
  server = await serverWith(['ada'], SHOW_BARCODE);
  relay.connect(Number(server.variables.MEDIA_PORT));
});
after(async () => {
  closeViewers();
  await discardAll();
  relay?.close();
});

const direct = () => server.variables.MEDIA_PORT;

/** What the barcode program of a user has seen, as it wrote it down itself. */
function recorded(name) {
  const log = path.join(server.homeOf(name).home, 'keys.log');
  if (!fs.existsSync(log)) return [];
  return fs.readFileSync(log, 'utf8').trim().split('\n').filter(Boolean)
    .map((it) => Number(it.split(' ')[1]));
}

/** Presses letters until the barcode program has the keyboard; returns what it has seen. */
async function untilHeard(viewer, name) {
  await until('the barcode program to have the keyboard', async () => {
    viewer.press('key 44 0x7a');
    const patience = { patience: 1_000 };
    return until('a key in its log', () => recorded(name).length > 0, patience).catch(() => false);
  });
  await until('what was pressed before to be written', () => {
    return new Set(recorded(name)).size === 1;
  });
}

/** Types letters at random times while `act` happens after a third of them. */
async function typeDuring(viewer, name, act) {
  const random = seeded(SEED);
  const names = Object.keys(LETTERS);
  const typed = [];
  const before = recorded(name).length;
  for (let sent = 0; sent < KEYS; sent += 1) {
    if (sent === Math.floor(KEYS / 3)) act();
    const letter = names[Math.floor(random() * names.length)];
    typed.push(LETTERS[letter]);
    viewer.step(`text ${letter}`);
    await new Promise((resolve) => {
      setTimeout(resolve, random() * 20);
    });
  }
  await until('every key to arrive', () => recorded(name).length - before >= KEYS);
  assert.deepEqual(recorded(name).slice(before), typed);
}

test('keys through 5 % of loss arrive once each, and the picture is exact after it', async (t) => {
  const viewer = await new NativeViewer({ port: relay.address.split(':')[1] }).show();
  await untilHeard(viewer, 'ada');
  const settled = recorded('ada').length;
  await until('the keyboard to be still', () => recorded('ada').length === settled);
  relay.lose('random', SEED);
  await typeDuring(viewer, 'ada', () => relay.lose('bursts', SEED));
  t.diagnostic(`seed ${SEED}: ${relay.lost} of ${relay.lost + relay.passed} datagrams lost`);
  assert.ok(relay.lost > 10, 'too little was lost to show anything');
  await viewer.untilExact(xvfbOf(server, 'ada'));
  relay.lose('none', SEED);
  assert.equal(await viewer.leave(), 0, viewer.said);
});

test('the daemon is killed under its hands: each key arrives once', async () => {
  const viewer = await new NativeViewer({ port: direct() }).show();
  const xvfb = xvfbOf(server, 'ada');
  await typeDuring(viewer, 'ada', () => process.kill(server.daemonPid, 'SIGKILL'));
  await viewer.untilExact(xvfb);
  assert.equal(await viewer.leave(), 0, viewer.said);
});

test('typing, scrolling, motion and another size end bit for bit', async (t) => {
  const plain = await serverWith(['bob'], '');
  const port = plain.variables.MEDIA_PORT;
  const viewer = await new NativeViewer({ port, name: 'bob' }).show();
  await runInTerminal(viewer, plain, 'bob', 'touch ready', 'ready');
  const xvfb = xvfbOf(plain, 'bob');
  await viewer.untilExact(xvfb);
  const { home } = plain.homeOf('bob');
  const run = async (what, mark) => {
    const from = viewer.updates().length;
    viewer.type(`${what}; touch ${mark}`);
    await until(`${what} to end`, () => fs.existsSync(path.join(home, mark)));
    await viewer.untilExact(xvfb);
    const updates = viewer.updates().slice(from);
    const bytes = updates.reduce((sum, it) => sum + it.bytes, 0);
    t.diagnostic(`${what}: ${updates.length} updates, ${bytes} bytes`);
    return updates;
  };
  await run('seq 1 200', 'scrolled');
  const motion = await run(
    'for i in $(seq 40); do head -c 3000 /dev/urandom | base64 -w 78; sleep 0.02; done', 'moved',
  );
  assert.ok(motion.some((it) => it.video), 'motion is shown as video');
  // A letter, alone.
  const from = viewer.updates().length;
  viewer.step('text x');
  await until('the letter', () => viewer.updates().length > from);
  await viewer.untilExact(xvfb);
  const letter = viewer.updates().slice(from).reduce((sum, it) => sum + it.bytes, 0);
  assert.ok(letter <= 1_500, `a letter took ${letter} bytes`);
  viewer.type('');
  viewer.step('resize 800 600');
  await until('the desktop to follow', () => viewer.updates().at(-1).width === 800);
  await viewer.untilExact(xvfb);
  await run('seq 1 50', 'smaller');
  assert.equal(await viewer.leave(), 0, viewer.said);
});

test('a server that is stopped says so', async () => {
  const viewer = await new NativeViewer({ port: direct() }).show();
  await server.stop();
  await until(`a word of the end; the viewer says ${viewer.said}`, () => {
    return /goes down|session has ended/.test(viewer.said);
  });
});
