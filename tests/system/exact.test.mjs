// The native viewer against the real server: its picture is the X server's, bit for bit, and its
// keys arrive once each, whatever happens between them.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { serverWith, SHOW_BARCODE } from './desktop.mjs';
import { NOISE } from './motion.mjs';
import { closeViewers, NativeViewer, runInTerminal, xvfbOf } from './native.mjs';
import { Relay } from './relay.mjs';
import { discardAll } from './server.mjs';
import { Typing } from './typing.mjs';
import { until } from './wait.mjs';

const SEED = Number(process.env.SEED ?? 5);
const KEYS = 200;

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

test('keys through 5 % of loss arrive once each, and the picture is exact after it', async (t) => {
  const viewer = await new NativeViewer({ port: relay.address.split(':')[1] }).show();
  const typing = new Typing(server, 'ada', viewer);
  await typing.untilHeard();
  relay.lose('random', SEED);
  await typing.typeDuring(KEYS, SEED, () => relay.lose('bursts', SEED));
  t.diagnostic(`seed ${SEED}: ${relay.lost} of ${relay.lost + relay.passed} datagrams lost`);
  assert.ok(relay.lost > 10, 'too little was lost to show anything');
  await viewer.untilExact(xvfbOf(server, 'ada'));
  relay.lose('none', SEED);
  assert.equal(await viewer.leave(), 0, viewer.said);
});

test('the daemon is killed under its hands: each key arrives once', async () => {
  const viewer = await new NativeViewer({ port: direct() }).show();
  const xvfb = xvfbOf(server, 'ada');
  const typing = new Typing(server, 'ada', viewer);
  await typing.typeDuring(KEYS, SEED, () => process.kill(server.daemonPid, 'SIGKILL'));
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
  const motion = await run(`for i in $(seq 40); do ${NOISE}; sleep 0.02; done`, 'moved');
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
