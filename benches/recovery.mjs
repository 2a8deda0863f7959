// What an end costs the viewer: a worker or a daemon killed, until there is a picture of the next.

import { flags, openBrowser, openDesktop, openPage, signIn } from '../tests/system/browser.mjs';
import { untilRests } from '../tests/system/browser.mjs';
import { onlySession, PASSWORD } from '../tests/system/desktop.mjs';
import { readOr } from '../tests/system/host.mjs';
import { Server } from '../tests/system/server.mjs';
import { until } from '../tests/system/wait.mjs';
import { figure, report } from './figures.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 20);
/** The fifth end of a session's workers within a minute is the session's. */
const WORKERS_PER_SESSION = 4;

const browser = await openBrowser();
/** Of the page's clock against ours, in milliseconds, at most. */
let clockError = 0;
try {
  const workers = await killWorkers();
  const daemons = await killDaemons();
  report(
    'recovery',
    [
      figure('worker killed to picture', 'ms', workers),
      figure('daemon’s exec to picture', 'ms', daemons.exec, {
        name: 'from the kill of the one before',
        samples: daemons.kill,
      }),
    ],
    { clock_error_ms: clockError, chromium: { version: browser.version(), flags: flags() } },
  );
} finally {
  await browser.close();
}

async function killWorkers() {
  const server = await Server.start();
  try {
    server.addUser('bench', PASSWORD);
    const token = await server.login('bench', PASSWORD);
    const took = [];
    while (took.length < ROUNDS) {
      const page = await openWatched(server);
      for (let end = 0; end < WORKERS_PER_SESSION && took.length < ROUNDS; end += 1) {
        await untilRests(page);
        const { pid } = server.jailed().find((it) => it.command[1] === 'desktop');
        const start = performance.now();
        process.kill(pid, 'SIGKILL');
        took.push((await pictureAfter(page, start)) - start);
      }
      const { id } = await onlySession(server, token);
      await server.endSession(token, id);
      await server.untilNothingIsLeft();
      await page.context().close();
    }
    return took;
  } finally {
    await server.discard();
  }
}

/** A server for each: one whose daemon ended a moment ago waits longer before the next. */
async function killDaemons() {
  const took = { exec: [], kill: [] };
  while (took.exec.length < ROUNDS) {
    const server = await Server.start();
    try {
      server.addUser('bench', PASSWORD);
      const page = await openWatched(server);
      await untilRests(page);
      const [warden, daemon] = [server.wardenPid, server.daemonPid];
      const start = performance.now();
      process.kill(daemon, 'SIGKILL');
      await until('the next daemon', () => hasNextDaemon(warden, daemon), { every: 1 });
      const exec = performance.now();
      const picture = await pictureAfter(page, exec);
      took.exec.push(picture - exec);
      took.kill.push(picture - start);
      await page.context().close();
    } finally {
      await server.discard();
    }
  }
  return took;
}

function hasNextDaemon(warden, before) {
  const children = (readOr(`/proc/${warden}/task/${warden}/children`) ?? '').split(' ');
  const isDaemon = (it) => readOr(`/proc/${it}/cmdline`)?.split('\0')[1] === 'daemon';
  return children.some((it) => it !== '' && Number(it) !== before && isDaemon(it));
}

/** A desktop that notes when each of its pictures is there, by our clock. */
async function openWatched(server) {
  const page = await openPage(browser, { width: 1920, height: 1080 });
  await signIn(page, server.url, 'bench', PASSWORD);
  await openDesktop(page);
  await page.evaluate(() => {
    const video = document.querySelector('#video');
    window.pictures = [];
    const note = () => {
      window.pictures.push(performance.now());
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  });
  return page;
}

/** When the first picture after `start` was there. */
async function pictureAfter(page, start) {
  const ahead = await clockAhead(page);
  const after = (it) => it - ahead > start;
  return until('a picture', async () => {
    const pictures = await page.evaluate(() => window.pictures);
    const found = pictures.find(after);
    return found === undefined ? null : found - ahead;
  });
}

/** By how much the page's clock is ahead of ours; the quickest of some answers tells best. */
async function clockAhead(page) {
  let best = { error: Infinity };
  for (let round = 0; round < 20; round += 1) {
    const before = performance.now();
    const theirs = await page.evaluate(() => performance.now());
    const after = performance.now();
    const error = (after - before) / 2;
    if (error < best.error) best = { error, ahead: theirs - (before + after) / 2 };
  }
  clockError = Math.max(clockError, best.error);
  return best.ahead;
}
