// A browser that is stopped in the middle of it reads nothing: nobody else notices, and it is let
// go.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { waitForNumber } from './barcode.mjs';
import { openDesktop, openPage, signIn } from './browser.mjs';
import { close, onlySession, openBarcode, openBrowser, PASSWORD, serverWith } from './desktop.mjs';
import { descendants } from './host.mjs';
import { until } from './wait.mjs';

let browser;
let other;
/** The other browser's processes, while they are stopped. */
let stopped = [];

after(async () => {
  signal('SIGCONT');
  await other?.close();
  await close(browser);
});

function signal(name) {
  for (const pid of stopped) process.kill(pid, name);
}

const skip = process.env.LONG === '1' ? false : 'LONG=1 runs it';

test('a stopped browser is let go, and the other viewer misses no key', { skip }, async () => {
  const server = await serverWith(['ada']);
  browser = await openBrowser();
  const page = await openBarcode(browser, server, 'ada');
  const ours = new Set(descendants(process.pid).map((it) => it.pid));
  other = await openBrowser();
  const observer = await openPage(other);
  await signIn(observer, server.url, 'ada', PASSWORD);
  await openDesktop(observer);
  await page.click('#take-control');
  await until('control to pass', async () => !(await page.locator('#watching').isVisible()));
  const servers = new Set(descendants(server.wardenPid).map((it) => it.pid));
  const isOthers = ({ pid }) => !ours.has(pid) && !servers.has(pid);
  stopped = descendants(process.pid).filter(isOthers).map((it) => it.pid);
  assert.ok(stopped.length > 2, 'a browser is several processes');
  signal('SIGSTOP');

  const token = await server.login('ada', PASSWORD);
  const { id } = await onlySession(server, token);
  let pressed = 0;
  await until('the observer to be let go', async () => {
    await page.keyboard.press('KeyA');
    pressed += 1;
    await waitForNumber(page, pressed);
    return (await server.stats(token, id)).viewers === 1;
  }, { patience: 120_000, every: 500 });
  assert.equal(await page.evaluate(() => window.peerConnections.length), 1);
  assert.deepEqual(page.faults, []);
  await server.stop();
});
