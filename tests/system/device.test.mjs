// A device's key: enrolled by a code, signs in without a password, until it is revoked.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

import { PASSWORD } from './desktop.mjs';
import { discardAll, installed, runToEnd, Server } from './server.mjs';
import { until } from './wait.mjs';

const memory = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-device-'));
const viewers = [];

after(async () => {
  for (const it of viewers) it.child.kill('SIGKILL');
  await discardAll();
  fs.rmSync(memory, { recursive: true, force: true });
});

/** Starts a native viewer without a password, which remembers its keys in `memory`. */
function view(url, { code, args = [] } = {}) {
  const env = { PATH: process.env.PATH, XDG_DATA_HOME: memory };
  if (code) env.SANDBOX_CODE = code;
  const stdio = ['ignore', 'ignore', 'pipe'];
  const options = { env, stdio, detached: true };
  const child = spawn(installed('sandbox-client'), ['--headless', ...args, url], options);
  const viewer = { child, said: '' };
  child.stderr.on('data', (bytes) => {
    viewer.said += bytes;
  });
  viewer.exited = new Promise((resolve) => {
    child.once('exit', resolve);
  });
  viewers.push(viewer);
  return viewer;
}

/** Runs `device …` as an operator does. */
function device(server, ...args) {
  const { status, stdout, stderr } = runToEnd(['device', ...args], server.variables);
  assert.equal(status, 0, stderr);
  return stdout;
}

test('a device signs in by its key, and is out at once when it is revoked', async () => {
  const server = await Server.start();
  server.addUser('ada', PASSWORD);
  const token = await server.login('ada', PASSWORD);
  const id = await server.startSession(token);
  const { body: session } = await server.session(token, id);
  const untilWatched = (count) => until(`${count} viewers`, async () => {
    const { state } = (await server.session(token, id)).body;
    return state === 'attached' && (await server.stats(token, id)).viewers === count;
  });

  const file = device(server, 'enrol', 'ada').trim();
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  const code = fs.readFileSync(file, 'utf8').trim();
  const first = view(session.quic_url, { code, args: ['--enrol'] });
  await untilWatched(1);
  const second = view(session.quic_url);
  await untilWatched(2);
  const again = view(session.quic_url, { code, args: ['--enrol'] });
  assert.equal(await again.exited, 3, `a code is good once: ${again.said}`);

  const [enrolled, ...others] = JSON.parse(device(server, 'list', '--json'));
  assert.deepEqual([enrolled.user, enrolled.name, others], ['ada', os.hostname(), []]);
  device(server, 'revoke', enrolled.id);
  for (const it of [first, second]) {
    assert.equal(await it.exited, 3, it.said);
    assert.match(it.said, /sign in again/);
  }
  const late = view(session.quic_url);
  assert.equal(await late.exited, 3, late.said);
  await server.untilState(token, id, 'detached');
});
