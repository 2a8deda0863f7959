// Letters typed by a native viewer, and what the barcode program has seen of them.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';

import { seeded, until } from './wait.mjs';

/** Keysyms of letters, and the X keycodes that they are on. */
const LETTERS = { q: 24, w: 25, e: 26, r: 27, t: 28, y: 29, u: 30, i: 31 };

export class Typing {
  /** @param server, the user's name, and the viewer that types */
  constructor(server, name, viewer) {
    Object.assign(this, { server, name, viewer });
  }

  /** What the barcode program has seen, as it wrote it down itself. */
  recorded() {
    const log = path.join(this.server.homeOf(this.name).home, 'keys.log');
    if (!fs.existsSync(log)) return [];
    return fs.readFileSync(log, 'utf8').trim().split('\n').filter(Boolean)
      .map((it) => Number(it.split(' ')[1]));
  }

  /** Presses a letter until the barcode program has the keyboard, and waits until it is still. */
  async untilHeard() {
    await until('the barcode program to have the keyboard', async () => {
      this.viewer.letter('z');
      const patience = { patience: 1_000 };
      const isHeard = () => this.recorded().length > 0;
      return until('a key in its log', isHeard, patience).catch(() => false);
    });
    let settled = 0;
    await until('the keyboard to be still', () => {
      const before = settled;
      settled = this.recorded().length;
      return settled === before;
    }, { every: 200 });
  }

  /**
   * Types letters at random times while `act` happens after a third of them; each arrives once.
   *
   * @param {number} keys
   * @param {number} seed
   */
  async typeDuring(keys, seed, act = () => {}) {
    const random = seeded(seed);
    const names = Object.keys(LETTERS);
    const typed = [];
    const before = this.recorded().length;
    for (let sent = 0; sent < keys; sent += 1) {
      if (sent === Math.floor(keys / 3)) act();
      const letter = names[Math.floor(random() * names.length)];
      typed.push(LETTERS[letter]);
      this.viewer.letter(letter);
      await new Promise((resolve) => {
        setTimeout(resolve, random() * 20);
      });
    }
    await until('every key to arrive', () => this.recorded().length - before >= keys);
    assert.deepEqual(this.recorded().slice(before), typed);
  }
}
