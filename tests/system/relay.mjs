// A UDP relay that loses datagrams by a seeded plan: what MEDIA_ADVERTISE tells viewers of.

import dgram from 'node:dgram';

import { seeded } from './wait.mjs';

/** Datagrams lost in a row, where bursts are lost. */
export const BURST = 4;

/**
 * Plans of loss: each says of the next datagram whether it is lost.
 *
 * @type {Record<string, (seed: number) => () => boolean>}
 */
export const LOSSES = {
  none: () => () => false,
  /** A network without UDP. */
  all: () => () => true,
  /** Each datagram alone: 5 %. */
  random: (seed) => {
    const next = seeded(seed);
    return () => next() < 0.05;
  },
  /** As many in all, four in a row. */
  bursts: (seed) => {
    const next = seeded(seed);
    let left = 0;
    return () => {
      if (left === 0 && next() < 0.05 / BURST) left = BURST;
      if (left === 0) return false;
      left -= 1;
      return true;
    };
  },
};

export class Relay {
  #front = dgram.createSocket('udp4');
  /** @type {Map<string, dgram.Socket>} a socket towards the server for each viewer's address */
  #backs = new Map();
  #serverPort = 0;
  #isLost = { toViewer: LOSSES.none(0), toServer: LOSSES.none(0) };
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
   * @param {keyof typeof LOSSES} name
   * @param {number} seed
   */
  lose(name, seed) {
    const plan = LOSSES[name];
    this.#isLost = { toViewer: plan(seed), toServer: plan(seed + 1) };
    this.passed = this.lost = this.bytes = 0;
  }

  close() {
    this.#front.close();
    for (const back of this.#backs.values()) back.close();
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
    if (this.#isLost[direction]()) {
      this.lost += 1;
    } else {
      this.passed += 1;
      this.bytes += bytes.length;
      send();
    }
  }
}
