// A UDP relay between viewers and server: a path that loses by a seeded plan, delays, reorders,
// doubles, is narrow, dead for a while, or gives viewers other addresses.

import dgram from 'node:dgram';

import { seeded } from './wait.mjs';

/** Datagrams lost in a row, where bursts are lost. */
export const BURST = 4;

/**
 * Plans of loss: each says of the next datagram whether it is lost.
 *
 * @typedef {(seed: number) => () => boolean} Plan
 */

/** Each datagram alone. @param {number} share @returns {Plan} */
export const alone = (share) => (seed) => {
  const next = seeded(seed);
  return () => next() < share;
};

/** As many in all, so many in a row. @param {number} share @param {number} run @returns {Plan} */
export const inRuns = (share, run) => (seed) => {
  const next = seeded(seed);
  let left = 0;
  return () => {
    if (left === 0 && next() < share / run) left = run;
    if (left === 0) return false;
    left -= 1;
    return true;
  };
};

/** @type {Record<string, Plan>} */
export const LOSSES = {
  none: () => () => false,
  /** A network without UDP. */
  all: () => () => true,
  random: alone(0.05),
  bursts: inRuns(0.05, BURST),
};

/** What a path does to the datagrams that are not lost. */
const PLAIN = {
  /** Milliseconds that each takes. */
  delay: 0,
  /** Share that takes up to so many milliseconds longer, and is overtaken. */
  late: 0,
  lateBy: 0,
  /** Share that comes twice. */
  twice: 0,
  /** Longest datagram that passes, in bytes. */
  widest: Infinity,
};

export class Relay {
  #front = dgram.createSocket('udp4');
  /** @type {Map<string, dgram.Socket>} a socket towards the server for each viewer's address */
  #backs = new Map();
  #serverPort = 0;
  #isLost = { toViewer: LOSSES.none(0), toServer: LOSSES.none(0) };
  #path = PLAIN;
  #chance = seeded(0);
  #isCut = false;
  #isBarred = false;
  #isClosed = false;
  /** Datagrams in both directions, and the bytes in those that passed. */
  passed = 0;
  lost = 0;
  bytes = 0;

  /** Takes a free port. @returns {Promise<Relay>} */
  static async open() {
    const relay = new Relay();
    const bound = new Promise((resolve) => relay.#front.bind(0, '127.0.0.1', () => resolve()));
    await bound;
    relay.#front.on('message', (bytes, viewer) => {
      relay.#pass('toServer', bytes, () => relay.#backOf(viewer).send(bytes, relay.#serverPort));
    });
    return relay;
  }

  /** What viewers are told. */
  get address() {
    return `127.0.0.1:${this.#front.address().port}`;
  }

  /** @param {number} port of the server's media socket */
  connect(port) {
    this.#serverPort = port;
  }

  /**
   * From now on datagrams are lost; what went before does not count.
   *
   * @param {keyof typeof LOSSES | Plan} plan
   * @param {number} seed
   */
  lose(plan, seed) {
    const begin = typeof plan === 'string' ? LOSSES[plan] : plan;
    this.#isLost = { toViewer: begin(seed), toServer: begin(seed + 1) };
    this.passed = this.lost = this.bytes = 0;
  }

  /**
   * From now on the path is so.
   *
   * @param {Partial<typeof PLAIN>} path what is not named is as on a plain one
   * @param {number} seed
   */
  lead(path, seed) {
    this.#path = { ...PLAIN, ...path };
    this.#chance = seeded(seed);
  }

  /** Nothing passes until it is mended. */
  cut() {
    this.#isCut = true;
  }

  /** Connections go on, and none begins, until it is mended. */
  bar() {
    this.#isBarred = true;
  }

  mend() {
    this.#isCut = false;
    this.#isBarred = false;
  }

  /** Viewers come from other addresses from now on, as when a translator forgets them. */
  forget() {
    for (const back of this.#backs.values()) back.close();
    this.#backs.clear();
  }

  close() {
    this.#isClosed = true;
    this.#front.close();
    this.forget();
  }

  #backOf(viewer) {
    const name = `${viewer.address}:${viewer.port}`;
    const known = this.#backs.get(name);
    if (known) return known;
    const back = dgram.createSocket('udp4');
    back.on('message', (bytes) => {
      this.#pass('toViewer', bytes, () => this.#front.send(bytes, viewer.port, viewer.address));
    });
    this.#backs.set(name, back);
    return back;
  }

  #pass(direction, bytes, send) {
    const { delay, late, lateBy, twice, widest } = this.#path;
    // RFC 9000 §17.2: what begins a connection has a long header.
    const isBarred = this.#isBarred && (bytes[0] & 0x80) !== 0;
    if (this.#isLost[direction]() || this.#isCut || isBarred || bytes.length > widest) {
      this.lost += 1;
      return;
    }
    this.passed += 1;
    this.bytes += bytes.length;
    const copies = this.#chance() < twice ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const more = this.#chance() < late ? this.#chance() * lateBy : 0;
      if (delay + more === 0) send();
      else setTimeout(() => this.#isClosed || send(), delay + more);
    }
  }
}
