// @ts-check
// The desktop in the window: where the picture stands, when the size changes, the last picture.

import { Cursor } from './cursor.js';
import { desktopSize, place, toDesktop } from './geometry.js';
import { pastePieces } from './paste.js';

/** A window that has been still for so long has its size; each one before costs a key frame. */
const RESIZE_STILL_MS = 150;
/** A desktop that does not confirm a paste in time gets the key all the same. */
const PASTE_MS_MAX = 2_000;

/**
 * @typedef {object} DesktopOptions
 * @property {HTMLElement} stage
 * @property {HTMLVideoElement} video
 * @property {HTMLCanvasElement} still
 * @property {(message: object) => boolean} tell on the `ctl` channel; false where there is none
 * @property {(words: string) => void} onNotice
 */

export class Desktop {
  #options;
  #cursor;
  #viewport = { width: 1, height: 1 };
  #picture = { width: 0, height: 0 };
  #place = place({ width: 1, height: 1 }, { width: 1, height: 1 }, 1);
  /** @type {number | undefined} */
  #resizeTimer;
  #sizeTold = '';
  /** @type {Map<number, () => void>} pings that confirm a paste, by what they carry */
  #confirmations = new Map();

  /** @param {DesktopOptions} options */
  constructor(options) {
    this.#options = options;
    this.#cursor = new Cursor(options.stage);
    const observer = new ResizeObserver(([entry]) => this.#handleViewport(entry));
    try {
      observer.observe(options.stage, { box: 'device-pixel-content-box' });
    } catch {
      observer.observe(options.stage); // Safari knows CSS pixels only
    }
    options.video.addEventListener('resize', () => this.#handlePicture());
  }

  /** The desktop that fits this window. */
  get wantedSize() {
    return desktopSize(this.#viewport);
  }

  get wantedSizeWords() {
    const { width, height } = this.wantedSize;
    return `${width} × ${height}`;
  }

  get sizeWords() {
    return `${this.#picture.width} × ${this.#picture.height}`;
  }

  /** @param {MouseEvent} event */
  toDesktop(event) {
    return toDesktop({ x: event.clientX, y: event.clientY }, this.#place, this.#picture);
  }

  /** @param {import('./cursor.js').Picture} picture */
  showCursor(picture) {
    this.#cursor.show(picture);
  }

  /** The size for an offer; the server needs no other word of it. */
  offeredSize() {
    const size = this.wantedSize;
    this.#sizeTold = `${size.width}x${size.height}`;
    return size;
  }

  /** A fresh connection: the window may have changed since the offer. */
  handleCtlOpen() {
    this.#tellSize();
  }

  /** Keeps the picture while the connection is made again. */
  freeze() {
    const { video, still } = this.#options;
    if (video.videoWidth === 0) return;
    still.width = video.videoWidth;
    still.height = video.videoHeight;
    still.getContext('2d')?.drawImage(video, 0, 0);
    still.hidden = false;
  }

  /** The live picture is back. */
  thaw() {
    const { still } = this.#options;
    still.hidden = true;
    still.width = still.height = 0;
  }

  /** Nothing of one user's desktop stays for the next. */
  clear() {
    this.thaw();
    this.#cursor.clear();
    this.#options.video.srcObject = null;
    delete document.documentElement.dataset.size;
  }

  /**
   * Hands text to the desktop; resolves when it is there.
   *
   * @param {string} text
   * @returns {Promise<void>}
   */
  async paste(text) {
    const pieces = pastePieces(text);
    if (!pieces) {
      return this.#options.onNotice('The text is too long to paste: at most 1 MiB at a time.');
    }
    pieces.forEach((piece, index) => {
      this.#options.tell({ t: 'paste', text: piece, last: index === pieces.length - 1 });
    });
    await this.#confirm();
  }

  /**
   * @param {{ at: number }} pong
   */
  handlePong({ at }) {
    this.#confirmations.get(at)?.();
  }

  /** The channel keeps order, so an answered ping says that all before it has arrived. */
  async #confirm() {
    const at = performance.now();
    await new Promise((resolve) => {
      this.#confirmations.set(at, () => resolve(undefined));
      setTimeout(resolve, PASTE_MS_MAX);
      this.#options.tell({ t: 'ping', at });
    });
    this.#confirmations.delete(at);
  }

  /** @param {ResizeObserverEntry | undefined} entry */
  #handleViewport(entry) {
    const exact = entry?.devicePixelContentBoxSize?.[0];
    const css = entry?.contentRect;
    if (!css || css.width === 0) return;
    this.#viewport = {
      width: devicePixels(css.width, exact?.inlineSize),
      height: devicePixels(css.height, exact?.blockSize),
    };
    this.#arrange();
    clearTimeout(this.#resizeTimer);
    this.#resizeTimer = setTimeout(() => this.#tellSize(), RESIZE_STILL_MS);
  }

  #handlePicture() {
    const { videoWidth: width, videoHeight: height } = this.#options.video;
    if (width === 0) return;
    this.#picture = { width, height };
    document.documentElement.dataset.size = `${width}x${height}`;
    this.#arrange();
  }

  #arrange() {
    if (this.#picture.width === 0) return;
    this.#place = place(this.#picture, this.#viewport, devicePixelRatio);
    const { left, top, width, height } = this.#place;
    for (const { style } of [this.#options.video, this.#options.still]) {
      style.left = `${left}px`;
      style.top = `${top}px`;
      style.width = `${width}px`;
      style.height = `${height}px`;
    }
    this.#cursor.scale(this.#picture.width / width);
  }

  #tellSize() {
    const size = this.wantedSize;
    const named = `${size.width}x${size.height}`;
    if (named === this.#sizeTold) return;
    if (this.#options.tell({ t: 'resize', ...size })) this.#sizeTold = named;
  }
}

/**
 * A side in device pixels. The browser's own rounding is the better one, unless it is of another
 * scale than the page is laid out in, as with an emulated pixel ratio.
 *
 * @param {number} css
 * @param {number | undefined} exact
 */
function devicePixels(css, exact) {
  const scaled = Math.round(css * devicePixelRatio);
  return exact !== undefined && Math.abs(exact - scaled) <= 2 ? exact : scaled;
}
