// What a still desktop costs: CPU, wake-ups, packets, memory; detached and attached.

import fs from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

import { openBrowser, openDesktop, openPage, signIn } from '../tests/system/browser.mjs';
import { flags, untilRests, videoStats } from '../tests/system/browser.mjs';
import { PASSWORD } from '../tests/system/desktop.mjs';
import { readOr } from '../tests/system/host.mjs';
import { Server } from '../tests/system/server.mjs';
import { one, report } from './figures.mjs';

const SECONDS = Number(process.env.SECONDS_STILL ?? 60);
const SESSIONS = [1, 10];
const SIZE = { width: 1920, height: 1080 };
/**
 * A connection has ten seconds for its next request. The timer of one that has ended rings all the
 * same, once and for nobody: a wake-up of what was asked, not of the rest after it.
 */
const FORGOTTEN_MS = 12_000;

/** CPU nanoseconds and voluntary context switches of a process's threads. */
function cost(pids) {
  let [nanos, switches] = [0, 0];
  for (const pid of pids) {
    for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
      const base = `/proc/${pid}/task/${task}`;
      nanos += Number((readOr(`${base}/schedstat`) ?? '0').split(' ')[0]);
      const status = readOr(`${base}/status`) ?? '';
      switches += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    }
  }
  return { nanos, switches };
}

/** Proportional set size in MiB. */
function pss(pids) {
  const kib = pids.map((pid) => {
    return Number(/^Pss:\s+(\d+)/m.exec(readOr(`/proc/${pid}/smaps_rollup`) ?? '')?.[1] ?? 0);
  });
  return kib.reduce((sum, it) => sum + it, 0) / 1024;
}

function groups(server) {
  const jailed = server.jailed();
  const isWorker = (it) => it.command[1] === 'desktop';
  const isInit = (it) => it.command[0]?.includes('sandbox-server') && !isWorker(it);
  const isOurs = (it) => it.name === 'Xvfb' || it.name === 'openbox' || isWorker(it) || isInit(it);
  const pids = (some) => some.map((it) => it.pid);
  return {
    warden: [server.wardenPid],
    daemon: [server.daemonPid],
    worker: pids(jailed.filter(isWorker)),
    sandbox: pids(jailed.filter((it) => !isWorker(it))),
    ours: pids(jailed.filter(isOurs)),
    programs: pids(jailed.filter((it) => !isOurs(it))),
  };
}

/** What `SECONDS` of stillness cost each kind of process. */
async function still(server, title) {
  const before = groups(server);
  const start = Object.fromEntries(Object.entries(before).map(([it, pids]) => [it, cost(pids)]));
  await pause(SECONDS * 1000);
  const lines = [];
  for (const name of ['warden', 'daemon', 'worker', 'sandbox']) {
    if (before[name].length === 0) continue;
    const end = cost(before[name]);
    const percent = ((end.nanos - start[name].nanos) / (SECONDS * 1e9)) * 100;
    const switches = end.switches - start[name].switches;
    lines.push(one(`${title}: ${name}, of a core`, '%', percent));
    lines.push(one(`${title}: ${name}, wake-ups in ${SECONDS} s`, '', switches));
  }
  return lines;
}

const names = Array.from({ length: Math.max(...SESSIONS) }, (_, index) => `bench${index}`);
const server = await Server.start({ SANDBOX_SESSIONS_MAX: String(names.length) });
let browser;
const lines = [];
try {
  await untilQuiet(server);
  lines.push(...(await still(server, '0 detached')));
  const ours = () => pss([server.wardenPid, server.daemonPid]);
  lines.push(one('daemon and warden, PSS', 'MiB', ours()));
  for (const name of names) server.addUser(name, PASSWORD);
  const tokens = [];
  for (const name of names) tokens.push(await server.login(name, PASSWORD));
  await untilQuiet(server);
  lines.push(one(`daemon and warden after ${names.length} sign-ins, PSS`, 'MiB', ours()));
  const running = [];
  for (const count of SESSIONS) {
    while (running.length < count) {
      running.push(await server.startSession(tokens[running.length], SIZE));
    }
    await untilQuiet(server);
    lines.push(...(await still(server, `${count} detached`)));
    if (count > 1) continue;
    const { ours: sandbox, programs } = groups(server);
    lines.push(one('a session without its programs, PSS', 'MiB', pss(sandbox)));
    lines.push(one('its programs, PSS', 'MiB', pss(programs)));
    lines.push(...(await attached()));
  }
  report('idle', lines, { seconds: SECONDS, flags: flags() });
} finally {
  await browser?.close();
  await server.discard();
}

/**
 * Waits until the desktops have come to rest: no process of ours runs for a second, and the
 * connections over which this bench asked are closed and forgotten.
 */
async function untilQuiet(one) {
  let asked = performance.now();
  for (let round = 0; round < 60; round += 1) {
    const { worker, sandbox, daemon } = groups(one);
    const all = [...worker, ...sandbox, ...daemon];
    const before = cost(all).nanos;
    await pause(1_000);
    const isStill = cost(all).nanos - before < 2_000_000;
    // A browser keeps connections; they belong to an attached viewer.
    if (isStill && browser) return;
    if (isAsked(Number(one.variables.PORT))) asked = performance.now();
    if (isStill && performance.now() - asked > FORGOTTEN_MS) return;
  }
  throw new Error('the desktops do not come to rest within a minute');
}

/** Whether this process has a connection open to a port of loopback. */
function isAsked(port) {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const lines = (readOr('/proc/net/tcp') ?? '').split('\n').map((it) => it.trim().split(/\s+/));
  // State 01 is "established".
  return lines.some((it) => it[2]?.endsWith(`:${hex}`) && it[3] === '01');
}

async function attached() {
  browser = await openBrowser();
  const page = await openPage(browser, { width: 1920, height: 1080 });
  await signIn(page, server.url, names[0], PASSWORD);
  await openDesktop(page);
  await untilRests(page);
  await untilQuiet(server);
  const before = await videoStats(page);
  const bytes = await pairBytes(page);
  const costs = await still(server, '1 attached');
  const after = await videoStats(page);
  const kbit = (((await pairBytes(page)) - bytes) * 8) / 1000 / SECONDS;
  await page.context().close();
  await browser.close();
  browser = undefined;
  return [
    ...costs,
    one('1 attached: media packets', '', after.packetsReceived - before.packetsReceived),
    one('1 attached: keep-alives, both ways', 'kbit/s', kbit),
  ];
}

async function pairBytes(page) {
  return page.evaluate(async () => {
    const open = window.peerConnections.find((it) => it.connectionState === 'connected');
    const pairs = [...(await open.getStats()).values()].filter((it) => it.type === 'transport');
    return pairs.reduce((sum, it) => sum + it.bytesReceived + it.bytesSent, 0);
  });
}
