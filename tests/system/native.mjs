// The native viewer without a window, driven line by line, and what it says of its picture.

import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { PASSWORD } from './desktop.mjs';
import { pixelsOf } from './host.mjs';
import { HASH, installed } from './server.mjs';
import { until } from './wait.mjs';

const ENTER = 'key 28 0xff0d';
const viewers = new Set();

/** Ends every viewer that still lives. */
export function closeViewers() {
  for (const it of viewers) it.child.kill('SIGKILL');
}

export class NativeViewer {
  said = '';
  #log;
  #seconds;

  /**
   * Connects as a user of these tests.
   *
   * @param {{port: string | number, name?: string, size?: string, memory?: string}} where
   *   `memory`: a folder that outlives it; one of its own otherwise
   * @param {string[]} [flags] more of them
   */
  constructor({ port, name = 'ada', size = '1024x768', memory }, flags = []) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-native-'));
    this.memory = memory ?? folder;
    this.#log = path.join(folder, 'frames');
    this.#seconds = path.join(folder, 'seconds');
    const args = [
      '--headless', '--trust-on-first-use', '--script', '-', '--frame-log', this.#log,
      '--stats-json', this.#seconds,
      '--size', size, ...flags, `${name}@127.0.0.1:${port}`,
    ];
    const env = { PATH: process.env.PATH, XDG_DATA_HOME: this.memory, SANDBOX_PASSWORD: PASSWORD };
    const stdio = ['pipe', 'ignore', 'pipe'];
    this.child = spawn(installed('sandbox-client'), args, { env, stdio });
    this.child.stderr.on('data', (bytes) => {
      this.said += bytes;
    });
    this.exited = new Promise((resolve) => {
      this.child.once('exit', (code) => {
        viewers.delete(this);
        fs.rmSync(folder, { recursive: true, force: true });
        resolve(code);
      });
    });
    viewers.add(this);
  }

  /** Does a step of a script. */
  step(line) {
    this.child.stdin.write(`${line}\n`);
  }

  /** Types a line, with its end. */
  type(line) {
    if (line !== '') this.step(`text ${line}`);
    this.press();
  }

  /** Presses a key: Enter unless told otherwise. */
  press(key = ENTER) {
    this.step(`${key} down`);
    this.step(`${key} up`);
  }

  /** Presses the key of a letter. */
  letter(letter) {
    this.step(`text ${letter}`);
  }

  /** Every update so far. */
  updates() {
    return linesOf(this.#log);
  }

  /** Waits until its packets travel so: `udp` or `websocket`. */
  async untilBy(transport) {
    await until(`its packets to travel by ${transport}`, () => {
      return linesOf(this.#seconds).at(-1)?.transport === transport;
    });
  }

  /** Waits for the first picture. */
  async show() {
    await until(`a picture; the viewer says ${this.said || 'nothing'}`, () => {
      return this.updates().length > 0;
    });
    return this;
  }

  /** Waits until it shows exactly what the X server does. */
  async untilExact(xvfb) {
    await until('the viewer to show what the X server does', () => {
      const { width, height, hash } = this.updates().at(-1);
      return hash === hashOf(pixelsOf(xvfb), width, height);
    });
  }

  async leave() {
    this.step('end');
    return this.exited;
  }
}

/** The lines of JSON in a file that is being written. */
export function linesOf(file) {
  if (!fs.existsSync(file)) return [];
  const lines = fs.readFileSync(file, 'utf8').split('\n');
  // The last one may be half written.
  return lines.slice(0, -1).map((it) => JSON.parse(it));
}

/** The hash by which viewers compare their pictures, of the part that the desktop fills. */
function hashOf({ stride, pixels }, width, height) {
  const rows = Array.from({ length: height }, (_, y) => {
    return pixels.subarray(y * stride, y * stride + width * 4);
  });
  const size = [width, height].map(String);
  const { stdout, stderr, status } = spawnSync(HASH, size, { input: Buffer.concat(rows) });
  if (status !== 0) throw new Error(`cannot hash: ${stderr}`);
  return String(stdout).trim();
}

/** Waits until the terminal has the keyboard, and has run a command that makes a file. */
export async function runInTerminal(viewer, server, name, command, mark) {
  const isThere = (file) => () => fs.existsSync(path.join(server.homeOf(name).home, file));
  await until('the terminal to have the keyboard', async () => {
    viewer.type('');
    viewer.type('touch .has-keyboard');
    const patience = { patience: 2_000 };
    return until('its file', isThere('.has-keyboard'), patience).catch(() => false);
  });
  fs.rmSync(path.join(server.homeOf(name).home, '.has-keyboard'));
  viewer.type(command);
  await until(`the terminal to run ${command}`, isThere(mark));
}

/** The X server of a user's desktop. */
export function xvfbOf(server, name) {
  const uids = new Set(server.programsOf(name).map((it) => it.uid));
  return server.jailed().find((it) => it.name === 'Xvfb' && uids.has(it.uid - 1)).pid;
}
