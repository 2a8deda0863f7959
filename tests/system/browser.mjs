// Debian's Chromium, driven as a user drives it.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { until } from './wait.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const FLAGS_FILE = path.resolve(HERE, '../../benches/chromium-flags.json');

/** The one list of flags, and `--no-sandbox` only where root demands it. @returns {string[]} */
export function flags() {
  const listed = JSON.parse(fs.readFileSync(FLAGS_FILE, 'utf8'));
  return process.getuid?.() === 0 ? [...listed, '--no-sandbox'] : listed;
}

/** @returns {Promise<import('playwright-core').Browser>} */
export async function openBrowser({ headless = true, args = [], env = {} } = {}) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless,
    args: [...flags(), ...args],
    env: { ...process.env, ...env },
  });
}

/**
 * A page of its own cookies whose peer connections can be asked for statistics.
 *
 * @param {import('playwright-core').Browser} browser
 * @param {{width: number, height: number} | null} viewport
 */
export async function openPage(browser, viewport = { width: 1280, height: 720 }) {
  // Servers of the tests sign their own certificates, where they speak TLS.
  const context = await browser.newContext({ viewport, ignoreHTTPSErrors: true });
  await context.addInitScript(() => {
    window.peerConnections = [];
    const Original = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
      constructor(...parameters) {
        super(...parameters);
        window.peerConnections.push(this);
      }
    };
  });
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') page.faults.push(`console: ${message.text()}`);
  });
  return page;
}

export async function stateOf(page) {
  return page.evaluate(() => document.documentElement.dataset.state);
}

/** Waits for one of the page's states. */
export async function untilState(page, wanted) {
  let state;
  const isReached = async () => {
    state = await stateOf(page);
    return state === wanted;
  };
  await until(`the page to be ${wanted}`, isReached).catch(async (error) => {
    const message = await page.evaluate(() => document.querySelector('#message')?.textContent);
    const told = [`it is ${state}`, message, ...page.faults].filter(Boolean).join('; ');
    throw new Error(`${error.message}: ${told}`);
  });
}

/** Signs in with a password and waits for the first screen. */
export async function signIn(page, url, name, password) {
  await page.goto(url);
  await untilState(page, 'signin');
  await page.fill('#username', name);
  await page.fill('#password', password);
  await page.click('#signin');
  await untilState(page, 'home');
}

/** Starts the desktop, or comes back to it, and waits for its first picture. */
export async function openDesktop(page) {
  await page.click('#start');
  await untilState(page, 'streaming');
  const hasPicture = () => page.evaluate(() => document.querySelector('#video').videoWidth > 0);
  await until('the first picture', hasPicture);
}

/**
 * The video stream's figures, of the connection that is open.
 *
 * @returns {Promise<{packetsReceived: number, framesDecoded: number, keyFramesDecoded: number,
 *   pliCount: number, packetsLost: number, bytesReceived: number}>}
 */
export async function videoStats(page) {
  const figures = await openStreams(page);
  assert.equal(figures.length, 1, `${figures.length} video streams are open`);
  return figures[0];
}

/** The figures of every video stream whose connection is open. */
function openStreams(page) {
  return page.evaluate(async () => {
    const open = window.peerConnections.filter((it) => it.connectionState === 'connected');
    const reports = await Promise.all(open.map((it) => it.getStats()));
    const all = reports.flatMap((it) => [...it.values()]);
    return all.filter((it) => it.type === 'inbound-rtp' && it.kind === 'video');
  });
}

/** Waits until no media packet has come for `forMs`: the picture has been refined and rests. */
export async function untilRests(page, forMs = 2_000) {
  let [last, since] = [-1, performance.now()];
  await until('the picture to rest', async () => {
    // A connection may count as open a moment after its first picture.
    const [stream] = await openStreams(page);
    const received = stream?.packetsReceived ?? -1;
    if (received !== last) [last, since] = [received, performance.now()];
    return received !== -1 && performance.now() - since >= forMs;
  });
}

/** The luma plane of the picture that the video element shows, limited range as decoded. */
export async function videoLuma(page) {
  const { width, height, base64 } = await page.evaluate(async () => {
    const frame = new VideoFrame(document.querySelector('#video'));
    const { width: wide, height: high } = frame.visibleRect;
    const planes = new Uint8Array(frame.allocationSize());
    const [{ offset, stride }] = await frame.copyTo(planes);
    const format = frame.format;
    frame.close();
    if (format !== 'I420' && format !== 'NV12') throw new Error(`pictures are ${format}`);
    const luma = new Uint8Array(wide * high);
    for (let y = 0; y < high; y += 1) {
      const start = offset + y * stride;
      luma.set(planes.subarray(start, start + wide), y * wide);
    }
    // In pieces: a call takes only so many arguments.
    let text = '';
    for (let at = 0; at < luma.length; at += 32_768) {
      text += String.fromCharCode(...luma.subarray(at, at + 32_768));
    }
    return { width: wide, height: high, base64: btoa(text) };
  });
  return { width, height, luma: new Uint8Array(Buffer.from(base64, 'base64')) };
}

/**
 * Luma PSNR of the video against a framebuffer over the tiles that hold text.
 *
 * @param {{width: number, height: number, luma: Uint8Array}} video limited range
 * @param {{width: number, height: number, luma: Uint8Array}} screen full range
 * @returns {{psnr: number, tiles: number}} dB, and how many tiles of 16 × 16 had text
 */
export function textPsnr(video, screen) {
  const side = 16;
  const [width, height] = [Math.min(video.width, screen.width), video.height];
  let [squares, count, tiles] = [0, 0, 0];
  for (let top = 0; top + side <= height; top += side) {
    for (let left = 0; left + side <= width; left += side) {
      if (!isText(screen, left, top, side)) continue;
      tiles += 1;
      for (let y = top; y < top + side; y += 1) {
        for (let x = left; x < left + side; x += 1) {
          // BT.709 limited range: 219 steps from 16.
          const wanted = 16 + (screen.luma[y * screen.width + x] * 219) / 255;
          squares += (video.luma[y * video.width + x] - wanted) ** 2;
          count += 1;
        }
      }
    }
  }
  const mean = squares / Math.max(count, 1);
  return { psnr: mean === 0 ? Infinity : 10 * Math.log10(255 ** 2 / mean), tiles };
}

/** Text has many steps from dark to light within a row. */
function isText(screen, left, top, side) {
  let steps = 0;
  for (let y = top; y < top + side; y += 1) {
    for (let x = left + 1; x < left + side; x += 1) {
      const at = y * screen.width + x;
      if (Math.abs(screen.luma[at] - screen.luma[at - 1]) > 60) steps += 1;
    }
  }
  return steps >= side;
}
