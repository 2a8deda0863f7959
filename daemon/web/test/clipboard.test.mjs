// What a program copied reaches the viewer's clipboard, or does not.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Clipboard, REFUSED, WITHHELD } from '../clipboard.js';

function world(changes = {}) {
  const seen = { written: [], notices: [] };
  const clipboard = new Clipboard({
    isCaptured: () => true,
    isSecure: true,
    write: async (text) => void seen.written.push(text),
    onNotice: (words) => seen.notices.push(words),
    ...changes,
  });
  globalThis.document = { hasFocus: () => changes.hasFocus ?? true };
  return { clipboard, ...seen };
}

const whole = (text) => ({ text, first: true, last: true });

test('pieces are joined, and a text that begins anew replaces an unfinished one', async () => {
  const { clipboard, written } = world();
  clipboard.handleGesture(0);
  await clipboard.handlePiece({ text: 'old', first: true, last: false }, 1);
  await clipboard.handlePiece({ text: 'schöne ', first: true, last: false }, 2);
  await clipboard.handlePiece({ text: 'Grüße', first: false, last: true }, 3);
  await clipboard.handlePiece({ text: 'the end of nothing', first: false, last: true }, 4);
  assert.deepEqual(written, ['schöne Grüße']);
});

test('nothing is written without a gesture, without the focus, or of endless length', async () => {
  for (const changes of [{ isCaptured: () => false }, { hasFocus: false }]) {
    const { clipboard, written, notices } = world(changes);
    clipboard.handleGesture(0);
    await clipboard.handlePiece(whole('secret'), 1);
    assert.deepEqual([written, notices], [[], []]);
  }
  const { clipboard, written } = world();
  await clipboard.handlePiece(whole('before any key'), 1);
  clipboard.handleGesture(10);
  await clipboard.handlePiece(whole('late'), 5_000);
  await clipboard.handlePiece({ text: 'x'.repeat(1 << 20), first: true, last: false }, 11);
  await clipboard.handlePiece({ text: 'x', first: false, last: true }, 12);
  assert.deepEqual(written, []);
});

test('a browser that withholds its clipboard is told of in words', async () => {
  const plain = world({ isSecure: false });
  plain.clipboard.handleGesture(0);
  await plain.clipboard.handlePiece(whole('text'), 1);
  assert.deepEqual([plain.written, plain.notices], [[], [WITHHELD]]);
  const refused = world({ write: () => Promise.reject(new Error('NotAllowedError')) });
  refused.clipboard.handleGesture(0);
  await refused.clipboard.handlePiece(whole('text'), 1);
  assert.deepEqual(refused.notices, [REFUSED]);
});
