// Pasted text in pieces.

import assert from 'node:assert/strict';
import test from 'node:test';

import {
  MESSAGE_BYTES_MAX,
  PASTE_BYTES_MAX,
  pastePieces,
  PIECE_BYTES_MAX,
} from '../paste.js';

const bytes = (text) => new TextEncoder().encode(text).length;

test('short text is one piece', () => {
  assert.deepEqual(pastePieces('hello'), ['hello']);
});

test('long text is cut between characters, and nothing is lost', () => {
  const [two, three, four] = ['ä', '€', '😀'].map((it) => it.repeat(40_000));
  for (const text of [`${two}`, `xy${three}`, `x${four}`]) {
    const pieces = pastePieces(text);
    assert.equal(pieces.join(''), text);
    assert.ok(pieces.length > 1);
    assert.ok(pieces.every((it) => bytes(it) <= PIECE_BYTES_MAX && it !== ''));
  }
});

test('text that JSON must escape makes smaller pieces, so that each fits a message', () => {
  for (const text of ['\n'.repeat(100_000), '\u0001'.repeat(100_000), '"\\'.repeat(50_000)]) {
    const pieces = pastePieces(text);
    assert.equal(pieces.join(''), text);
    assert.ok(pieces.every((it) => bytes(JSON.stringify(it)) <= MESSAGE_BYTES_MAX));
  }
});

test('a byte order mark inside a text stays', () => {
  const text = 'x'.repeat(PIECE_BYTES_MAX) + '\ufeffrest';
  assert.equal(pastePieces(text).join(''), text);
});

test('a paste of the largest size passes, one byte more is refused', () => {
  assert.equal(pastePieces('x'.repeat(PASTE_BYTES_MAX)).join('').length, PASTE_BYTES_MAX);
  assert.equal(pastePieces('x'.repeat(PASTE_BYTES_MAX + 1)), null);
  assert.equal(pastePieces('€'.repeat(PASTE_BYTES_MAX / 3 + 1)), null);
});
