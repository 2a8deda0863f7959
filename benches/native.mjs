// The native viewer: key to pixel in its window, connecting, bytes, exactness, rest.

import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import { PASSWORD, serverWith } from '../tests/system/desktop.mjs';
import { closeViewers } from '../tests/system/native.mjs';
import { BARCODE, discardAll, installed, runToEnd } from '../tests/system/server.mjs';
import { Display } from '../tests/system/display.mjs';
import { figure, one, report } from './figures.mjs';
import { count, millis, press, untilShown } from './viewer.mjs';
import { addressOf, openNative, TigerVnc } from './windows.mjs';
import { measureWire } from './wire.mjs';

const KEYS = Number(process.env.KEYS ?? 1_000);
const ROUNDS = Number(process.env.ROUNDS ?? 20);
const BLOCK = 100;
const SEED = Number(process.env.SEED ?? 4);
const SIZE = { width: 1920, height: 1080 };

const lines = [];
const notes = { seed: SEED };
try {
  const server = await serverWith(['bench']);
  const token = await server.login('bench', PASSWORD);
  await server.startSession(token, SIZE);
  lines.push(...(await connect(server)));
  lines.push(...(await keyToPixel(server)));
  await discardAll();
  try {
    lines.push(...(await measureWire(SEED)));
  } catch (error) {
    // What was measured before it counts all the same.
    notes.wire = `not measured: ${error.message}`;
  }
  report('native', lines, notes);
} finally {
  closeViewers();
  await discardAll();
}

/** A key in the window's display to a pixel there; TigerVNC and nothing remote beside, by turns. */
async function keyToPixel(server) {
  const floor = await Display.start();
  let native;
  let vnc;
  try {
    floor.run(BARCODE);
    await untilShown(floor);
    native = await openNative(server, 'bench');
    vnc = await TigerVnc.open();
    notes.tigervnc = vnc?.version() ?? 'not installed, so nothing was measured beside it';
    const targets = [native.target('native'), floor.target('floor')];
    if (vnc) targets.push(vnc.display.target('tigervnc'));
    const [ours, local, theirs] = await press({ keys: KEYS, block: BLOCK, seed: SEED }, targets);
    notes.seen = { native: count(ours), floor: count(local) };
    const beside = { name: 'X alone (floor)', samples: millis(local) };
    const line = figure('key to pixel, native', 'ms', millis(ours), beside);
    if (!theirs) return [line];
    notes.seen.tigervnc = count(theirs);
    const peer = figure('key to pixel, TigerVNC', 'ms', millis(theirs));
    return [line, peer, one('native, p50 of that of TigerVNC', '', line.p50 / peer.p50)];
  } finally {
    for (const it of [native, vnc, floor]) await it?.stop();
  }
}

/** From the start of a connection to a desktop that runs, in a new process each time. */
async function connect(server) {
  const memory = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-bench-'));
  const variables = { XDG_DATA_HOME: memory, SANDBOX_PASSWORD: PASSWORD };
  try {
    const byPassword = await probes(server, [], variables);
    const enrolled = runToEnd(['device', 'enrol', 'bench'], server.variables);
    if (enrolled.status !== 0) throw new Error(`device enrol: ${enrolled.stderr}`);
    const code = fs.readFileSync(enrolled.stdout.trim(), 'utf8').trim();
    await probe(server, ['--enrol'], { XDG_DATA_HOME: memory, SANDBOX_CODE: code });
    const byDevice = await probes(server, [], { XDG_DATA_HOME: memory });
    return [
      figure('connect to attached, by password', 'ms', byPassword.map((it) => it.connect_ms)),
      figure('connect to picture, by password', 'ms', byPassword.map((it) => it.first_picture_ms)),
      figure('connect to attached, by device key', 'ms', byDevice.map((it) => it.connect_ms)),
      figure('connect to picture, by device key', 'ms', byDevice.map((it) => it.first_picture_ms)),
    ];
  } finally {
    fs.rmSync(memory, { recursive: true, force: true });
  }
}

/** The first one pays for what later ones find in the page cache. */
async function probes(server, flags, variables) {
  const found = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const line = await probe(server, flags, variables);
    if (round > 0) found.push(line);
  }
  return found;
}

async function probe(server, flags, variables) {
  const args = ['--headless', '--probe', '--trust-on-first-use', '--size', '1920x1080', ...flags];
  const env = { PATH: process.env.PATH, ...variables };
  const program = installed('sandbox-client');
  const ran = await promisify(execFile)(program, [...args, addressOf(server, 'bench')], { env });
  return JSON.parse(ran.stdout);
}
