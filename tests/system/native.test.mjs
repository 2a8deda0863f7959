// A page and a native viewer at one desktop, and what a native viewer outlives.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { waitForNumber } from './barcode.mjs';
import { close, onlySession, openBarcode, openBrowser, PASSWORD, serverWith } from './desktop.mjs';
import { runToEnd } from './server.mjs';
import { endViewers, view } from './viewer.mjs';
import { until } from './wait.mjs';

const env = { SANDBOX_PASSWORD: PASSWORD };

let server;
let browser;
let page;
let token;
let session;

before(async () => {
  browser = await openBrowser();
  server = await serverWith(['ada']);
  page = await openBarcode(browser, server, 'ada');
  token = await server.login('ada', PASSWORD);
  session = await onlySession(server, token);
});
after(async () => {
  endViewers();
  await close(browser);
});

const isWatching = () => page.locator('#watching').isVisible();

/** How many key presses the program has seen. */
function presses() {
  const log = fs.readFileSync(path.join(server.homeOf('ada').home, 'keys.log'), 'utf8');
  return log.trim().split('\n').length;
}

test('a native viewer presses keys, and a page beside it shows what they do', async () => {
  const viewer = view(session.quic_url, { env, args: ['--probe'] });
  await until('the page to be the one that watches', isWatching);
  assert.equal(await viewer.exited, 0, viewer.said + viewer.printed);
  const { ok, keys } = JSON.parse(viewer.printed);
  assert.deepEqual([ok, keys, presses()], [true, 10, 10]);
  await waitForNumber(page, 10);
  await until('the page to have the keyboard again', async () => !(await isWatching()));
  await page.keyboard.press('KeyA');
  await waitForNumber(page, 11);
});

test('a killed daemon costs a native viewer no password; a new password ends it', async () => {
  const viewer = view(session.quic_url, { env });
  const untilBoth = () => until('page and native viewer', async () => {
    const stats = await server.request('GET', `/api/sessions/${session.id}/stats`, { token });
    return stats.body.viewers === 2;
  });
  await untilBoth();
  const signIns = () => server.log.split('signed in').length;
  const before = signIns();
  assert.ok(before > 1, server.log);
  process.kill(server.daemonPid, 'SIGKILL');
  await until('the viewer to notice', () => /restarted/.test(viewer.said));
  await untilBoth();
  assert.equal(signIns(), before, 'both came back without a password');
  const args = ['user', 'passwd', 'ada', '--password-stdin'];
  const changed = runToEnd(args, server.variables, 'another horse battery\n');
  assert.equal(changed.status, 0, changed.stderr);
  assert.equal(await viewer.exited, 3, viewer.said);
  assert.match(viewer.said, /sign in again/);
});
