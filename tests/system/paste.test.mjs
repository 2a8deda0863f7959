// A long text that the native viewer pastes is in the desktop before the key that asks for it,
// whatever the network loses.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { serverWith } from './desktop.mjs';
import { closeViewers, NativeViewer, runInTerminal } from './native.mjs';
import { Relay } from './relay.mjs';
import { discardAll } from './server.mjs';
import { until } from './wait.mjs';

const SEED = Number(process.env.SEED ?? 5);
const PIECE = 32 << 10;
const SHIFT = 'key 42 0xffe1';
const INSERT = 'key 110 0xff63';

let relay;
after(async () => {
  closeViewers();
  await discardAll();
  relay?.close();
});

/** A text of so many bytes, or a few more. */
function textOf(bytes, name) {
  let text = '';
  for (let n = 0; Buffer.byteLength(text) < bytes; n += 1) text += `${name}${n}: schöne Grüße €.`;
  return text;
}

test('pasted texts of several pieces arrive whole with the key behind them', async (t) => {
  relay = await Relay.open();
  const server = await serverWith(['ada'], '');
  relay.connect(Number(server.variables.MEDIA_PORT));
  const viewer = await new NativeViewer({ port: relay.address.split(':')[1] }).show();
  const plain = "bind 'set enable-bracketed-paste off'; touch ready";
  await runInTerminal(viewer, server, 'ada', plain, 'ready');
  const { home } = server.homeOf('ada');
  for (const name of ['first', 'second', 'third']) {
    const text = textOf(3 * PIECE, name);
    const file = path.join(home, name);
    // As it comes: lines of a terminal are short.
    const bytes = Buffer.byteLength(text);
    viewer.type(`stty raw -echo; touch ${name}; head -c ${bytes} > ${name}; stty sane`);
    await until('the file to be there', () => fs.existsSync(file));
    relay.lose('random', SEED);
    viewer.step(`paste ${text}`);
    viewer.step(`${SHIFT} down`);
    viewer.press(INSERT);
    viewer.step(`${SHIFT} up`);
    await until('the whole text', () => fs.statSync(file).size >= bytes);
    t.diagnostic(`seed ${SEED}: ${relay.lost} of ${relay.lost + relay.passed} datagrams lost`);
    assert.ok(relay.lost > 0, 'nothing was lost');
    relay.lose('none', SEED);
    assert.equal(fs.readFileSync(file, 'utf8'), text);
  }
  assert.equal(await viewer.leave(), 0, viewer.said);
  await server.stop();
});
