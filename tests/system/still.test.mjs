// A still desktop costs no media packet, no key frame and no capture, and its text is sharp.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { waitForNumber } from './barcode.mjs';
import { textPsnr, untilRests, videoLuma, videoStats } from './browser.mjs';
import { openDesktop, openPage, signIn } from './browser.mjs';
import { close, onlySession, openBarcode, openBrowser, PASSWORD, serverWith } from './desktop.mjs';
import { framebufferOf } from './host.mjs';
import { Server } from './server.mjs';
import { until } from './wait.mjs';

/** How long nothing may happen: this is the thing measured, not a wait for luck. */
const STILL_MS = process.env.LONG === '1' ? 60_000 : 15_000;

let server;
let browser;
before(async () => {
  browser = await openBrowser();
});
after(() => close(browser, server));

function xvfbOf(one) {
  const found = one.jailed().filter((it) => it.name === 'Xvfb');
  assert.equal(found.length, 1, `${found.length} Xvfb run`);
  return found[0].pid;
}

test('a still desktop is silent, and the next key needs no key frame', async (t) => {
  server = await serverWith(['ada']);
  const page = await openBarcode(browser, server, 'ada');
  await page.keyboard.press('KeyA');
  await waitForNumber(page, 1);
  await untilRests(page);
  const token = await server.login('ada', PASSWORD);
  const { id } = await onlySession(server, token);

  const [video, worker] = [await videoStats(page), await server.stats(token, id)];
  await pause(STILL_MS);
  const [videoAfter, workerAfter] = [await videoStats(page), await server.stats(token, id)];
  const packets = videoAfter.packetsReceived - video.packetsReceived;
  t.diagnostic(`${packets} packets, ${videoAfter.pliCount - video.pliCount} PLI in ${STILL_MS} ms`);
  assert.equal(packets, 0, 'media packets at rest');
  assert.equal(videoAfter.keyFramesDecoded, video.keyFramesDecoded, 'key frames at rest');
  for (const name of ['captures', 'access_units', 'keyframes']) {
    assert.equal(typeof worker[name], 'number', `stats have ${name}: ${JSON.stringify(worker)}`);
    assert.equal(workerAfter[name], worker[name], `${name} at rest`);
  }

  await page.keyboard.press('KeyB');
  await waitForNumber(page, 2);
  const last = await videoStats(page);
  assert.ok(last.framesDecoded > videoAfter.framesDecoded);
  assert.equal(last.keyFramesDecoded, videoAfter.keyFramesDecoded, 'a key cost a key frame');
  assert.equal((await server.stats(token, id)).keyframes, worker.keyframes);
  assert.deepEqual(page.faults, []);
  await server.endSession(token, id);
  await server.untilNothingIsLeft();
  await server.stop();
  await page.context().close();
});

test('text at rest has 40 dB against the framebuffer, and one pointer is shown', async (t) => {
  // The plain desktop: its terminal is the text.
  server = await Server.start();
  server.addUser('bob', PASSWORD);
  const page = await openPage(browser);
  await signIn(page, server.url, 'bob', PASSWORD);
  await openDesktop(page);
  const xvfb = xvfbOf(server);
  await until('text on the screen', () => {
    const screen = framebufferOf(xvfb);
    const blank = { ...screen, luma: new Uint8Array(screen.luma.length) };
    return textPsnr(blank, screen).tiles >= 20;
  });
  await untilRests(page);
  const { psnr, tiles } = textPsnr(await videoLuma(page), framebufferOf(xvfb));
  t.diagnostic(`text: ${psnr.toFixed(1)} dB over ${tiles} tiles`);
  assert.ok(tiles >= 20, `only ${tiles} tiles of text`);
  assert.ok(psnr >= 40, `${psnr} dB`);

  // The pointer moves over the root window; the framebuffer must not show it, the page must.
  const before = framebufferOf(xvfb);
  const box = await page.locator('#video').boundingBox();
  await page.mouse.move(box.x + box.width - 40, box.y + 40);
  await page.mouse.move(box.x + box.width - 60, box.y + 60);
  const cursor = () => {
    return page.evaluate(() => getComputedStyle(document.querySelector('#video')).cursor);
  };
  await until('the page to draw the pointer', async () => /url\(/.test(await cursor()));
  await untilRests(page);
  const after = framebufferOf(xvfb);
  assert.ok(before.pixels.equals(after.pixels), 'the framebuffer changed under the pointer');

  const token = await server.login('bob', PASSWORD);
  const { id } = await onlySession(server, token);
  await server.endSession(token, id);
  await server.untilNothingIsLeft();
  await server.stop();
});
