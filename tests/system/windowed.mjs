// The native viewer's window on a screen of its own, with hands at its keyboard.

import fs from 'node:fs';
import path from 'node:path';

import { PASSWORD } from './desktop.mjs';
import { Display } from './display.mjs';
import { pixelsOf } from './host.mjs';
import { linesOf } from './native.mjs';
import { installed } from './server.mjs';
import { until } from './wait.mjs';

/** Windows begin in the corner, without a frame: where their pixels are is known. */
const BARE_WINDOWS = `<?xml version="1.0"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
<theme><keepBorder>no</keepBorder></theme>
<applications><application class="*">
<decor>no</decor><position force="yes"><x>0</x><y>0</y></position>
</application></applications>
</openbox_config>`;

/** What words over the picture are written on, and with. */
const PAPER = 0x101418;
const INK = 0xe8e8e8;
/** A line and what is between two, in rows. */
const LINE = 22;

export class WindowedViewer {
  said = '';

  /**
   * Opens the window of a user of these tests.
   *
   * @param {{port: string | number, name?: string, size?: string, screen?: string}} where
   */
  static async open({ port, name = 'ada', size = '1000x700', screen = '1280x800' }) {
    const viewer = new WindowedViewer();
    // The pointer would lie over the window's pixels: this screen paints none.
    viewer.display = await Display.start({ size: screen, flags: ['-nocursor'] });
    const at = (file) => path.join(viewer.display.fbdir, file);
    viewer.log = at('frames');
    fs.writeFileSync(at('rc.xml'), BARE_WINDOWS);
    const startup = ['--startup', `touch ${at('managed')}`];
    viewer.display.run('openbox', ['--config-file', at('rc.xml'), ...startup]);
    // A window that comes before the window manager does may never get the keyboard.
    await until('the window manager to start', () => fs.existsSync(at('managed')));
    const args = ['--trust-on-first-use', '--transport', 'udp', '--size', size];
    args.push('--frame-log', viewer.log, `${name}@127.0.0.1:${port}`);
    const env = { XDG_DATA_HOME: at('home'), SANDBOX_PASSWORD: PASSWORD, WAYLAND_DISPLAY: '' };
    const stdio = ['ignore', 'ignore', 'pipe'];
    viewer.child = viewer.display.run(installed('sandbox-client'), args, env, stdio);
    viewer.child.stderr.on('data', (bytes) => {
      viewer.said += bytes;
    });
    viewer.exited = new Promise((resolve) => viewer.child.once('exit', resolve));
    return viewer;
  }

  /** Types a line, with its end. */
  type(line) {
    if (line !== '') this.display.do(`type --delay 0 "${line}"`);
    this.press('Return');
  }

  /** Presses the key of a letter. */
  letter(letter) {
    this.press(letter);
  }

  /** Presses a key that X knows by this name. */
  press(name) {
    this.display.do(`key --delay 0 ${name}`);
  }

  /** The window gets another size, as if its border were dragged. */
  resize(width, height) {
    this.display.do(`getactivewindow windowsize ${width} ${height}`);
  }

  /** Waits until it shows exactly what the X server does, pixel by pixel. */
  async untilExact(xvfb, width, height) {
    await until(`the window to show ${width}x${height} as they are; ${this.said}`, () => {
      const newest = linesOf(this.log).at(-1);
      const hasSize = newest?.width === width && newest.height === height;
      return hasSize && isSame(this.display.pixels(), pixelsOf(xvfb), width, height);
    });
  }

  /** Waits until the window, of this size, says something in its middle. */
  async untilWords(width, height) {
    await until('words in the window', () => {
      const screen = this.display.pixels();
      // Between two lines there is no ink.
      const middle = Array.from({ length: LINE }, (_, y) => {
        return rowOf(screen, (height >> 1) + y, width);
      }).flat();
      return [PAPER, INK].every((colour) => middle.includes(colour));
    });
  }

  /** Leaves as the window's user does; the exit code. */
  async leave() {
    this.press('ctrl+alt+shift+q');
    return this.exited;
  }

  async close() {
    await this.display.stop();
  }
}

/** The colours of a row's first pixels. */
function rowOf({ stride, pixels }, y, width) {
  const row = pixels.subarray(y * stride, y * stride + width * 4);
  return Array.from({ length: width }, (_, x) => row.readUIntLE(x * 4, 3));
}

function isSame(shown, wanted, width, height) {
  return Array.from({ length: height }, (_, y) => y).every((y) => {
    const [one, other] = [shown, wanted].map((it) => rowOf(it, y, width));
    return one.every((colour, x) => colour === other[x]);
  });
}
