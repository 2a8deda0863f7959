// Chromium filling a display of its own with the barcode desktop, and keys pressed there.

import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

import { decode, LAYOUT } from '../tests/system/barcode.mjs';
import { openBrowser, openDesktop, openPage, signIn } from '../tests/system/browser.mjs';
import { untilRests } from '../tests/system/browser.mjs';
import { PASSWORD } from '../tests/system/desktop.mjs';
import { BARCODE } from '../tests/system/server.mjs';
import { until } from '../tests/system/wait.mjs';

/** Opens a user's desktop in a Chromium that fills `display`. */
export async function openViewer(server, name, display) {
  // Without a window manager Chromium cannot fill the screen.
  display.run('openbox');
  const browser = await openBrowser({ headless: false, env: { DISPLAY: display.name } });
  const page = await openPage(browser, null);
  await fillScreen(page);
  await signIn(page, server.url, name, PASSWORD);
  await openDesktop(page);
  const size = await page.evaluate(() => {
    const { videoWidth, videoHeight } = document.querySelector('#video');
    return [videoWidth, videoHeight, devicePixelRatio].join();
  });
  if (size !== '1920,1080,1') throw new Error(`the viewer shows ${size}, not 1920,1080,1`);
  await untilShown(display);
  await page.mouse.click(1_600, 800);
  // The click may have brought something else up for a moment.
  await untilRests(page);
  return browser;
}

export async function untilShown(display) {
  await until('the barcode on the screen', () => {
    const { stride, pixels } = display.pixels();
    const green = (x, y) => pixels[y * stride + x * 4 + 1];
    return decode(green, LAYOUT) !== null;
  });
}

/** Presses keys in the displays, in blocks by turns; what was seen in each. */
export async function press({ keys, block, seed }, targets) {
  const program = path.join(path.dirname(BARCODE), 'sandbox-bench-latency');
  const told = [keys, block, seed].map(String);
  const { stdout } = await promisify(execFile)(program, [...told, ...targets]);
  return stdout.trim().split('\n').map((it) => JSON.parse(it));
}

export const millis = (seen) => seen.micros.map((it) => it / 1000);

/** Keys of which something is wrong, for the notes of a result. */
export function count({ lost, doubled, late, bad_gaps, looks }) {
  return { lost, doubled, late, bad_gaps, looks };
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
