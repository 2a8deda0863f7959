// Programs that take all they can get, and processes that hang: what they cost is their own
// session, if anything.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { waitForNumber } from './barcode.mjs';
import { openDesktop, openPage, signIn, stateOf, untilState } from './browser.mjs';
import {
  close, onlySession, openBarcode, openBrowser, PASSWORD, serverWith, SHOW_BARCODE,
} from './desktop.mjs';
import { processOf, readOr } from './host.mjs';
import { BULLY } from './server.mjs';
import { until } from './wait.mjs';

const IS_LONG = process.env.LONG === '1';
/** Processes of a session's programs, as configured unless told otherwise. */
const PIDS_MAX = 100;

/** Runs what the test puts into the home. */
const RUNNER = `#!/bin/sh
cd "$HOME" || exit
while sleep 0.1; do
  if [ -e next ]; then mv next now; sh ./now & fi
done
`;

let server;
let browser;
let ada;
let bob;
let bobs = 0;
let token;
before(async () => {
  browser = await openBrowser();
  const files = { runner: { text: RUNNER }, 'sandbox-bully': { from: BULLY } };
  const autostart = `${SHOW_BARCODE}"$HOME"/bin/runner &\n`;
  server = await serverWith(['ada', 'bob'], autostart, files);
  token = await server.login('ada', PASSWORD);
  bob = await openBarcode(browser, server, 'bob');
  ada = await openBarcode(browser, server, 'ada');
});
after(() => close(browser));

/** Bob types a key and sees it: nothing of this concerns him. */
async function bobGoesOn() {
  bobs += 1;
  await bob.keyboard.press('KeyB');
  await waitForNumber(bob, bobs);
  assert.deepEqual(bob.faults, []);
}

const inHome = (name) => path.join(server.homeOf('ada').home, name);

/** Has a line of shell run in Ada's desktop. */
function run(line) {
  const { uid } = server.homeOf('ada');
  const file = inHome('next.new');
  fs.writeFileSync(file, line);
  fs.chownSync(file, uid, uid);
  fs.renameSync(file, inHome('next'));
}

/** Lets the bully loose in Ada's desktop and waits until the harm is done. */
async function bully(way) {
  const mark = inHome('mark');
  fs.rmSync(mark, { force: true });
  run(`bin/sandbox-bully ${way} mark`);
  await until(`${way} to be done`, () => fs.existsSync(mark));
  return mark;
}

const adas = (isWanted) => server.programsOf('ada').find(isWanted);
const theBully = (way) => adas(({ command: [, it] }) => it === way);

function worker() {
  const uids = new Set(server.programsOf('ada').map((it) => it.uid));
  return server.jailed().find((it) => it.command[1] === 'desktop' && uids.has(it.uid - 2));
}

const session = () => onlySession(server, token);

/** Ends Ada's desktop as she would, checks that nothing of it is left, and starts another. */
async function renew() {
  const uids = new Set(server.programsOf('ada').map((it) => it.uid));
  const isTheirs = ({ uid }) => [uid, uid - 1, uid - 2].some((it) => uids.has(it));
  const { id } = await session();
  await server.endSession(token, id);
  await server.untilState(token, id, 'ended');
  await until('nothing to be left', () => !server.jailed().some(isTheirs));
  await until('no group to be left', () => !server.ownCgroups().some((it) => it.includes(id)));
  await reopen();
}

/** Opens Ada's desktop in a page of its own: the one that runs, or another. */
async function reopen() {
  await ada.context().close();
  ada = await openBarcode(browser, server, 'ada');
}

test('a program that keeps keyboard and pointer gets the keys; the desktop lives', async () => {
  const barcode = adas((it) => it.name === 'sandbox-barcode');
  process.kill(barcode.pid, 'SIGKILL');
  await until('the barcode to be gone', () => processOf(barcode.pid) === null);
  const keys = await bully('grab');
  const got = (keycode) => () => readOr(keys).split('\n').includes(String(keycode));
  await ada.keyboard.press('KeyA');
  await until('the program to get the key', got(38));
  await ada.context().close();
  const { id } = await session();
  await server.untilState(token, id, 'detached');

  ada = await openPage(browser);
  await signIn(ada, server.url, 'ada', PASSWORD);
  await openDesktop(ada);
  await ada.keyboard.press('KeyC');
  await until('the program to get the next key', got(54));
  assert.equal((await session()).id, id);
  await bobGoesOn();
  await renew();
});

test('a program that has the X server end the worker’s clients meets the next worker', async () => {
  const before = worker();
  await bully('kill');
  await until('the next worker', () => processOf(before.pid) === null && worker());
  await ada.keyboard.press('KeyA');
  await waitForNumber(ada, 1);
  assert.equal(await stateOf(ada), 'streaming');
  await bobGoesOn();
});

test('a program that holds the X server holds up the other programs, not the worker', async () => {
  const before = worker();
  await bully('hold');
  await ada.keyboard.press('KeyA');
  await bobGoesOn();
  assert.equal(await stateOf(ada), 'streaming');
  process.kill(theBully('hold').pid, 'SIGKILL');
  await waitForNumber(ada, 2);
  assert.equal(worker().pid, before.pid);
});

test('a program that takes all memory dies, and the desktop lives', async () => {
  run('dd if=/dev/zero of=/dev/null bs=2G count=1; echo $? > ate');
  await until('the hog to be killed', () => readOr(inHome('ate')) === '137\n');
  await ada.keyboard.press('KeyC');
  await waitForNumber(ada, 3);
  await bobGoesOn();
});

test('a worker that hangs is replaced like one that ended', async () => {
  const stopped = worker();
  process.kill(stopped.pid, 'SIGSTOP');
  await ada.keyboard.press('KeyA');
  await bobGoesOn();
  await until('the worker to be replaced', () => processOf(stopped.pid) === null);
  // The page has dropped the key that waited for too long.
  await ada.keyboard.press('KeyA');
  await waitForNumber(ada, 4);
  const { id } = await session();
  const line = server.log.split('\n').find((it) => it.includes('the worker is replaced'));
  assert.ok(line?.includes(id), server.log.slice(-2_000));
  await bobGoesOn();
});

test('ten thousand windows are only slow', { skip: !IS_LONG }, async () => {
  await bully('windows');
  await ada.keyboard.press('KeyA');
  await waitForNumber(ada, 5);
  await bobGoesOn();
  await renew();
});

test('a fork bomb stays in its limit and goes with its desktop', { skip: !IS_LONG }, async () => {
  run('bomb() { bomb | bomb & }; bomb');
  const { id } = await session();
  await until('the limit', async () => (await server.stats(token, id)).pids >= PIDS_MAX);
  await ada.keyboard.press('KeyA');
  await waitForNumber(ada, 1);
  await bobGoesOn();
  await renew();
});

/** The page shows that Ada's desktop has ended, and why. */
async function endsWith(reason, words) {
  await untilState(ada, 'ended');
  assert.match(await ada.textContent('#message'), words);
  assert.match(server.log, new RegExp(`reason="?${reason}`));
  await bobGoesOn();
}

test('one that reads no answer costs its X server the memory', { skip: !IS_LONG }, async () => {
  await bully('deaf');
  await bobGoesOn();
  await endsWith('display_ended', /display stopped working/);
});

test('one that kills and holds ends its session, with the reason', { skip: !IS_LONG }, async () => {
  await reopen();
  const before = worker();
  await bully('kill-and-hold');
  await until('the worker to end', () => processOf(before.pid) === null);
  await bobGoesOn();
  await endsWith('x_held_by_program', /display stopped answering/);
});

test('an X server that answers nobody ends its session with the reason', async () => {
  if (await stateOf(ada) === 'ended') await reopen();
  const uids = new Set(server.programsOf('ada').map((it) => it.uid));
  const xvfb = server.jailed().find((it) => it.name === 'Xvfb' && uids.has(it.uid - 1));
  server.log = '';
  process.kill(xvfb.pid, 'SIGSTOP');
  await ada.keyboard.press('KeyA');
  await bobGoesOn();
  await endsWith('x_held_by_program', /display stopped answering/);
});

test('through all of this the server lived, and its end leaves nothing', async () => {
  await bobGoesOn();
  await server.stop();
});
