// @ts-check
// Text that a program in the desktop copied goes into the viewer's clipboard.

import { PASTE_BYTES_MAX } from './paste.js';

/**
 * A program copies because of a key or click of the last 2 s; the server looks at that by its own
 * clock, and the text may take as long again to get here.
 */
const GESTURE_MS = 4_000;

export const WITHHELD = 'Copied in the desktop, but not to this computer: over plain http the '
  + 'browser withholds its clipboard. Better use https, or an SSH tunnel to localhost.';
export const REFUSED = 'Copied in the desktop, but this browser did not let the page into its '
  + 'clipboard. Allow it in the settings of this site.';

/**
 * @typedef {object} ClipboardOptions
 * @property {() => boolean} isCaptured whether keys belong to the desktop
 * @property {(text: string) => Promise<void>} write
 * @property {(words: string) => void} onNotice
 * @property {boolean} [isSecure]
 */

export class Clipboard {
  #options;
  #pieces = /** @type {string[] | null} */ (null);
  #length = 0;
  #gestureAt = -Infinity;

  /** @param {ClipboardOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /**
   * A key or click of the user.
   *
   * @param {number} now
   */
  handleGesture(now) {
    this.#gestureAt = now;
  }

  /**
   * @param {{ text: string, first: boolean, last: boolean }} piece
   * @param {number} [now]
   * @returns {Promise<void>} settled when the clipboard has it
   */
  async handlePiece({ text, first, last }, now = performance.now()) {
    if (first) [this.#pieces, this.#length] = [[], 0];
    this.#length += text.length;
    if (!this.#pieces || this.#length > PASTE_BYTES_MAX) {
      this.#pieces = null;
      return;
    }
    this.#pieces.push(text);
    if (!last) return;
    const whole = this.#pieces.join('');
    this.#pieces = null;
    const isAskedFor = now - this.#gestureAt <= GESTURE_MS;
    if (isAskedFor && this.#options.isCaptured() && document.hasFocus()) await this.#write(whole);
  }

  /** @param {string} text */
  async #write(text) {
    const { write, onNotice, isSecure = globalThis.isSecureContext } = this.#options;
    if (!isSecure) return onNotice(WITHHELD);
    await write(text).catch(() => onNotice(REFUSED));
  }
}
