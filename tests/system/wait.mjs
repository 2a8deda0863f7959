// Waiting for something that is bound to happen; 30 s say that it did not, nothing about speed.

import { setTimeout as pause } from 'node:timers/promises';

export const PATIENCE_MS = 30_000;

/**
 * Asks again and again until the answer is neither false, null nor undefined; returns it.
 *
 * @template T
 * @param {string} what named in the error
 * @param {() => T | Promise<T>} condition
 * @param {{patience?: number, every?: number}} [times] milliseconds
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(what, condition, { patience = PATIENCE_MS, every = 40 } = {}) {
  const end = performance.now() + patience;
  for (;;) {
    const answer = await condition();
    if (answer !== false && answer !== null && answer !== undefined) return answer;
    if (performance.now() > end) throw new Error(`waited ${patience / 1000} s for ${what}`);
    await pause(every);
  }
}

/**
 * Random numbers from a seed (mulberry32), so that a run can be repeated.
 *
 * @param {number} seed
 * @returns {() => number} the next number, 0 to below 1
 */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
