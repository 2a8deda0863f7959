// A program that uses up the desktop's memory is ended, and its user is told which and why.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { openDesktop, openPage, signIn } from './browser.mjs';
import {
  close, onlySession, openBrowser, PASSWORD, runInTerminal, serverWith,
} from './desktop.mjs';
import { until } from './wait.mjs';

const LIMIT_MB = 128;
/** `dd` keeps a whole block. */
const HOG = 'touch hungry; dd if=/dev/zero of=/dev/null bs=1G count=1';

let server;
let browser;
before(async () => {
  server = await serverWith(['ada', 'bob'], '', {}, { SANDBOX_MEMORY_LIMIT_MB: String(LIMIT_MB) });
  browser = await openBrowser();
});
after(() => close(browser));

async function openTerminal(name) {
  const page = await openPage(browser);
  await signIn(page, server.url, name, PASSWORD);
  await openDesktop(page);
  return page;
}

test('a memory hog is ended by its name, the desktop and its neighbour live', async () => {
  const [ada, bob] = [await openTerminal('ada'), await openTerminal('bob')];
  await runInTerminal(bob, server, 'bob', 'touch before', 'before');
  const others = server.programsOf('bob').map((it) => it.pid);
  await runInTerminal(ada, server, 'ada', HOG, 'hungry');
  const notes = (page) => page.locator('#notices li').allTextContents();
  const words = await until('the page to tell', async () =>
    (await notes(ada)).find((it) => it.includes('out of memory')),
  ).catch((error) => {
    throw new Error(`${error.message}\n${server.log.slice(-4_000)}`);
  });
  const expected = `The desktop ran out of memory (${LIMIT_MB} MB): dd was ended.`;
  assert.equal(words, expected);
  const token = await server.login('ada', PASSWORD);
  const { out_of_memory: told } = await onlySession(server, token);
  assert.deepEqual(told, { limit_mb: LIMIT_MB, killed: 1, programs: ['dd'] });
  assert.ok(await ada.locator('#notices').isVisible());
  await ada.click('#notices-close');
  assert.ok(!(await ada.locator('#notices').isVisible()));

  await runInTerminal(ada, server, 'ada', 'touch after', 'after');
  await runInTerminal(bob, server, 'bob', 'touch after', 'after');
  const isThere = (pid) => server.programsOf('bob').some((it) => it.pid === pid);
  assert.ok(others.every(isThere), 'a program of the neighbour ended');
  assert.ok(!(await notes(bob)).some((it) => it.includes('out of memory')));
  for (const page of [ada, bob]) {
    assert.equal(await page.evaluate(() => window.peerConnections.length), 1);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  }
  await server.stop();
});
