// @ts-check
// Joins the server's stamps and the page's own into latency by stage. Pure: no clock, no DOM.

/** Samples of the clock and of each stage that are kept. */
const PONGS_MAX = 30;
const FRAMES_MAX = 240;

/** The server's CLOCK_MONOTONIC on the page's time line, by the quickest of recent pings. */
export class ServerClock {
  /** @type {Array<{ offset: number, roundTrip: number }>} */
  #pongs = [];

  /**
   * @param {number} now
   * @param {{ at: number, server_us: number }} pong
   */
  handlePong(now, { at, server_us }) {
    this.#pongs.push({ offset: server_us / 1000 - (at + now) / 2, roundTrip: now - at });
    if (this.#pongs.length > PONGS_MAX) this.#pongs.shift();
  }

  /** The mapping, or null before the first pong; `errorMs` is its largest possible error. */
  get mapping() {
    if (this.#pongs.length === 0) return null;
    const best = this.#pongs.reduce((a, b) => (b.roundTrip < a.roundTrip ? b : a));
    return { offset: best.offset, errorMs: best.roundTrip / 2, roundTripMs: best.roundTrip };
  }
}

/**
 * @typedef {object} Stamps a `frame` message of the `ctl` channel; CLOCK_MONOTONIC microseconds
 * @property {number} rtp
 * @property {number} input_seq
 * @property {number} injected
 * @property {number} damaged
 * @property {number} captured
 * @property {number} encoded
 * @property {number} sent
 * @property {number} qp
 * @property {number} bytes
 * @property {number} target_kbps
 */
/** @typedef {{ receivedAt: number | null, presentedAt: number }} Presented page's time line */
/** @typedef {{ name: string, ms: number[] }} Stage */

export const STAGES = /** @type {const} */ ([
  'input → inject',
  'inject → damage',
  'damage → capture',
  'capture → encode',
  'encode → send',
  'send → receive',
  'receive → present',
  'input → present',
]);

/** What was stamped and presented lately. */
export class Stages {
  /** @type {Map<number, Presented>} by RTP timestamp */
  #presented = new Map();
  /** @type {Array<{ stamps: Stamps, actedAt: number | null }>} */
  #frames = [];
  #newestInput = 0;

  /**
   * @param {Stamps} stamps
   * @param {(seq: number) => number | null} actedAt when the user acted that event
   */
  handleStamps(stamps, actedAt) {
    // Only the first frame after an event answers it.
    const answersInput = stamps.input_seq > this.#newestInput;
    this.#newestInput = Math.max(this.#newestInput, stamps.input_seq);
    this.#frames.push({ stamps, actedAt: answersInput ? actedAt(stamps.input_seq) : null });
    if (this.#frames.length > FRAMES_MAX) this.#frames.shift();
  }

  /**
   * @param {number} rtp
   * @param {Presented} presented
   */
  handlePresented(rtp, presented) {
    this.#presented.set(rtp, presented);
    const [oldest] = this.#presented.keys();
    if (this.#presented.size > FRAMES_MAX && oldest !== undefined) this.#presented.delete(oldest);
  }

  /** Newest stamps, for what they say about the encoder. */
  get newest() {
    return this.#frames.at(-1)?.stamps ?? null;
  }

  /**
   * Milliseconds of each stage over the frames kept.
   *
   * @param {{ offset: number } | null} mapping
   * @returns {Stage[]}
   */
  latencies(mapping) {
    const stages = STAGES.map((name) => ({ name, ms: /** @type {number[]} */ ([]) }));
    for (const frame of this.#frames) {
      const steps = this.#steps(frame, mapping);
      stages.forEach((stage, index) => {
        const ms = steps[index];
        if (ms !== null && ms !== undefined) stage.ms.push(ms);
      });
    }
    return stages;
  }

  /**
   * @param {{ stamps: Stamps, actedAt: number | null }} frame
   * @param {{ offset: number } | null} mapping
   * @returns {Array<number | null>} in the order of `STAGES`
   */
  #steps({ stamps, actedAt }, mapping) {
    const presented = this.#presented.get(stamps.rtp);
    /** @param {number} us */
    const onPage = (us) => (mapping ? us / 1000 - mapping.offset : null);
    const [injected, sent] = [onPage(stamps.injected), onPage(stamps.sent)];
    const isAnswer = actedAt !== null && stamps.injected <= stamps.damaged;
    const receivedAt = presented?.receivedAt ?? null;
    const presentedAt = presented?.presentedAt ?? null;
    return [
      isAnswer ? minus(injected, actedAt) : null,
      isAnswer ? (stamps.damaged - stamps.injected) / 1000 : null,
      (stamps.captured - stamps.damaged) / 1000,
      (stamps.encoded - stamps.captured) / 1000,
      (stamps.sent - stamps.encoded) / 1000,
      minus(receivedAt, sent),
      minus(presentedAt, receivedAt),
      isAnswer ? minus(presentedAt, actedAt) : null,
    ];
  }
}

/**
 * The value that a share of the samples does not exceed.
 *
 * @param {number[]} samples
 * @param {number} share 0 to 1
 * @returns {number | null}
 */
export function quantile(samples, share) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null;
}

/**
 * @param {number | null} end
 * @param {number | null} start
 */
function minus(end, start) {
  return end === null || start === null ? null : end - start;
}
