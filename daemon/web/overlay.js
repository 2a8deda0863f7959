// @ts-check
// The statistics panel: frame rate, bitrate, encoder and latency by stage. Idle while closed.

import { pathOf } from './attachment.js';
import { quantile, ServerClock, Stages } from './stages.js';

const REFRESH_MS = 500;
/** Over so long frame rate and bitrate are counted. */
const RATE_MS = 2_000;

/**
 * @typedef {object} OverlayOptions
 * @property {HTMLElement} panel
 * @property {(message: object) => void} tell on the `ctl` channel
 * @property {() => Promise<RTCStatsReport> | null} statistics
 * @property {(seq: number) => number | null} actedAt
 * @property {() => string} size of the picture
 */

export class Overlay {
  #options;
  #facts;
  #stages;
  #encoder = '';
  #clock = new ServerClock();
  #latency = new Stages();
  /** @type {number[]} times of the frames presented lately */
  #frames = [];
  /** @type {Array<{ at: number, bytes: number }>} */
  #received = [];
  /** @type {number | undefined} */
  #timer;

  /** @param {OverlayOptions} options */
  constructor(options) {
    this.#options = options;
    this.#facts = /** @type {HTMLElement} */ (options.panel.querySelector('dl'));
    this.#stages = /** @type {HTMLElement} */ (options.panel.querySelector('tbody'));
  }

  get isOpen() {
    return this.#timer !== undefined;
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.#open();
  }

  close() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#options.panel.hidden = true;
    this.#options.tell({ t: 'overlay', on: false });
  }

  /** A fresh connection: the server knows nothing of an open panel, and may be another one. */
  handleCtlOpen() {
    this.#clock = new ServerClock();
    this.#latency = new Stages();
    if (this.isOpen) this.#options.tell({ t: 'overlay', on: true });
  }

  /** @param {string} encoder */
  handleHello(encoder) {
    this.#encoder = encoder;
  }

  /** @param {{ at: number, server_us: number }} pong */
  handlePong(pong) {
    this.#clock.handlePong(performance.now(), pong);
  }

  /** @param {import('./stages.js').Stamps} stamps */
  handleStamps(stamps) {
    if (this.isOpen) this.#latency.handleStamps(stamps, this.#options.actedAt);
  }

  /** @param {VideoFrameCallbackMetadata} frame */
  handleFrame({ rtpTimestamp, receiveTime, expectedDisplayTime }) {
    if (!this.isOpen) return;
    this.#frames.push(performance.now());
    if (rtpTimestamp === undefined) return;
    const presented = { receivedAt: receiveTime ?? null, presentedAt: expectedDisplayTime };
    this.#latency.handlePresented(rtpTimestamp, presented);
  }

  #open() {
    this.#frames = [];
    this.#received = [];
    this.#options.panel.hidden = false;
    this.#options.tell({ t: 'overlay', on: true });
    this.#timer = setInterval(() => void this.#refresh(), REFRESH_MS);
    void this.#refresh();
  }

  async #refresh() {
    this.#options.tell({ t: 'ping', at: performance.now() });
    const report = await this.#options.statistics();
    if (!this.isOpen) return;
    const now = performance.now();
    const inbound = report && inboundOf(report);
    this.#frames = this.#frames.filter((at) => at > now - RATE_MS);
    this.#received.push({ at: now, bytes: inbound?.bytesReceived ?? 0 });
    this.#received = this.#received.filter(({ at }) => at > now - RATE_MS - REFRESH_MS);
    this.#showFacts(inbound, report ? pathOf(report) : null);
    this.#showStages();
  }

  /**
   * @param {any} inbound
   * @param {{ protocol: string, roundTripMs: number | null } | null} path
   */
  #showFacts(inbound, path) {
    const newest = this.#latency.newest;
    const mapping = this.#clock.mapping;
    const roundTrip = mapping?.roundTripMs ?? path?.roundTripMs ?? null;
    const transport = path?.protocol === 'tcp' ? 'TCP' : 'UDP';
    this.#show({
      Picture: `${this.#options.size()} at ${(this.#frames.length * 1000) / RATE_MS} fps`,
      Bitrate: `${rate(this.#kbps())}${newest ? ` of ${rate(newest.target_kbps)}` : ''}`,
      Encoder: this.#encoder + (newest ? `, QP ${newest.qp}` : ''),
      'Last frame': newest ? `${(newest.bytes / 1024).toFixed(1)} KiB` : '–',
      Transport: path ? `${transport}, round trip ${milliseconds(roundTrip)}` : '–',
      'Packets lost': inbound ? `${inbound.packetsLost} of ${inbound.packetsReceived}` : '–',
      'Clock error': mapping ? `± ${milliseconds(mapping.errorMs)}` : 'measuring',
    });
  }

  /** @param {Record<string, string>} facts */
  #show(facts) {
    const rows = Object.entries(facts).flatMap(([name, value]) => [
      element('dt', name),
      element('dd', value),
    ]);
    this.#facts.replaceChildren(...rows);
  }

  #showStages() {
    const rows = this.#latency.latencies(this.#clock.mapping).map(({ name, ms }) => {
      const row = document.createElement('tr');
      const [middle, tail] = [quantile(ms, 0.5), quantile(ms, 0.95)].map(milliseconds);
      row.append(element('th', name), element('td', middle ?? ''), element('td', tail ?? ''));
      return row;
    });
    this.#stages.replaceChildren(...rows);
  }

  #kbps() {
    const [first, last] = [this.#received[0], this.#received.at(-1)];
    if (!first || !last || last.at === first.at) return 0;
    return ((last.bytes - first.bytes) * 8) / (last.at - first.at);
  }
}

/** @param {RTCStatsReport} report */
function inboundOf(report) {
  const all = [.../** @type {any} */ (report).values()];
  return all.find((it) => it.type === 'inbound-rtp' && it.kind === 'video') ?? null;
}

/** @param {number} kbps */
function rate(kbps) {
  return kbps >= 1000 ? `${(kbps / 1000).toFixed(1)} Mbit/s` : `${Math.round(kbps)} kbit/s`;
}

/** @param {number | null} ms */
function milliseconds(ms) {
  return ms === null ? '–' : `${ms.toFixed(1)} ms`;
}

/**
 * @param {string} name
 * @param {string} text
 */
function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
