// Sessions side by side, left and found again, and every way they end.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { waitForNumber, watch } from './barcode.mjs';
import { openDesktop, openPage, signIn, untilState } from './browser.mjs';
import { close, onlySession, openBarcode, openBrowser, PASSWORD, serverWith } from './desktop.mjs';
import { Server } from './server.mjs';
import { until } from './wait.mjs';

const STARTS = process.env.LONG === '1' ? 100 : 20;

let server;
let browser;
before(async () => {
  browser = await openBrowser();
});
after(() => close(browser));

test('two users side by side have each their own desktop', async () => {
  server = await serverWith(['ada', 'bob']);
  const ada = await openBarcode(browser, server, 'ada');
  const bob = await openBarcode(browser, server, 'bob');
  for (const name of ['KeyA', 'KeyB', 'KeyC']) await ada.keyboard.press(name);
  await bob.keyboard.press('KeyZ');
  await waitForNumber(ada, 3);
  await waitForNumber(bob, 1);
  const newest = (page) => page.evaluate(() => window.barcodes.seen.at(-1));
  assert.equal((await newest(ada)).number, 3);
  assert.equal((await newest(ada)).keycode, 54);
  assert.equal((await newest(bob)).number, 1);
  assert.equal((await newest(bob)).keycode, 52);

  // To each other they do not exist.
  const [adaToken, bobToken] = [
    await server.login('ada', PASSWORD),
    await server.login('bob', PASSWORD),
  ];
  const { id } = await onlySession(server, adaToken);
  const theirs = await server.session(bobToken, id);
  const nobodys = await server.session(bobToken, '0'.repeat(32));
  assert.equal(theirs.status, 404);
  const strip = (body) => JSON.stringify(body).replaceAll(id, '').replaceAll('0'.repeat(32), '');
  assert.equal(strip(theirs.body), strip(nobodys.body));
  const stolen = await server.request('DELETE', `/api/sessions/${id}`, { token: bobToken });
  assert.equal(stolen.status, 404);
  const uids = (name) => new Set(server.programsOf(name).map((it) => it.uid));
  assert.equal([...uids('ada')].filter((it) => uids('bob').has(it)).length, 0);

  // One ends, the other does not notice.
  await server.endSession(adaToken, id);
  await untilState(ada, 'ended');
  await bob.keyboard.press('KeyX');
  await waitForNumber(bob, 2);
  assert.deepEqual(bob.faults, []);
  await ada.context().close();
  await bob.context().close();
});

test('a closed tab detaches; coming back shows the same desktop, whole and at once', async () => {
  const token = await server.login('bob', PASSWORD);
  const first = await onlySession(server, token);
  await server.untilState(token, first.id, 'detached');

  const page = await openPage(browser);
  await signIn(page, server.url, 'bob', PASSWORD);
  await openDesktop(page);
  await watch(page);
  await waitForNumber(page, 2);
  const { seen, torn } = await page.evaluate(() => window.barcodes);
  assert.equal(seen[0].number, 2, 'the first picture is not the desktop as it was left');
  assert.equal(torn, 0, 'the first pictures were not whole');
  const again = await onlySession(server, token);
  assert.equal(again.id, first.id);
  assert.equal(again.state, 'attached');
  await page.keyboard.press('KeyC');
  await waitForNumber(page, 3);
  await page.context().close();
});

test('DELETE leaves nothing behind', async () => {
  const token = await server.login('bob', PASSWORD);
  const { id } = await onlySession(server, token);
  await server.endSession(token, id);
  await server.untilState(token, id, 'ended');
  await server.untilNothingIsLeft();
});

test('Xvfb killed: the session ends with the reason and leaves nothing behind', async () => {
  const page = await openBarcode(browser, server, 'ada');
  const xvfb = server.jailed().find((it) => it.name === 'Xvfb');
  process.kill(xvfb.pid, 'SIGKILL');
  await untilState(page, 'ended');
  await server.untilNothingIsLeft();
  const token = await server.login('ada', PASSWORD);
  const { body } = await server.request('GET', '/api/sessions', { token });
  const sessions = Array.isArray(body) ? body : body.sessions;
  assert.deepEqual(sessions.filter((it) => it.state !== 'ended'), []);
  assert.ok(/reason="?display_ended/.test(server.log), server.log.slice(-2_000));
  await page.context().close();
});

test(`after ${STARTS} starts and ends warden and daemon hold no more descriptors`, async () => {
  const token = await server.login('ada', PASSWORD);
  const startAndEnd = async () => {
    const id = await server.startSession(token);
    await server.endSession(token, id);
    await server.untilState(token, id, 'ended');
    await server.untilNothingIsLeft();
  };
  // The first ones open what stays open: the database's files, a timer.
  for (let round = 0; round < 2; round += 1) await startAndEnd();
  const before = server.descriptorCounts();
  for (let round = 0; round < STARTS; round += 1) await startAndEnd();
  await until('the descriptors to be as before', () => {
    const after = server.descriptorCounts();
    return after.warden <= before.warden && after.daemon <= before.daemon;
  }).catch((error) => {
    const counts = JSON.stringify({ before, after: server.descriptorCounts() });
    throw new Error(`${error.message}: ${counts}`);
  });
});

test('the server stopped with a viewer attached leaves nothing behind', async () => {
  const page = await openBarcode(browser, server, 'ada');
  await server.stop('SIGINT');
  await page.context().close();
  await server.discard();
});

test('a desktop that nobody looks at ends after the timeout', async () => {
  server = await Server.start({ SANDBOX_SESSION_TIMEOUT_SECS: '5' });
  server.addUser('ada', PASSWORD);
  const token = await server.login('ada', PASSWORD);
  const id = await server.startSession(token);
  await server.untilState(token, id, 'ended');
  await server.untilNothingIsLeft();
  assert.ok(/reason="?\w*timeout/.test(server.log), server.log.slice(-2_000));
  await server.stop();
});
