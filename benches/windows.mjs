// Viewers that fill a display of the bench: the native one, and TigerVNC's with its server.

import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

import { PASSWORD } from '../tests/system/desktop.mjs';
import { BARCODE, freePort, installed } from '../tests/system/server.mjs';
import { until } from '../tests/system/wait.mjs';
import { Display } from '../tests/system/display.mjs';
import { untilShown } from './viewer.mjs';

/** A user's desktop in the native viewer's window, in a display of its own. */
export async function openNative(server, name) {
  const { display, memory } = await emptyDisplay();
  const args = ['--fullscreen', '--size', '1920x1080', '--trust-on-first-use'];
  display.run(installed('sandbox-client'), [...args, addressOf(server, name)], {
    XDG_DATA_HOME: memory,
    SANDBOX_PASSWORD: PASSWORD,
  });
  await untilShown(display);
  return display;
}

/** Of a user's desktop, as the native viewer takes it. */
export function addressOf(server, name) {
  return `${name}@127.0.0.1:${server.variables.MEDIA_PORT}`;
}

/** TigerVNC's server with the barcode program, and its viewer in a display of its own. */
export class TigerVnc {
  /** Nothing where it is not installed. @returns {Promise<TigerVnc | null>} */
  static async open() {
    const isThere = (program) => spawnSync(program, ['-version']).error === undefined;
    if (!['Xvnc', 'vncviewer'].every(isThere)) return null;
    const peer = new TigerVnc();
    const port = String(await freePort());
    const args = ['-displayfd', '3', '-geometry', '1920x1080', '-depth', '24', '-rfbport', port];
    args.push('-localhost', '-SecurityTypes', 'None', '-nolisten', 'tcp', '-noreset');
    const stdio = ['ignore', 'ignore', 'ignore', 'pipe'];
    peer.server = spawn('Xvnc', args, { stdio });
    let number = '';
    peer.server.stdio[3].on('data', (bytes) => {
      number += bytes;
    });
    await until('Xvnc to start', () => number.endsWith('\n'));
    const env = { ...process.env, DISPLAY: `:${number.trim()}` };
    spawn(BARCODE, [], { env, stdio: 'ignore' });
    const { display, memory } = await emptyDisplay();
    peer.display = display;
    const viewer = ['-FullScreen', '-SecurityTypes', 'None', `127.0.0.1::${port}`];
    display.run('vncviewer', viewer, { HOME: memory });
    await untilShown(display);
    return peer;
  }

  /** As it says itself. */
  version() {
    const { stderr } = spawnSync('Xvnc', ['-version'], { encoding: 'utf8' });
    return /TigerVNC (\S+)/.exec(stderr)?.[1] ?? 'unknown';
  }

  async stop() {
    await this.display.stop();
    const ended = new Promise((resolve) => this.server.once('exit', resolve));
    // The barcode program ends with its X server.
    this.server.kill('SIGTERM');
    await ended;
  }
}

/** A display with a window manager, which a window needs to fill it, and a home for programs. */
async function emptyDisplay() {
  const display = await Display.start();
  // What the display's programs remember goes with it.
  const memory = path.join(display.fbdir, 'home');
  fs.mkdirSync(memory);
  // A window that comes before the window manager does may never get the keyboard.
  const mark = path.join(memory, 'managed');
  display.run('openbox', ['--startup', `touch ${mark}`]);
  await until('the window manager to start', () => fs.existsSync(mark));
  return { display, memory };
}
