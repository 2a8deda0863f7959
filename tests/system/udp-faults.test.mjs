// A kernel that refuses every datagram that is sent, as a firewall of the host does: what is
// refused is lost, nothing spins, and the viewer comes in by TCP.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { openDesktop, openPage, signIn, untilRests } from './browser.mjs';
import { close, openBrowser, PASSWORD, runInTerminal } from './desktop.mjs';
import { ticksOf } from './host.mjs';
import { ownVariables, refusing, Server } from './server.mjs';

/** How long a process is watched that shall not spin. */
const WINDOW_MS = 1_000;
/** What it may use of the processor meanwhile; one that spins uses all that it gets. */
const SPINNING_TICKS = 20;

const IS_LONG = process.env.LONG === '1';

let browser;
after(() => close(browser));

const TITLE = 'datagrams that the kernel refuses are lost, and the viewer comes in by TCP';
test(TITLE, { skip: !IS_LONG }, async () => {
  browser = await openBrowser();
  const server = new Server(await ownVariables());
  server.launcher = refusing('sendmsg(0)');
  await server.launch();
  server.addUser('ada', PASSWORD);
  const page = await openPage(browser);
  await signIn(page, server.url, 'ada', PASSWORD);
  await openDesktop(page);
  // The terminal is no program of the tests': those send without flags too.
  await runInTerminal(page, server, 'ada', 'touch here', 'here');
  assert.match(server.log, /datagrams cannot be sent.*not permitted|not permitted.*datagrams/);
  const lines = server.log.match(/datagrams cannot be sent/g);
  assert.ok(lines.length <= 3, `${lines.length} lines tell of it`);
  await untilRests(page);
  const before = ticksOf(server.daemonPid);
  await pause(WINDOW_MS);
  assert.ok(ticksOf(server.daemonPid) - before < SPINNING_TICKS, 'the daemon spins');
  assert.deepEqual(page.faults, []);
  await page.context().close();
  await server.stop();
});
