// Coming and going a hundred times leaves nothing open in warden, daemon and worker.

import { after, test } from 'node:test';
import fs from 'node:fs';

import { untilState } from './browser.mjs';
import { close, openBarcode, openBrowser, serverWith } from './desktop.mjs';
import { until } from './wait.mjs';

const CYCLES = 100;

let browser;
after(() => close(browser));

const skip = process.env.LONG === '1' ? false : 'LONG=1 runs it';

test(`${CYCLES} times attached and detached: descriptors are as before`, { skip }, async () => {
  const server = await serverWith(['ada']);
  browser = await openBrowser();
  const stays = await openBarcode(browser, server, 'ada');
  const goes = await openBarcode(browser, server, 'ada');
  const counts = () => {
    const worker = server.jailed().find((it) => it.command[1] === 'desktop');
    const ofWorker = fs.readdirSync(`/proc/${worker.pid}/fd`).length;
    return { ...server.descriptorCounts(), worker: ofWorker };
  };
  const comeAndGo = async (pages, times) => {
    for (let cycle = 0; cycle < times; cycle += 1) {
      for (const page of pages) await page.reload();
      for (const page of pages) await untilState(page, 'streaming');
    }
  };
  // The first ones open what stays open.
  await comeAndGo([stays, goes], 2);
  const before = counts();
  // Beside another viewer, which keeps the worker's sockets, and all at once, which drops them.
  await comeAndGo([goes], CYCLES / 2);
  await comeAndGo([stays, goes], CYCLES / 2);
  await until('the descriptors to be as before', () => {
    const now = counts();
    return Object.keys(before).every((it) => now[it] <= before[it]);
  }).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify({ before, after: counts() })}`);
  });
  await server.stop();
});
