// What the native viewer's connection carries: bytes per letter, page and window, and at rest; and
// how soon its picture is the X server's, bit for bit.

import { setTimeout as pause } from 'node:timers/promises';
import fs from 'node:fs';
import path from 'node:path';

import { serverWith } from '../tests/system/desktop.mjs';
import { NOISE, TEXT } from '../tests/system/motion.mjs';
import { NativeViewer, runInTerminal, xvfbOf } from '../tests/system/native.mjs';
import { Relay } from '../tests/system/relay.mjs';
import { seeded, until } from '../tests/system/wait.mjs';
import { figure, one } from './figures.mjs';

const SECONDS = Number(process.env.SECONDS_STILL ?? 30);
const LETTERS = 60;
const PAGES = 20;
const SWITCHES = 20;
const BURSTS = 5;
/** Of IPv4 and UDP, which each datagram has on the wire. */
const HEADER_BYTES = 28;
/** Nothing passes for so long: what was asked for is there, sharp and acknowledged. */
const REST_MS = 300;
const NAME = 'bench';

const PROSE_LINES = 3_000;
/** Frequent ones more often. */
const LETTERS_BY_USE = 'eeeeetttaaaooiiinnnsssrrhhlldduccmfpgwyb';
const SPACE = 'key 57 0x20';
/**
 * Terminals of 80 × 50 characters, one over most of the other: their fonts, where each shows
 * beside the other one, and the line that its text begins with.
 */
const SHARP = { at: '80x50+200+60', font: '-fn fixed', click: '665 400', line: 1 };
const SMOOTH = { at: '80x50+0+0', font: '-fa Mono -fs 10', click: '100 400', line: 1_500 };

/** All of it, on a desktop of its own. */
export async function measureWire(seed) {
  const relay = await Relay.open();
  try {
    const server = await serverWith([NAME], '', { 'text.txt': { text: prose(seed) } });
    relay.connect(Number(server.variables.MEDIA_PORT));
    const wire = await Wire.open(server, relay);
    const typed = await wire.type(seed);
    const flooded = await wire.move('flood', TEXT);
    const moved = await wire.move('noise', NOISE);
    await wire.openWindows();
    const sharp = await wire.page(SHARP);
    const smooth = await wire.page(SMOOTH);
    const switched = await wire.switchWindows();
    const rest = await wire.rest();
    await wire.viewer.leave();
    const bytes = (some) => some.map((it) => it.bytes);
    const exact = (some) => some.map((it) => it.exact);
    return [
      figure('a letter typed, both ways', 'byte', bytes(typed)),
      figure('a page scrolled in a terminal, both ways', 'byte', bytes(sharp)),
      figure('a page of smooth letters scrolled, both ways', 'byte', bytes(smooth)),
      figure('a window switched back to, both ways', 'byte', bytes(switched)),
      figure('last change to exact, letter', 'ms', exact(typed)),
      figure('last change to exact, page', 'ms', exact(sharp)),
      figure('last change to exact, page of smooth letters', 'ms', exact(smooth)),
      figure('last change to exact, text that floods a terminal', 'ms', exact(flooded)),
      figure('last change to exact, colours that move', 'ms', exact(moved)),
      ...rest,
    ];
  } finally {
    relay.close();
  }
}

class Wire {
  /** How many datagrams had passed when that was last looked at and more. */
  seen = { passed: -1, at: 0 };

  /** Attaches a viewer by way of the relay and waits for the terminal. */
  static async open(server, relay) {
    const wire = new Wire();
    const port = relay.address.split(':')[1];
    Object.assign(wire, { server, relay, stats: path.join(server.variables.STATE_DIR, 'seconds') });
    const flags = ['--stats-json', wire.stats];
    const where = { port, name: NAME, size: '1920x1080' };
    wire.viewer = await new NativeViewer(where, flags).show();
    await runInTerminal(wire.viewer, server, NAME, 'touch ready', 'ready');
    wire.xvfb = xvfbOf(server, NAME);
    return wire;
  }

  async untilRests() {
    await until('the connection to rest', () => {
      const now = performance.now();
      const { passed } = this.relay;
      if (passed !== this.seen.passed) this.seen = { passed, at: now };
      return now - this.seen.at >= REST_MS;
    });
    await this.viewer.untilExact(this.xvfb);
  }

  /** Runs a program in the desktop's own terminal and waits until it shows. */
  async run(command, ...marks) {
    this.viewer.type(command);
    const { home } = this.server.homeOf(NAME);
    const missing = () => marks.filter((it) => !fs.existsSync(path.join(home, it)));
    await until(`${command} to run`, () => missing().length === 0).catch((error) => {
      throw new Error(`${error.message}: there is no ${missing()}; ${this.viewer.said}`);
    });
    await this.untilRests();
  }

  /** What `act` costs until the picture is the X server's and the connection rests. */
  async measure(act) {
    await this.untilRests();
    const from = this.viewer.updates().length;
    const { bytes, passed } = this.relay;
    await act();
    await until('a change', () => this.viewer.updates().length > from);
    await this.untilRests();
    const datagrams = this.relay.passed - passed;
    return {
      bytes: this.relay.bytes - bytes + datagrams * HEADER_BYTES,
      exact: millisToExact(this.viewer.updates().slice(from)),
    };
  }

  /** Letters that a program takes and the terminal shows. */
  async type(seed) {
    await this.run('touch typing; cat > /dev/null', 'typing');
    const random = seeded(seed);
    const samples = [];
    for (let typed = 0; typed < LETTERS; typed += 1) {
      const letter = String.fromCharCode(97 + Math.floor(random() * 26));
      samples.push(await this.measure(() => this.viewer.step(`text ${letter}`)));
    }
    this.viewer.type('');
    // Control+D ends it.
    for (const it of ['29 0xffe3 down', '32 0x64 down', '32 0x64 up', '29 0xffe3 up']) {
      this.viewer.step(`key ${it}`);
    }
    return samples;
  }

  /** A terminal full of what changes with each frame, for a second. */
  async move(name, frame) {
    const { home } = this.server.homeOf(NAME);
    const frames = `for i in $(seq 40); do ${frame}; sleep 0.02; done`;
    const samples = [];
    for (let burst = 0; burst < BURSTS; burst += 1) {
      const mark = path.join(home, `${name}-${burst}`);
      const act = async () => {
        this.viewer.type(`${frames}; touch ${path.basename(mark)}`);
        await until('motion to end', () => fs.existsSync(mark));
      };
      samples.push(await this.measure(act));
    }
    return samples;
  }

  /** Opens the windows with text. */
  async openWindows() {
    // One line for both: the first to open takes the keyboard from the terminal that starts them.
    const lines = [SHARP, SMOOTH].map(({ at, font, line }) => {
      const less = `touch ${at}; exec less +${line} bin/text.txt`;
      return `xterm ${font} -geometry ${at} -e sh -c '${less}' &`;
    });
    await this.run(lines.join(' '), SHARP.at, SMOOTH.at);
  }

  click(at) {
    for (const it of [`move ${at}`, `button 0 down ${at}`, `button 0 up ${at}`]) {
      this.viewer.step(it);
    }
  }

  /** Whole pages of text in a window, each of them shown for the first time. */
  async page(window) {
    this.click(window.click);
    const samples = [];
    for (let page = 0; page < PAGES; page += 1) {
      samples.push(await this.measure(() => this.viewer.press(SPACE)));
    }
    return samples;
  }

  /** A click into what shows of the window behind brings it to the front. */
  async switchWindows() {
    const samples = [];
    for (let turn = 0; turn < SWITCHES + 2; turn += 1) {
      const { click } = turn % 2 === 0 ? SHARP : SMOOTH;
      const sample = await this.measure(() => this.click(click));
      // Each window is switched to once before it is switched back to.
      if (turn >= 2) samples.push(sample);
    }
    return samples;
  }

  /** A desktop where nothing changes. */
  async rest() {
    await this.untilRests();
    const seconds = () => {
      const lines = fs.readFileSync(this.stats, 'utf8').split('\n').slice(0, -1);
      return lines.map((it) => JSON.parse(it));
    };
    // The second that is going on counts what came before the rest.
    const before = seconds().length;
    await until('a second to end', () => seconds().length > before);
    const from = before + 1;
    const { bytes, passed } = this.relay;
    await pause(SECONDS * 1_000);
    const all = this.relay.bytes - bytes + (this.relay.passed - passed) * HEADER_BYTES;
    const media = seconds().slice(from).reduce((sum, it) => sum + it.packets, 0);
    return [
      one('at rest: media packets', '', media),
      one('at rest: keep-alives, both ways', '', this.relay.passed - passed),
      one('at rest: their bytes', 'kbit/s', (all * 8) / 1_000 / SECONDS),
    ];
  }
}

/** From the damage behind the last change of content to the first picture like the last one. */
function millisToExact(updates) {
  const last = updates.findLastIndex((it) => !it.refinement);
  const { hash } = updates.at(-1);
  const exact = updates.findLastIndex((it) => it.hash !== hash) + 1;
  const shown = updates[Math.max(exact, last)];
  const { captured_us: captured, lag_us: lag } = updates[last];
  // The stamp of a copy has the lower half of the server's clock.
  return ((shown.server_clock_us - captured + lag + 2 ** 32) % 2 ** 32) / 1_000;
}

/** Text of words of made-up letters, in lines of 60 to 78 characters. */
function prose(seed) {
  const random = seeded(seed);
  const word = () => {
    const length = 2 + Math.floor(random() * 9);
    const letters = Array.from({ length }, () => LETTERS_BY_USE[Math.floor(random() * 40)]);
    return letters.join('');
  };
  const lines = [];
  while (lines.length < PROSE_LINES) {
    let line = word();
    const length = 60 + Math.floor(random() * 18);
    while (line.length < length) line += ` ${word()}`;
    lines.push(line.slice(0, 78));
  }
  return `${lines.join('\n')}\n`;
}
