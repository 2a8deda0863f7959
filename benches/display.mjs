// Xvfb whose framebuffer is a file, for what a bench watches from outside.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

import { until } from '../tests/system/wait.mjs';

export class Display {
  /** Starts an Xvfb of 1920 × 1080 on a number of its own choice. */
  static async start() {
    const display = new Display();
    display.fbdir = fs.mkdtempSync('/dev/shm/sandbox-bench-');
    const args = ['-displayfd', '3', '-screen', '0', '1920x1080x24', '-fbdir', display.fbdir];
    args.push('-nolisten', 'tcp', '-extension', 'GLX', '-noreset');
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

  /** Starts a program in the display, with variables beside those of the bench; it ends with it. */
  run(command, args = [], variables = {}) {
    const env = { ...process.env, ...variables, DISPLAY: this.name };
    this.programs.push(spawn(command, args, { env, stdio: 'ignore' }));
  }

  /** As the watcher wants it named. */
  target(name) {
    return `${name}=${this.name},${this.fbdir}`;
  }

  /** Brightness of a pixel's green. */
  green(x, y) {
    const file = fs.openSync(path.join(this.fbdir, 'Xvfb_screen0'), 'r');
    const header = Buffer.alloc(100);
    fs.readSync(file, header, 0, 100, 0);
    const field = (index) => header.readUInt32BE(index * 4);
    const pixel = Buffer.alloc(4);
    const at = field(0) + field(19) * 12 + y * field(12) + x * 4;
    fs.readSync(file, pixel, 0, 4, at);
    fs.closeSync(file);
    return pixel[1];
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
