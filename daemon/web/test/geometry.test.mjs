// Window, picture and desktop pixels.

import assert from 'node:assert/strict';
import test from 'node:test';

import { desktopSize, place, toDesktop } from '../geometry.js';

test('a desktop has even sides within the limits, and keeps the shape of a huge window', () => {
  const check = (width, height, expected) =>
    assert.deepEqual(Object.values(desktopSize({ width, height })), expected);
  check(1920, 1080, [1920, 1080]);
  check(1367, 769, [1366, 768]);
  check(100, 50, [320, 200]);
  check(5120, 2880, [3840, 2160]);
  check(5120, 1440, [3840, 1080]);
  check(1, 1, [320, 200]);
});

test('a picture of the window’s size is shown pixel for pixel, odd windows included', () => {
  for (const [width, height, ratio] of [[1920, 1080, 1], [1367, 769, 1], [2561, 1441, 1.25]]) {
    const viewport = { width, height };
    const picture = desktopSize(viewport);
    const shown = place(picture, viewport, ratio);
    assert.ok(shown.isExact);
    assert.equal(shown.width * ratio, picture.width);
    assert.deepEqual([shown.left, shown.top], [0, 0]);
  }
});

test('another picture is scaled, centred, and keeps its shape', () => {
  const shown = place({ width: 1000, height: 500 }, { width: 800, height: 800 }, 2);
  assert.deepEqual(shown, { left: 0, top: 100, width: 400, height: 200, isExact: false });
});

test('a point of the window is a pixel of the desktop; outside is the nearest', () => {
  const picture = { width: 1000, height: 500 };
  const shown = place(picture, { width: 800, height: 800 }, 2);
  const check = (x, y, expected) =>
    assert.deepEqual(Object.values(toDesktop({ x, y }, shown, picture)), expected);
  check(0, 100, [0, 0]);
  check(200, 200, [500, 250]);
  check(399.9, 299.9, [999, 499]);
  check(-50, 5000, [0, 499]);
});
