// @ts-check
// Carries input packets to the data channel at the time that the input stream asks for.

import { Input } from './input.js';

/** Bytes waiting in the channel above which nothing is added: old moves would only delay. */
const BACKLOG_BYTES_MAX = 4096;
const BACKLOG_RETRY_MS = 10;

export class Sender {
  #input = new Input(randomStream);
  /** @type {RTCDataChannel | null} */
  #channel = null;
  /** @type {number | undefined} */
  #timer;

  /** @param {RTCDataChannel} channel the `in` channel of a fresh connection */
  connect(channel) {
    this.disconnect();
    this.#channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.apply((input, now) => input.handleAck(now, data));
    };
    channel.onopen = () => this.apply((input, now) => input.handleOpen(now));
  }

  /** The link is gone: what is held goes up, and is said so when a link is there again. */
  disconnect() {
    clearTimeout(this.#timer);
    if (this.#channel) this.#channel.onmessage = this.#channel.onopen = null;
    this.#channel = null;
    this.#input.handleRelease(performance.now());
  }

  /** Another desktop counts its input from 1. */
  reset() {
    this.disconnect();
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
    const channel = this.#channel;
    if (channel?.readyState !== 'open') return;
    if (channel.bufferedAmount > BACKLOG_BYTES_MAX) return this.#wake(BACKLOG_RETRY_MS);
    const now = performance.now();
    for (;;) {
      const packet = this.#input.pollPacket(now);
      if (!packet) break;
      channel.send(packet);
    }
    const at = this.#input.pollTimeout();
    if (at !== null) this.#wake(at - now);
  }

  /** @param {number} wait milliseconds */
  #wake(wait) {
    this.#timer = setTimeout(() => this.#drain(), Math.max(0, wait));
  }
}

function randomStream() {
  return crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n;
}
