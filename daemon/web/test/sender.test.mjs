// Which way a packet goes.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Sender } from '../sender.js';

const KEY = { code: 30, keysym: 0x61, isDown: true };

function world({ channel = {}, socket = {} } = {}) {
  const sent = { channel: 0, socket: 0 };
  const way = (name) => () => (sent[name] += 1);
  const sender = new Sender();
  sender.connect(
    { readyState: 'open', bufferedAmount: 0, send: way('channel'), ...channel },
    { isOpen: true, bufferedAmount: 0, copy: way('socket'), ...socket },
  );
  return { sender, sent };
}

/** Does one thing and looks at once, before anything is repeated. */
function act(ways, step) {
  const { sender, sent } = world(ways);
  sender.apply(step);
  const seen = { ...sent };
  sender.reset();
  return seen;
}

test('keys go both ways, mere moves by the channel, and all by the way that is left', () => {
  const key = (input, now) => input.handleKey(now, KEY);
  const move = (input, now) => input.handleMove(now, { x: 1, y: 1 });
  assert.deepEqual(act({}, key), { channel: 1, socket: 1 });
  assert.deepEqual(act({}, move), { channel: 1, socket: 0 });
  for (const channel of [{ readyState: 'connecting' }, { bufferedAmount: 1 << 20 }]) {
    assert.deepEqual(act({ channel }, key), { channel: 0, socket: 1 });
    assert.deepEqual(act({ channel }, move), { channel: 0, socket: 1 });
  }
  assert.deepEqual(act({ socket: { isOpen: false } }, key), { channel: 1, socket: 0 });
  const [channel, socket] = [{ readyState: 'closed' }, { isOpen: false }];
  assert.deepEqual(act({ channel, socket }, key), { channel: 0, socket: 0 });
});

test('what is forsaken is not sent again, and what follows is another stream from 1 on', () => {
  const packets = [];
  const sender = new Sender();
  const channel = { readyState: 'open', bufferedAmount: 0, send: (it) => packets.push(it) };
  sender.connect(channel, { isOpen: false });
  const press = (isDown) => sender.apply((input, now) => input.handleKey(now, { ...KEY, isDown }));
  press(true);
  sender.forsake();
  // The key that went up meanwhile belongs to what was given up.
  press(false);
  assert.equal(packets.length, 1);
  press(true);
  const [before, after] = packets.map((it) => new DataView(it.buffer, it.byteOffset));
  assert.notEqual(before.getBigUint64(2, true), after.getBigUint64(2, true));
  assert.equal(after.getUint32(10, true), 1);
  assert.equal(after.getUint8(14), 1, 'one event alone');
  sender.reset();
});
