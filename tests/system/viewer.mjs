// The real native viewer, without a window and without a terminal.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { installed } from './server.mjs';

const viewers = [];
let memory;

/**
 * Starts one; all of a file remember their servers and keys in one place.
 *
 * @param {string} url as `quic_url` has it
 * @param {{args?: string[], env?: Record<string, string>}} [how]
 */
export function view(url, { args = [], env = {} } = {}) {
  memory ??= fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-viewer-'));
  const options = {
    env: { PATH: process.env.PATH, XDG_DATA_HOME: memory, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A session of its own has no terminal to ask on.
    detached: true,
  };
  const child = spawn(installed('sandbox-client'), ['--headless', ...args, url], options);
  const viewer = { child, printed: '', said: '' };
  child.stdout.on('data', (bytes) => {
    viewer.printed += bytes;
  });
  child.stderr.on('data', (bytes) => {
    viewer.said += bytes;
  });
  /** The exit code, once all that was said has been read. */
  viewer.exited = new Promise((resolve) => {
    child.once('close', resolve);
  });
  viewers.push(viewer);
  return viewer;
}

/** Ends every viewer of this file; for `after` hooks. */
export function endViewers() {
  for (const { child } of viewers) child.kill('SIGKILL');
  if (memory) fs.rmSync(memory, { recursive: true, force: true });
}
