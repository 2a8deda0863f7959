// Buttons by their mask, wheel steps from what browsers report.

import assert from 'node:assert/strict';
import test from 'node:test';

import { buttonChanges, WheelAxis, wheelUnits } from '../pointer.js';

test('a change of the mask names each button by its DOM number', () => {
  assert.deepEqual(buttonChanges(0, 1), [{ button: 0, isDown: true }]);
  assert.deepEqual(buttonChanges(0, 2), [{ button: 2, isDown: true }]);
  assert.deepEqual(buttonChanges(0, 4), [{ button: 1, isDown: true }]);
  assert.deepEqual(buttonChanges(8, 16), [
    { button: 3, isDown: false },
    { button: 4, isDown: true },
  ]);
  assert.deepEqual(buttonChanges(1, 3), [{ button: 2, isDown: true }]);
  assert.deepEqual(buttonChanges(7, 7), []);
});

test('one notch is one step, however the browser reports it', () => {
  assert.equal(wheelUnits({ delta: 120, mode: 0, legacy: -120 }), 120);
  assert.equal(wheelUnits({ delta: 100, mode: 0, legacy: -120 }), 120);
  assert.equal(wheelUnits({ delta: -100, mode: 0, legacy: 120 }), -120);
  assert.equal(wheelUnits({ delta: 3, mode: 1, legacy: -120 }), 120);
  assert.equal(wheelUnits({ delta: 1, mode: 2, legacy: 0 }), 600);
  assert.equal(wheelUnits({ delta: 0, mode: 0, legacy: 0 }), 0);
});

test('a trackpad gives fractions, and they add up to whole steps', () => {
  const axis = new WheelAxis();
  const turns = Array.from({ length: 10 }, () =>
    axis.turn(wheelUnits({ delta: 15, mode: 0, legacy: -45 })),
  );
  assert.equal(turns.reduce((sum, it) => sum + it, 0), 360);
  assert.ok(turns.every((it) => it % 120 === 0));
});

test('turning back owes nothing to the fraction left over', () => {
  const axis = new WheelAxis();
  assert.equal(axis.turn(100), 0);
  assert.equal(axis.turn(-120), -120);
});

test('a broken device does not turn without end', () => {
  assert.equal(new WheelAxis().turn(1e9), 2400);
});
