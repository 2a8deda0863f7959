// Processes that hang instead of ending: each is noticed, and costs its own session alone.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { waitForNumber } from './barcode.mjs';
import { untilState } from './browser.mjs';
import { close, onlySession, openBarcode, openBrowser, PASSWORD, serverWith } from './desktop.mjs';
import { processOf } from './host.mjs';
import { until } from './wait.mjs';

let server;
let browser;
let ada;
let bob;
before(async () => {
  browser = await openBrowser();
  server = await serverWith(['ada', 'bob']);
  ada = await openBarcode(browser, server, 'ada');
  bob = await openBarcode(browser, server, 'bob');
});
after(() => close(browser));

let bobs = 0;
/** Bob types a key and sees it. */
async function bobGoesOn() {
  bobs += 1;
  await bob.keyboard.press('KeyB');
  await waitForNumber(bob, bobs);
  assert.deepEqual(bob.faults, []);
}

/** A process of a user's session, by what it runs. */
function partOf(name, isWanted) {
  const uids = new Set(server.programsOf(name).map((it) => it.uid));
  const isTheirs = (uid) => uids.has(uid) || uids.has(uid - 1) || uids.has(uid - 2);
  return server.jailed().find((it) => isTheirs(it.uid) && isWanted(it));
}

const worker = (name) => partOf(name, (it) => it.command[1] === 'desktop');

test('a worker that hangs is replaced like one that ended', async () => {
  const stopped = worker('ada');
  process.kill(stopped.pid, 'SIGSTOP');
  await ada.keyboard.press('KeyA');
  await bobGoesOn();
  await until('the worker to be replaced', () => processOf(stopped.pid) === null);
  // The page has dropped the key that waited for too long.
  await ada.keyboard.press('KeyA');
  await waitForNumber(ada, 1);
  const { id } = await onlySession(server, await server.login('ada', PASSWORD));
  const line = server.log.split('\n').find((it) => it.includes('the worker is replaced'));
  assert.ok(line?.includes(id), server.log.slice(-2_000));
  await bobGoesOn();
});

test('an X server that answers nobody ends its session with the reason', async () => {
  const xvfb = partOf('ada', (it) => it.name === 'Xvfb');
  process.kill(xvfb.pid, 'SIGSTOP');
  await ada.keyboard.press('KeyA');
  await bobGoesOn();
  await untilState(ada, 'ended');
  assert.match(await ada.textContent('#message'), /display stopped answering/);
  assert.ok(/reason="?x_held_by_program/.test(server.log), server.log.slice(-2_000));
  await bobGoesOn();
});

test('after both nothing of them is left', async () => {
  const token = await server.login('bob', PASSWORD);
  await server.endSession(token, (await onlySession(server, token)).id);
  await server.untilNothingIsLeft();
  await server.stop();
});
