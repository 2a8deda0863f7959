// The input stream: bytes on the wire, resending until acknowledged, latest-wins moves.

import assert from 'node:assert/strict';
import test from 'node:test';

import {
  decodeAck, encodePacket, Input, INPUT_EVENTS_MAX, isMoveAlone, UNACKED_MAX,
} from '../input.js';

/** The same bytes as in `protocol/src/wire/input.rs`. */
const GOLDEN = [
  1, 3, 8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 4, 1, 1, 30, 0, 0x61, 0, 0, 0, 2, 0, 2, 128, 2, 255,
  255, 3, 136, 255, 240, 0, 1, 0, 2, 0, 4, 12, 0, 0, 0, 77, 0, 0, 0, 3, 0, 4, 0, 2, 30, 0, 42, 0,
];

test('the bytes of a packet are those that the server reads', () => {
  const packet = {
    stream: 0x0102030405060708n,
    firstSeq: 9,
    events: [
      { kind: 'key', code: 30, keysym: 0x61, isDown: true },
      { kind: 'button', button: 2, isDown: false, x: 640, y: 65535 },
      { kind: 'wheel', dx: -120, dy: 240, x: 1, y: 2 },
      { kind: 'release_all' },
    ],
    pointer: { after: 12, number: 77, x: 3, y: 4 },
    held: [30, 42],
  };
  assert.deepEqual([...encodePacket(packet)], GOLDEN);
});

test('the golden bytes still stand in the protocol crate', async () => {
  const { readFile } = await import('node:fs/promises');
  const source = await readFile(
    new URL('../../../protocol/src/wire/input.rs', import.meta.url),
    'utf8',
  );
  const [, list] = source.match(/const GOLDEN: &\[u8\] = &\[([^\]]*)\]/) ?? [];
  assert.deepEqual(list?.split(',').map(Number).slice(0, GOLDEN.length), GOLDEN);
});

test('an acknowledgement is read, and nothing else is taken for one', () => {
  const bytes = Uint8Array.of(2, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0);
  assert.deepEqual(decodeAck(bytes.buffer), { stream: 1n, seq: 2 });
  assert.equal(decodeAck(bytes.slice(0, 12).buffer), null);
  assert.equal(decodeAck(Uint8Array.of(1, ...bytes.slice(1)).buffer), null);
});

test('a key goes out at once and again until it is acknowledged, then the stream rests', () => {
  const { input, drain } = world();
  tap(input, 0);
  assert.deepEqual(drain(0).map(({ events }) => events), [2]);
  const at = input.pollTimeout();
  assert.equal(drain(at - 1).length, 0);
  assert.deepEqual(drain(at).map(({ firstSeq, events }) => [firstSeq, events]), [[1, 2]]);
  input.handleAck(at + 5, ack(1n, 2));
  assert.equal(input.pollTimeout(), null);
});

test('waits between resends grow, and never beyond a quarter of a second', () => {
  const { input, drain } = world();
  tap(input, 0);
  drain(0);
  const waits = [];
  for (let now = 0; waits.length < 8; ) {
    const next = input.pollTimeout();
    waits.push(next - now);
    now = next;
    assert.equal(drain(now).length, 1);
  }
  assert.ok(waits.every((it, index) => index === 0 || it >= waits[index - 1]), `${waits}`);
  assert.equal(Math.max(...waits), 250);
});

test('an acknowledgement of some events leaves the others to be resent', () => {
  const { input, drain } = world();
  tap(input, 0);
  tap(input, 1, 31);
  drain(1);
  input.handleAck(5, ack(1n, 3));
  const [packet] = drain(input.pollTimeout());
  assert.deepEqual([packet.firstSeq, packet.events], [4, 1]);
});

test('acknowledgements of another stream, of the past and of the future change nothing', () => {
  const { input, drain } = world();
  tap(input, 0);
  drain(0);
  for (const stale of [ack(9n, 2), ack(1n, 0), ack(1n, 3)]) input.handleAck(1, stale);
  assert.equal(drain(input.pollTimeout())[0]?.events, 2);
});

test('more events than fit go in order, one packet after the other', () => {
  const { input, drain } = world();
  for (let index = 0; index < 20; index += 1) tap(input, 0);
  assert.deepEqual(drain(0).map(({ events }) => events), [INPUT_EVENTS_MAX]);
  input.handleAck(1, ack(1n, INPUT_EVENTS_MAX));
  assert.deepEqual(
    drain(1).map(({ firstSeq, events }) => [firstSeq, events]),
    [[INPUT_EVENTS_MAX + 1, 40 - INPUT_EVENTS_MAX]],
  );
});

test('a server that answers nothing for five seconds gets a new stream that lets go', () => {
  const { input, drain } = world();
  input.handleKey(0, { code: 30, keysym: 0x61, isDown: true });
  const packets = [];
  for (let now = 0; now <= 5000; now = Math.max(now + 1, input.pollTimeout())) {
    packets.push(...drain(now));
  }
  const last = packets.at(-1);
  assert.equal(last.stream, 2n);
  assert.deepEqual([last.firstSeq, last.kinds], [1, [4]]);
  assert.deepEqual(input.held, []);
});

test('a link that is down fills no queue without end', () => {
  const { input, drain } = world();
  for (let index = 0; index <= UNACKED_MAX; index += 1) tap(input, 0);
  input.handleOpen(1);
  assert.ok(drain(1)[0].stream > 1n);
});

test('repeats of a held key are left to the desktop', () => {
  const { input } = world();
  for (let now = 0; now < 5; now += 1) input.handleKey(now, { code: 30, keysym: 97, isDown: true });
  assert.equal(input.lastSeq, 1);
  input.handleKey(9, { code: 30, keysym: 97, isDown: false });
  input.handleKey(9, { code: 30, keysym: 97, isDown: false });
  assert.equal(input.lastSeq, 2);
});

test('a key goes up with the keysym that it went down with', () => {
  const { input, drain } = world();
  input.handleKey(0, { code: 30, keysym: 0x41, isDown: true });
  input.handleKey(0, { code: 30, keysym: 0x61, isDown: false });
  const [packet] = drain(0);
  assert.deepEqual([...packet.bytes.slice(15 + 8, 15 + 16)], [1, 0, 30, 0, 0x41, 0, 0, 0]);
});

test('a key without a place is a tap, because nothing could hold it', () => {
  const { input } = world();
  input.handleKey(0, { code: 0, keysym: 0x100, isDown: true });
  input.handleKey(0, { code: 0, keysym: 0x100, isDown: false });
  assert.equal(input.lastSeq, 2);
  assert.deepEqual(input.held, []);
});

test('the held set goes every half second while a key is down, and stops with it', () => {
  const { input, drain } = world();
  input.handleKey(0, { code: 30, keysym: 97, isDown: true });
  drain(0);
  input.handleAck(1, ack(1n, 1));
  assert.equal(input.pollTimeout(), 500);
  const [first] = drain(500);
  assert.deepEqual([first.events, first.firstSeq, first.held], [0, 2, [30]]);
  assert.equal(input.pollTimeout(), 1000);
  input.handleKey(600, { code: 30, keysym: 97, isDown: false });
  drain(600);
  input.handleAck(601, ack(1n, 2));
  assert.equal(input.pollTimeout(), null);
});

test('moves are latest-wins and at most 250 a second', () => {
  const { input, drain } = world();
  const sent = [];
  for (let now = 0; now < 1000; now += 1) {
    input.handleMove(now, { x: now, y: 0 });
    sent.push(...drain(now));
  }
  assert.equal(sent.length, 250);
  assert.equal(sent.at(-1).move.x, 996);
});

test('the last move is repeated a little, then the stream rests', () => {
  const { input, drain } = world();
  input.handleMove(0, { x: 7, y: 8 });
  const sent = [...drain(0)];
  while (input.pollTimeout() !== null) sent.push(...drain(input.pollTimeout()));
  assert.deepEqual(sent.map(({ move }) => [move.number, move.x]), [[1, 7], [1, 7], [1, 7]]);
});

test('a repeated move names the newest event, or the server would not take it', () => {
  const { input, drain } = world();
  input.handleMove(0, { x: 7, y: 8 });
  assert.equal(drain(0)[0].move.after, 0);
  tap(input, 1);
  assert.equal(drain(40).at(-1).move.after, 2);
});

test('no older move follows a click', () => {
  const { input, drain } = world();
  input.handleMove(0, { x: 1, y: 1 });
  input.handleButton(1, { button: 0, isDown: true, x: 5, y: 5 });
  input.handleButton(2, { button: 0, isDown: false, x: 5, y: 5 });
  assert.ok(drain(2).every(({ move }) => move === null));
});

test('losing the focus lets go once, and says nothing when nothing is held', () => {
  const { input } = world();
  input.handleRelease(0);
  assert.equal(input.lastSeq, 0);
  input.handleKey(1, { code: 30, keysym: 97, isDown: true });
  input.handleRelease(2);
  input.handleRelease(3);
  assert.equal(input.lastSeq, 2);
});

test('in a world of loss, delay and doubles every event arrives once and in order', () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const chance = generator(seed);
    const { input, drain } = world();
    const applied = [];
    const wire = [];
    let keys = 0;
    for (let now = 0; now < 60_000; now += 1) {
      if (keys < 200 && chance() < 0.02) {
        keys += 1;
        input.handleKey(now, { code: keys % 2 ? 30 : 31, keysym: keys, isDown: true });
        input.handleKey(now, { code: keys % 2 ? 30 : 31, keysym: keys, isDown: false });
      }
      for (const packet of drain(now)) {
        for (let copies = chance() < 0.1 ? 2 : 1; copies > 0; copies -= 1) {
          if (chance() > 0.3) wire.push({ at: now + 5 + chance() * 80, packet });
        }
      }
      const due = wire.filter(({ at }) => at <= now);
      wire.splice(0, wire.length, ...wire.filter(({ at }) => at > now));
      for (const { packet } of due) {
        packet.keysyms.forEach((keysym, index) => {
          if (packet.firstSeq + index === applied.length + 1) applied.push(keysym);
        });
        if (packet.events > 0 && chance() > 0.3) input.handleAck(now, ack(1n, applied.length));
      }
    }
    const expected = Array.from({ length: 200 }, (_, index) => [index + 1, index + 1]).flat();
    assert.deepEqual(applied, expected, `seed ${seed}`);
    assert.equal(input.pollTimeout(), null, `seed ${seed} comes to rest`);
  }
});

/** An input stream whose streams are numbered from 1, and a reader of what it sends. */
function world() {
  let streams = 0n;
  const input = new Input(() => (streams += 1n));
  const drain = (now) => {
    const packets = [];
    for (let turns = 0; turns < 10; turns += 1) {
      const bytes = input.pollPacket(now);
      if (!bytes) return packets;
      packets.push(decode(bytes));
    }
    throw new Error('a turn sends without end');
  };
  return { input, drain };
}

function tap(input, now, code = 30) {
  input.handleKey(now, { code, keysym: 0x61, isDown: true });
  input.handleKey(now, { code, keysym: 0x61, isDown: false });
}

function ack(stream, seq) {
  const view = new DataView(new ArrayBuffer(13));
  view.setUint8(0, 2);
  view.setBigUint64(1, stream, true);
  view.setUint32(9, seq, true);
  return view.buffer;
}

function decode(bytes) {
  const view = new DataView(bytes.buffer);
  const lengths = { 1: 8, 2: 7, 3: 9, 4: 1 };
  const kinds = [];
  const keysyms = [];
  let at = 15;
  for (let count = view.getUint8(14); count > 0; count -= 1) {
    kinds.push(bytes[at]);
    if (bytes[at] === 1) keysyms.push(view.getUint32(at + 4, true));
    at += lengths[bytes[at]];
  }
  let move = null;
  if (bytes[1] & 1) {
    const word = (offset) => view.getUint32(at + offset, true);
    const short = (offset) => view.getUint16(at + offset, true);
    move = { after: word(0), number: word(4), x: short(8), y: short(10) };
    at += 12;
  }
  const held = bytes[1] & 2
    ? Array.from({ length: bytes[at] }, (_, index) => view.getUint16(at + 1 + 2 * index, true))
    : null;
  const [stream, firstSeq] = [view.getBigUint64(2, true), view.getUint32(10, true)];
  return { bytes, stream, firstSeq, events: kinds.length, kinds, keysyms, move, held };
}

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('a packet of nothing but a move is told from one with events or held keys', () => {
  const packet = { stream: 1n, firstSeq: 1, events: [], pointer: null, held: null };
  const pointer = { after: 0, number: 1, x: 1, y: 1 };
  const of = (changes) => isMoveAlone(encodePacket({ ...packet, ...changes }));
  assert.ok(of({ pointer }));
  assert.ok(!of({ pointer, held: [30] }));
  assert.ok(!of({ pointer, events: [{ kind: 'release_all' }] }));
});
