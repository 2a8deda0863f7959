// @ts-check
// Carries input packets to the data channel at the time that the input stream asks for, and a copy
// of all but mere moves to the socket: the channel may be slow to notice what it lost.

import { Input, isMoveAlone } from './input.js';

/** Bytes waiting in the channel above which nothing is added: old moves would only delay. */
const BACKLOG_BYTES_MAX = 4096;
const BACKLOG_RETRY_MS = 10;

export class Sender {
  #input = new Input(randomStream);
  /** @type {RTCDataChannel | null} */
  #channel = null;
  /** @type {import('./signal.js').Signal | null} */
  #socket = null;
  /** @type {number | undefined} */
  #timer;

  /**
   * @param {RTCDataChannel} channel the `in` channel of a fresh connection
   * @param {import('./signal.js').Signal} socket for copies
   */
  connect(channel, socket) {
    this.disconnect();
    this.#channel = channel;
    this.#socket = socket;
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.handleAck(data);
    };
    channel.onopen = () => this.apply((input, now) => input.handleOpen(now));
  }

  /** The link is gone: what is held goes up, and is said so when a link is there again. */
  disconnect() {
    clearTimeout(this.#timer);
    if (this.#channel) this.#channel.onmessage = this.#channel.onopen = null;
    this.#channel = this.#socket = null;
    this.#input.handleRelease(performance.now());
  }

  /** @param {ArrayBuffer} ack of either copy */
  handleAck(ack) {
    this.apply((input, now) => input.handleAck(now, ack));
  }

  /** Another desktop counts its input from 1. */
  reset() {
    this.disconnect();
    this.forsake();
  }

  /** Gives up what is not acknowledged; what comes after it is another stream. */
  forsake() {
    clearTimeout(this.#timer);
    this.#input = new Input(randomStream);
  }

  /**
   * Tells the input stream one thing and sends what follows from it.
   *
   * @param {(input: Input, now: number) => void} step
   */
  apply(step) {
    step(this.#input, performance.now());
    this.#drain();
  }

  get held() {
    return this.#input.held;
  }

  /** @param {number} seq */
  actedAt(seq) {
    return this.#input.actedAt(seq);
  }

  #drain() {
    clearTimeout(this.#timer);
    const ways = [this.#channel, this.#socket].filter((it) => it !== null);
    const [channel, socket] = [readyWay(this.#channel), readyWay(this.#socket)];
    if (!channel && !socket) return ways.some(isOpen) ? this.#wake(BACKLOG_RETRY_MS) : undefined;
    const now = performance.now();
    for (;;) {
      const packet = this.#input.pollPacket(now);
      if (!packet) break;
      channel?.send(packet);
      if (!channel || !isMoveAlone(packet)) socket?.copy(packet);
    }
    const at = this.#input.pollTimeout();
    if (at !== null) this.#wake(at - now);
  }

  /** @param {number} wait milliseconds */
  #wake(wait) {
    this.#timer = setTimeout(() => this.#drain(), Math.max(0, wait));
  }
}

/** @param {RTCDataChannel | import('./signal.js').Signal} way */
function isOpen(way) {
  return 'isOpen' in way ? way.isOpen : way.readyState === 'open';
}

/**
 * @template {RTCDataChannel | import('./signal.js').Signal} T
 * @param {T | null} way
 * @returns {T | null} where it takes more
 */
function readyWay(way) {
  return way && isOpen(way) && way.bufferedAmount <= BACKLOG_BYTES_MAX ? way : null;
}

function randomStream() {
  return crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n;
}
