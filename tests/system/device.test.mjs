// A device's key: enrolled by a code, signs in without a password, until it is revoked.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import { after, test } from 'node:test';

import { PASSWORD } from './desktop.mjs';
import { discardAll, runToEnd, Server } from './server.mjs';
import { endViewers, view } from './viewer.mjs';
import { until } from './wait.mjs';

after(async () => {
  endViewers();
  await discardAll();
});

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
  const enrol = { args: ['--enrol'], env: { SANDBOX_CODE: fs.readFileSync(file, 'utf8') } };
  const first = view(session.quic_url, enrol);
  await untilWatched(1);
  await until('the first to tell of notices, with its key remembered', () =>
    /not encrypted/.test(first.said));
  const second = view(session.quic_url);
  await untilWatched(2);
  const again = view(session.quic_url, enrol);
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
