// The native viewer over bad paths: whatever a network does, every key arrives once and the picture
// ends as the X server's, bit for bit, on the same connection.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { serverWith, SHOW_BARCODE } from './desktop.mjs';
import { NOISE as MOTION } from './motion.mjs';
import { closeViewers, NativeViewer, runInTerminal, xvfbOf } from './native.mjs';
import { alone, inRuns, Relay } from './relay.mjs';
import { discardAll } from './server.mjs';
import { Typing } from './typing.mjs';
import { seeded, until } from './wait.mjs';

const IS_LONG = process.env.LONG === '1';
/** It would go another way where this one is silent. */
const BY_UDP = ['--transport', 'udp'];
const SEED = Number(process.env.SEED ?? 7);
const KEYS = IS_LONG ? 200 : 60;
/** A new size is a whole picture. */
const SIZES = ['900 700', '1024 768'];
/** The whole screen, so many times, of noise: too large for datagrams. */
const CHANGES = IS_LONG ? 40 : 6;
const NOISE = { width: 1_600, height: 1_000 };
const DATAGRAMS_MAX = 65_535;

/**
 * What happens to the path; each leaves it as it was.
 *
 * @type {Record<string, (changes: {areLarge: boolean}) => Promise<void>>}
 */
const PATHS = {
  // First: QUIC takes much loss for a path that has become narrow.
  'datagrams of 1,200 bytes at most': async ({ areLarge }) => {
    const { lost } = relay;
    relay.lead({ widest: 1_200 }, SEED);
    // Text and small pictures fit.
    if (areLarge) await until('a datagram that is too wide', () => relay.lost > lost);
    await pause(SPELL_MS);
    relay.lead({}, SEED);
  },
  '20 % of loss': () => losing(alone(0.2)),
  '10 % of loss in runs of 8': () => losing(inRuns(0.1, 8)),
  'a third overtaken, a fifth doubled': () => leading({ late: 0.3, lateBy: 30, twice: 0.2 }),
  'a delay that comes and goes': async () => {
    await leading({ delay: 80 });
    await leading({ delay: 5 });
  },
  'another address, and another': async () => {
    relay.forget();
    await pause(SPELL_MS);
    relay.forget();
  },
  '5 s of silence': async () => {
    relay.cut();
    await pause(5_000);
    relay.mend();
  },
};
if (IS_LONG) {
  for (const percent of [1, 2, 5, 10, 15]) {
    PATHS[`${percent} % of loss`] = () => losing(alone(percent / 100));
    PATHS[`${percent} % of loss in runs of 4`] = () => losing(inRuns(percent / 100, 4));
  }
}
const SPELL_MS = IS_LONG ? 3_000 : 700;

let relay;
let port;
before(async () => {
  relay = await Relay.open();
  port = relay.address.split(':')[1];
});
after(async () => {
  closeViewers();
  await discardAll();
  relay?.close();
});

/** A path of 20 ms that loses for a while. */
async function losing(plan) {
  relay.lose(plan, SEED);
  await leading({ delay: 10 });
  const { lost } = relay;
  relay.lose('none', SEED);
  assert.ok(lost > 0, 'nothing was lost');
}

async function leading(path) {
  relay.lead(path, SEED);
  await pause(SPELL_MS);
  relay.lead({}, SEED);
}

test('keys and whole pictures over every kind of path', async (t) => {
  const server = await serverWith(['ada'], SHOW_BARCODE);
  relay.connect(Number(server.variables.MEDIA_PORT));
  const viewer = await new NativeViewer({ port }, BY_UDP).show();
  const typing = new Typing(server, 'ada', viewer);
  await typing.untilHeard();
  const xvfb = xvfbOf(server, 'ada');
  let sizes = 0;
  for (const [name, happens] of Object.entries(PATHS)) {
    await t.test(name, async () => {
      let over;
      const size = SIZES[sizes % SIZES.length];
      sizes += 1;
      await typing.typeDuring(KEYS, SEED, () => {
        over = happens({ areLarge: false });
        viewer.step(`resize ${size}`);
      });
      await over;
      await until('the new size', () => size.startsWith(`${viewer.updates().at(-1).width} `));
      await viewer.untilExact(xvfb);
      assert.doesNotMatch(viewer.said, /connecting again/);
    });
  }
  assert.equal(await viewer.leave(), 0, viewer.said);
});

test('large changes over every kind of path', async (t) => {
  const server = await serverWith(['bob'], '', { noise: { text: noise() } });
  relay.connect(Number(server.variables.MEDIA_PORT));
  const size = `${NOISE.width}x${NOISE.height}`;
  const viewer = await new NativeViewer({ port, name: 'bob', size }, BY_UDP).show();
  await runInTerminal(viewer, server, 'bob', 'clear; touch ready', 'ready');
  const xvfb = xvfbOf(server, 'bob');
  const { home } = server.homeOf('bob');
  // Each in colours of its own: what was shown before is in the cache.
  const show = (mark) => `xsetroot -bitmap bin/noise -fg gray$i -bg rgb:0/${mark}/ff; sleep 0.1`;
  const move = IS_LONG ? MOTION : ':';
  let marks = 0;
  for (const [name, happens] of Object.entries(PATHS)) {
    await t.test(name, async () => {
      marks += 1;
      const mark = `changed-${marks}`;
      const over = happens({ areLarge: true });
      viewer.type(`for i in $(seq ${CHANGES}); do ${show(marks)}; ${move}; done; touch ${mark}`);
      await until('the changes to end', () => fs.existsSync(path.join(home, mark)));
      await over;
      await viewer.untilExact(xvfb);
      assert.doesNotMatch(viewer.said, /connecting again/);
    });
  }
  // A link that was measured as a slow one gets smaller ones.
  const largest = Math.max(...viewer.updates().map((it) => it.bytes));
  assert.ok(largest > DATAGRAMS_MAX, `the largest update had ${largest} bytes`);
  assert.equal(await viewer.leave(), 0, viewer.said);
});

/** A picture of two colours by chance, as X keeps such ones. */
function noise() {
  const random = seeded(SEED);
  const { width, height } = NOISE;
  const byte = () => `0x${Math.floor(random() * 256).toString(16)}`;
  const bytes = Array.from({ length: (width / 8) * height }, byte);
  return `#define noise_width ${width}\n#define noise_height ${height}\n`
    + `static char noise_bits[] = {\n${bytes.join(',')}};\n`;
}
