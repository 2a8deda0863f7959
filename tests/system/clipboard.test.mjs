// Text that a program copies reaches the viewer's clipboard after a key of the viewer alone.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { waitForNumber } from './barcode.mjs';
import { close, openBarcode, openBrowser, serverWith } from './desktop.mjs';
import { until } from './wait.mjs';

let server;
let browser;
after(() => close(browser));

test('a text copied by a key goes out, one copied later by the program does not', async () => {
  server = await serverWith(['ada']);
  browser = await openBrowser();
  const page = await openBarcode(browser, server, 'ada');
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  // What the server told, whatever the page made of it.
  const told = () => page.evaluate(() => window.copies);
  await page.evaluate(() => {
    window.copies = [];
    const { parse } = JSON;
    JSON.parse = (text) => {
      const message = parse(text);
      if (message?.t === 'clipboard') window.copies.push(message.text);
      return message;
    };
  });

  await page.keyboard.press('Control+KeyC');
  const first = 'copied with key 2: schöne Grüße €';
  await until('the copied text', async () => (await clipboard()) === first);
  assert.deepEqual(await told(), [first]);

  // The program copies 3 s after its key, and once more upon a key: had the late text gone out,
  // it would be told before that of the key.
  await page.keyboard.press('Control+KeyL');
  await waitForNumber(page, 4);
  await pause(4_000);
  assert.deepEqual(await told(), [first]);
  await page.keyboard.press('Control+KeyC');
  const last = 'copied with key 6: schöne Grüße €';
  await until('the last text', async () => (await clipboard()) === last);
  assert.deepEqual(await told(), [first, last]);
  assert.deepEqual(page.faults, []);
  await server.stop();
});
