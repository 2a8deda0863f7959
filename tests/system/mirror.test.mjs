// Keys are copied to the socket, and whichever copy comes first is applied.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { account, waitForNumber, watch } from './barcode.mjs';
import { openDesktop, openPage, signIn } from './browser.mjs';
import { close, openBrowser, PASSWORD, serverWith } from './desktop.mjs';

const KEYCODES = { KeyA: 38, KeyB: 56, KeyC: 54, KeyD: 40 };

let server;
let browser;
after(() => close(browser));

/** Runs in the page: of the channel `in`, nothing arrives in one direction or in both. */
function blockChannel(isDeafToo) {
  const create = RTCPeerConnection.prototype.createDataChannel;
  window.blocked = 0;
  RTCPeerConnection.prototype.createDataChannel = function (label, options) {
    const channel = create.call(this, label, options);
    if (label !== 'in') return channel;
    channel.send = () => (window.blocked += 1);
    if (isDeafToo) Object.defineProperty(channel, 'onmessage', { set: () => undefined });
    return channel;
  };
}

for (const isDeafToo of [false, true]) {
  const what = isDeafToo ? 'carries nothing' : 'carries acknowledgements alone';
  test(`a data channel that ${what}: keys arrive once each all the same`, async () => {
    server = await serverWith(['ada']);
    browser ??= await openBrowser();
    const page = await openPage(browser);
    await page.addInitScript(blockChannel, isDeafToo);
    await signIn(page, server.url, 'ada', PASSWORD);
    await openDesktop(page);
    await watch(page);
    await waitForNumber(page, 0);
    const keys = Object.keys(KEYCODES);
    for (const key of keys) await page.keyboard.press(key);
    await waitForNumber(page, keys.length);
    // Repeats of what was not acknowledged would come within this key's time at the latest.
    await page.keyboard.press('KeyA');
    await waitForNumber(page, keys.length + 1);
    const { seen, blocked } = await page.evaluate(() => ({ ...window.barcodes, blocked }));
    const { keys: typed, conflicts } = account(seen);
    assert.deepEqual(conflicts, []);
    assert.equal(seen.at(-1).number, keys.length + 1);
    const expected = [...Object.values(KEYCODES), KEYCODES.KeyA];
    assert.deepEqual(expected.map((_, index) => typed.get(index + 1)), expected);
    assert.ok(blocked >= 2 * keys.length, 'the channel was not blocked');
    assert.deepEqual(page.faults, []);
    await page.context().close();
    await server.stop();
  });
}
