// Xvfb whose framebuffer is a file: a screen that is looked at from outside, and hands on its keys.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

import { pixelsIn } from './host.mjs';
import { until } from './wait.mjs';

export class Display {
  #hands;

  /**
   * Starts an Xvfb on a number of its own choice.
   *
   * @param {{size?: string, flags?: string[]}} [how]
   */
  static async start({ size = '1920x1080', flags = [] } = {}) {
    const display = new Display();
    display.fbdir = fs.mkdtempSync('/dev/shm/sandbox-display-');
    const args = ['-displayfd', '3', '-screen', '0', `${size}x24`, '-fbdir', display.fbdir];
    args.push('-nolisten', 'tcp', '-extension', 'GLX', '-noreset', ...flags);
    display.child = spawn('Xvfb', args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
    let number = '';
    display.child.stdio[3].on('data', (bytes) => {
      number += bytes;
    });
    await until('Xvfb to start', () => number.endsWith('\n'));
    display.name = `:${number.trim()}`;
    display.programs = [];
    return display;
  }

  /** Starts a program in the display, with variables beside our own; it ends with the display. */
  run(command, args = [], variables = {}, stdio = 'ignore') {
    const env = { ...process.env, ...variables, DISPLAY: this.name };
    const program = spawn(command, args, { env, stdio });
    this.programs.push(program);
    return program;
  }

  /** Does what xdotool knows, one command after the other. */
  do(command) {
    this.#hands ??= this.run('xdotool', ['-'], {}, ['pipe', 'ignore', 'inherit']);
    this.#hands.stdin.write(`${command}\n`);
  }

  /** As the watcher of a bench wants it named. */
  target(name) {
    return `${name}=${this.name},${this.fbdir}`;
  }

  /** All that it shows. */
  pixels() {
    return pixelsIn(path.join(this.fbdir, 'Xvfb_screen0'));
  }

  async stop() {
    for (const program of [...this.programs, this.child]) {
      if (program.exitCode !== null || program.signalCode !== null) continue;
      const ended = new Promise((resolve) => program.once('exit', resolve));
      program.kill('SIGTERM');
      await ended;
    }
    fs.rmSync(this.fbdir, { recursive: true, force: true });
  }
}
