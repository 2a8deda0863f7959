// What loss, full links and other addresses cost the native protocol: both ends and a relay in one
// program, and key frames with the real server, viewer and encoder behind a relay that loses.

import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

import { serverWith } from '../tests/system/desktop.mjs';
import { NOISE } from '../tests/system/motion.mjs';
import { closeViewers, NativeViewer, runInTerminal } from '../tests/system/native.mjs';
import { LOSSES, Relay } from '../tests/system/relay.mjs';
import { discardAll } from '../tests/system/server.mjs';
import { until } from '../tests/system/wait.mjs';
import { figure, one, report, ROOT } from './figures.mjs';

const SEED = Number(process.env.SEED ?? 4);
const TARGET = process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target');
const BUILD = process.env.SANDBOX_BUILD ?? path.join(TARGET, 'debug');
const NAME = 'bench';
/** Of a round trip, one way; motion for so long. */
const ONE_WAY_MS = 20;
const MOTION_MS = 20_000;
/** Figures of one value that is no time. */
const COUNTS = /missing|held back|never came/;

const notes = { seed: SEED, one_way_ms: ONE_WAY_MS };
const lines = await measureEnds();
try {
  lines.push(...(await keyFrames()));
  report('transport', lines, notes);
} finally {
  closeViewers();
  await discardAll();
}

/** Everything that needs no desktop. */
async function measureEnds() {
  const program = path.join(BUILD, 'sandbox-bench-transport');
  const child = spawn(program, [String(SEED)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const found = [];
  for await (const line of createInterface(child.stdout)) {
    const { name, samples } = JSON.parse(line);
    found.push(COUNTS.test(name) ? one(name, '', samples[0]) : figure(name, 'ms', samples));
  }
  const code = await ended;
  if (code !== 0) throw new Error(`${program} ended with ${code}`);
  return found;
}

/** Motion through 5 % of loss, by an encoder that can go on without what is lost. */
async function keyFrames() {
  const relay = await Relay.open();
  try {
    const server = await serverWith([NAME], '', {}, { VIDEO_CODEC: 'libx264' });
    relay.connect(Number(server.variables.MEDIA_PORT));
    relay.lead({ delay: ONE_WAY_MS }, SEED);
    const port = relay.address.split(':')[1];
    const viewer = await new NativeViewer({ port, name: NAME, size: '1920x1080' }).show();
    const motion = `while :; do ${NOISE}; sleep 0.02; done`;
    await runInTerminal(viewer, server, NAME, `touch ready; ${motion}`, 'ready');
    await until('video', () => viewer.updates().some((it) => it.video));
    const began = viewer.updates().length;
    relay.lose('random', SEED);
    await pause(MOTION_MS);
    if (!viewer.updates().some((it) => it.keyframe)) throw new Error('no update has a key frame');
    const updates = viewer.updates().slice(began);
    notes.motion = {
      lost: relay.lost,
      passed: relay.passed,
      updates: updates.length,
      video: updates.filter((it) => it.video).length,
    };
    await viewer.leave();
    return [
      one('5 % of loss: key frames after the first', '', count(updates, 'keyframe')),
      one('5 % of loss: whole pictures after the first', '', count(updates, 'whole')),
    ];
  } finally {
    relay.close();
  }
}

function count(updates, what) {
  return updates.filter((it) => it[what]).length;
}
