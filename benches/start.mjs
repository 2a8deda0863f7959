// POST to the first picture, step by step; no pool, one at a time.

import { flags, openBrowser, openPage, signIn, untilState } from '../tests/system/browser.mjs';
import { PASSWORD } from '../tests/system/desktop.mjs';
import { Server } from '../tests/system/server.mjs';
import { until } from '../tests/system/wait.mjs';
import { figure, report } from './figures.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 20);

const server = await Server.start();
const browser = await openBrowser();
try {
  server.addUser('bench', PASSWORD);
  const token = await server.login('bench', PASSWORD);
  const steps = { ready: [], posted: [], connected: [], received: [], presented: [] };
  // The first start of a server pays for what later ones find in the page cache.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const ready = await startByApi(token);
    const seen = await startByPage(token);
    if (round === 0) continue;
    steps.ready.push(ready);
    for (const [name, value] of Object.entries(seen)) steps[name].push(value);
  }
  report(
    'start',
    [
      figure('POST to ready (API)', 'ms', steps.ready),
      figure('POST to its answer (page)', 'ms', steps.posted),
      figure('POST to connection', 'ms', steps.connected),
      figure('POST to first access unit', 'ms', steps.received),
      figure('POST to first picture', 'ms', steps.presented),
    ],
    { chromium: { version: browser.version(), flags: flags() } },
  );
} finally {
  await browser.close();
  await server.discard();
}

async function end(token, id) {
  await server.endSession(token, id);
  await server.untilState(token, id, 'ended');
  await server.untilNothingIsLeft();
}

/** Milliseconds until the API calls the session ready. */
async function startByApi(token) {
  const start = performance.now();
  const body = { profile: 'desktop', width: 1920, height: 1080 };
  const { body: made } = await server.request('POST', '/api/sessions', { token, body });
  let { state } = made;
  while (state === 'starting') ({ state } = (await server.session(token, made.id)).body);
  if (state !== 'ready') throw new Error(`the session is ${state}`);
  const took = performance.now() - start;
  await end(token, made.id);
  return took;
}

/** Milliseconds from the page's POST to each step, by the page's own clock. */
async function startByPage(token) {
  const page = await openPage(browser, { width: 1920, height: 1080 });
  await page.addInitScript(() => {
    window.steps = {};
    const original = window.fetch;
    window.fetch = async (resource, options) => {
      const isStart = options?.method === 'POST' && String(resource).endsWith('/api/sessions');
      if (!isStart) return original(resource, options);
      const start = performance.now();
      const answer = await original(resource, options);
      window.steps = { start, posted: performance.now() };
      return answer;
    };
    document.addEventListener('DOMContentLoaded', () => {
      document.querySelector('#video').requestVideoFrameCallback((now, frame) => {
        const connection = window.peerConnections.at(-1);
        Object.assign(window.steps, {
          received: frame.receiveTime,
          presented: frame.presentationTime,
          state: connection?.connectionState,
        });
      });
    });
    const Connection = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Connection {
      constructor(...parameters) {
        super(...parameters);
        this.addEventListener('connectionstatechange', () => {
          if (this.connectionState === 'connected') window.steps.connected = performance.now();
        });
      }
    };
  });
  await signIn(page, server.url, 'bench', PASSWORD);
  await page.click('#start');
  await untilState(page, 'streaming');
  const { start, ...rest } = await until('the first picture', () => {
    return page.evaluate(() => (window.steps.presented ? window.steps : null));
  });
  await page.context().close();
  const { body } = await server.request('GET', '/api/sessions', { token });
  const sessions = Array.isArray(body) ? body : body.sessions;
  await end(token, sessions.find((it) => it.state !== 'ended').id);
  const names = ['posted', 'connected', 'received', 'presented'];
  return Object.fromEntries(names.map((it) => [it, rest[it] - start]));
}
