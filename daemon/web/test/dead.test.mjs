// Dead keys: which accent, on which letter.

import assert from 'node:assert/strict';
import test from 'node:test';

import { DeadKeys } from '../dead.js';
import { spoilersOf } from '../keyboard.js';

const GERMAN = new Map([['Equal', '´'], ['Backquote', '^']]);

test('a dead key puts its accent on the letter that follows', () => {
  const dead = new DeadKeys(GERMAN);
  dead.handle({ code: 'Equal', shiftKey: false });
  assert.equal(dead.compose('Shift'), 'Shift');
  assert.equal(dead.compose('E'), 'É');
  assert.equal(dead.compose('e'), 'e', 'one letter only');
  dead.handle({ code: 'Equal', shiftKey: true });
  assert.equal(dead.compose('a'), 'à');
  dead.handle({ code: 'Backquote', shiftKey: false });
  assert.equal(dead.compose('o'), 'ô');
});

test('what the browser composed, and what cannot be composed, stays as it is', () => {
  const dead = new DeadKeys(GERMAN);
  dead.handle({ code: 'Equal', shiftKey: false });
  assert.equal(dead.compose('é'), 'é');
  dead.handle({ code: 'Equal', shiftKey: false });
  assert.equal(dead.compose('x'), 'x');
  dead.handle({ code: 'KeyQ', shiftKey: false });
  assert.equal(dead.compose('e'), 'e', 'a key that is not known as dead');
});

test('modifiers that made a character go up, those of shortcuts stay', () => {
  const none = { ctrlKey: false, altKey: false, metaKey: false };
  const check = (event, system, expected) =>
    assert.deepEqual(spoilersOf({ ...none, ...event }, system), expected);
  check({ key: 'AltGraph' }, 'Windows NT 10.0', ['ControlLeft']);
  check({ key: 'AltGraph' }, 'X11; Linux', []);
  check({ key: '@', altKey: true }, 'Macintosh', ['AltLeft', 'AltRight']);
  check({ key: 'f', altKey: true }, 'X11; Linux', []);
  check({ key: 'ArrowLeft', altKey: true }, 'Macintosh', []);
  check({ key: '@', altKey: true, ctrlKey: true }, 'Macintosh', []);
});
