// What requests to the API cost somebody who types: latency with and without them, by turns.

import { execFile } from 'node:child_process';
import http from 'node:http';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

import { flags } from '../tests/system/browser.mjs';
import { PASSWORD, serverWith } from '../tests/system/desktop.mjs';
import { discardAll } from '../tests/system/server.mjs';
import { Display } from '../tests/system/display.mjs';
import { figure, one, report } from './figures.mjs';
import { count, millis, openViewer, press } from './viewer.mjs';

const KEYS = Number(process.env.KEYS ?? 1_000);
const SEED = Number(process.env.SEED ?? 4);
const REQUESTS = Number(process.env.REQUESTS ?? 10_000);
const BLOCKS = 5;
/** A block's keys take that long: 63.5 ms each on average, see benches/src/main.rs. */
const KEY_MS = 63.5;

if (process.argv[2] === 'ask') await ask(...process.argv.slice(3));
else await measure();

async function measure() {
  const outer = await Display.start();
  let browser;
  try {
    const server = await serverWith(['bench']);
    browser = await openViewer(server, 'bench', outer);
    const token = await server.login('bench', PASSWORD);
    const seen = { quiet: [], asked: [] };
    const requests = [];
    for (let block = 0; block < BLOCKS; block += 1) {
      const keys = Math.ceil(KEYS / BLOCKS);
      const told = { keys, block: keys, seed: SEED + block };
      seen.quiet.push(...(await press(told, [outer.target('chromium')])));
      const many = String(Math.ceil(REQUESTS / BLOCKS));
      const args = [fileURLToPath(import.meta.url), 'ask', server.url, token, many, keys * KEY_MS];
      const asking = promisify(execFile)(process.execPath, args.map(String));
      seen.asked.push(...(await press(told, [outer.target('chromium')])));
      requests.push(...JSON.parse((await asking).stdout));
    }
    const all = (some) => some.flatMap(millis);
    const quiet = figure('key to pixel, nobody asks', 'ms', all(seen.quiet));
    const asked = figure(`key to pixel during ${REQUESTS} requests`, 'ms', all(seen.asked));
    report(
      'api',
      [
        quiet,
        asked,
        one('p99 during requests, of that without', '', asked.p99 / quiet.p99),
        figure('a request', 'ms', requests),
      ],
      {
        chromium: { version: browser.version(), flags: flags() },
        seen: { quiet: sum(seen.quiet), asked: sum(seen.asked) },
        seed: SEED,
      },
    );
  } finally {
    await browser?.close();
    await discardAll();
    await outer.stop();
  }
}

/** What went wrong in all blocks together. */
function sum(blocks) {
  return blocks.map(count).reduce((all, it) => {
    return Object.fromEntries(Object.entries(all).map(([name, value]) => [name, value + it[name]]));
  });
}

/** Asks for the user's sessions, evenly over `ms`; prints how long each answer took. */
async function ask(url, token, many, ms) {
  // Whoever asks is elsewhere as a rule; here it must not take the processor from the viewer.
  os.setPriority(os.constants.priority.PRIORITY_LOW);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  const headers = { Authorization: `Bearer ${token}` };
  const request = () => {
    return new Promise((resolve, reject) => {
      const start = performance.now();
      const asked = http.get(`${url}/api/sessions`, { agent, headers }, (answer) => {
        answer.resume();
        answer.once('end', () => {
          if (answer.statusCode === 200) resolve(performance.now() - start);
          else reject(new Error(`the API answers ${answer.statusCode}`));
        });
      });
      asked.once('error', reject);
    });
  };
  const [start, asked] = [performance.now(), []];
  for (let sent = 0; sent < Number(many); sent += 1) {
    const due = start + (sent / Number(many)) * Number(ms);
    if (due > performance.now()) await pause(due - performance.now());
    asked.push(request());
  }
  console.log(JSON.stringify(await Promise.all(asked)));
  agent.destroy();
}
