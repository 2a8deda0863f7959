// The native viewer's window at a real desktop: what its screen shows is what the X server does.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { serverWith } from './desktop.mjs';
import { runInTerminal, xvfbOf } from './native.mjs';
import { Relay } from './relay.mjs';
import { discardAll } from './server.mjs';
import { Typing } from './typing.mjs';
import { until } from './wait.mjs';
import { WindowedViewer } from './windowed.mjs';

const SEED = Number(process.env.SEED ?? 5);
const KEYS = 60;

/** Noise that runs over the screen, and ends. */
const MOTION = `#!/bin/sh
for i in $(seq 15); do head -c 3000 /dev/urandom | base64 -w 78; sleep 0.02; done
`;

let relay;
let server;
let viewer;
let xvfb;

before(async () => {
  relay = await Relay.open();
  server = await serverWith(['ada'], '', { motion: { text: MOTION } });
  relay.connect(Number(server.variables.MEDIA_PORT));
  viewer = await WindowedViewer.open({ port: relay.address.split(':')[1] });
  await runInTerminal(viewer, server, 'ada', 'touch ready', 'ready');
  xvfb = xvfbOf(server, 'ada');
});
after(async () => {
  await viewer?.close();
  await discardAll();
  relay?.close();
});

/** Runs a command in the terminal, to its end. */
async function run(command, mark) {
  const { home } = server.homeOf('ada');
  viewer.type(`${command}; touch ${mark}`);
  await until(`${command} to end`, () => fs.existsSync(path.join(home, mark)));
}

test('what is typed, scrolls and moves ends pixel for pixel', async () => {
  await viewer.untilExact(xvfb, 1_000, 700);
  await run('seq 1 200', 'scrolled');
  await viewer.untilExact(xvfb, 1_000, 700);
  await run('bin/motion', 'moved');
  await viewer.untilExact(xvfb, 1_000, 700);
});

test('the desktop follows the window to the whole screen, and to another size', async () => {
  viewer.press('F11');
  await viewer.untilExact(xvfb, 1_280, 800);
  await run('seq 1 50', 'wide');
  await viewer.untilExact(xvfb, 1_280, 800);
  viewer.press('F11');
  await viewer.untilExact(xvfb, 1_000, 700);
  viewer.resize(800, 600);
  await viewer.untilExact(xvfb, 800, 600);
  await run('seq 1 50', 'small');
  await viewer.untilExact(xvfb, 800, 600);
});

test('the daemon is killed: the window says so, and each key arrives once', async () => {
  viewer.type('bin/sandbox-barcode --log keys.log');
  const typing = new Typing(server, 'ada', viewer);
  await typing.untilHeard();
  let told;
  await typing.typeDuring(KEYS, SEED, () => {
    // Until the words are seen there is no way back.
    relay.bar();
    process.kill(server.daemonPid, 'SIGKILL');
    told = viewer.untilWords(800, 600).finally(() => relay.mend());
  });
  await told;
  await viewer.untilExact(xvfb, 800, 600);
  assert.equal(await viewer.leave(), 0, viewer.said);
});
