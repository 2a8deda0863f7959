// Key pressed to pixel changed, black box: XTEST and pixels of the display that Chromium fills.

import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

import { decode, LAYOUT } from '../tests/system/barcode.mjs';
import { flags, openBrowser, openDesktop, openPage, signIn } from '../tests/system/browser.mjs';
import { PASSWORD, serverWith } from '../tests/system/desktop.mjs';
import { BARCODE } from '../tests/system/server.mjs';
import { until } from '../tests/system/wait.mjs';
import { Display } from './display.mjs';
import { figure, report } from './figures.mjs';

const KEYS = Number(process.env.KEYS ?? 1_000);
const BLOCK = 100;
const SEED = Number(process.env.SEED ?? 4);

const outer = await Display.start();
const floor = await Display.start();
let browser;
let server;
try {
  server = await serverWith(['bench']);
  // Without a window manager Chromium cannot fill the screen.
  outer.run('openbox');
  browser = await openBrowser({ headless: false, env: { DISPLAY: outer.name } });
  const page = await openPage(browser, null);
  await fillScreen(page);
  await signIn(page, server.url, 'bench', PASSWORD);
  await openDesktop(page);
  const size = await page.evaluate(() => {
    const { videoWidth, videoHeight } = document.querySelector('#video');
    return [videoWidth, videoHeight, devicePixelRatio].join();
  });
  if (size !== '1920,1080,1') throw new Error(`the viewer shows ${size}, not 1920,1080,1`);
  floor.run(BARCODE);
  for (const display of [outer, floor]) {
    const pixel = (x, y) => display.green(x, y);
    await until('the barcode on the screen', () => decode(pixel, LAYOUT) !== null);
  }
  await page.mouse.click(1_600, 800);

  const program = path.join(path.dirname(BARCODE), 'sandbox-bench-latency');
  const targets = [outer.target('chromium'), floor.target('floor')];
  const told = [KEYS, BLOCK, SEED].map(String);
  const { stdout } = await promisify(execFile)(program, [...told, ...targets]);
  const [remote, local] = stdout.trim().split('\n').map((it) => JSON.parse(it));
  const millis = (seen) => seen.micros.map((it) => it / 1000);
  const count = ({ lost, doubled, late, bad_gaps, looks }) => {
    return { lost, doubled, late, bad_gaps, looks };
  };
  const beside = { name: 'X alone (floor)', samples: millis(local) };
  report('latency', [figure('key to pixel, Chromium', 'ms', millis(remote), beside)], {
    chromium: { version: browser.version(), flags: flags() },
    seen: { chromium: count(remote), floor: count(local) },
    seed: SEED,
  });
} finally {
  await browser?.close();
  await server?.discard();
  await outer.stop();
  await floor.stop();
}

/** Full screen without the browser's own bars, as F11 does it. */
async function fillScreen(page) {
  const session = await page.context().newCDPSession(page);
  const { windowId } = await session.send('Browser.getWindowForTarget');
  const bounds = { windowState: 'fullscreen' };
  await session.send('Browser.setWindowBounds', { windowId, bounds });
  await until('the window to fill the screen', () => {
    return page.evaluate(() => innerWidth === 1920 && innerHeight === 1080);
  });
}
