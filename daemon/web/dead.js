// @ts-check
// Puts accents on letters: a browser says of a dead key only that it is one.

/** What a dead key shows alone, to the accent that it puts on the next letter. */
const ACCENTS = new Map([
  ['´', '\u0301'],
  ["'", '\u0301'],
  ['`', '\u0300'],
  ['^', '\u0302'],
  ['~', '\u0303'],
  ['¨', '\u0308'],
  ['"', '\u0308'],
  ['°', '\u030a'],
  ['¸', '\u0327'],
]);

/**
 * Shifted dead keys, by their place and what they show without Shift: browsers tell the
 * unshifted layout alone.
 */
const SHIFTED = new Map([
  ['Equal´', '`'], // German, Swiss, Scandinavian
  ['BracketLeft^', '¨'], // French, Belgian
  ['BracketLeft´', '¨'],
  ['BracketLeft`', '^'], // Spanish
  ['Quote´', '¨'],
  ["Quote'", '¨'], // US international
  ['Backquote`', '~'],
  ['Quote~', '^'], // Brazilian
]);

/** @typedef {{ get(code: string): string | undefined }} Layout */

export class DeadKeys {
  /** @type {Layout | null} */
  #layout = null;
  /** The accent that waits for its letter. */
  #accent = '';

  /** @param {Layout} [layout] the viewer's; by default what the browser tells of it */
  constructor(layout) {
    if (layout) this.#layout = layout;
    else void this.#learnLayout();
  }

  /**
   * A dead key went down.
   *
   * @param {{ code: string, shiftKey: boolean }} event
   */
  handle({ code, shiftKey }) {
    const plain = this.#layout?.get(code) ?? '';
    const shown = shiftKey ? SHIFTED.get(code + plain) : plain;
    this.#accent = ACCENTS.get(shown ?? '') ?? '';
  }

  /**
   * What the next key means. Browsers that compose by themselves have done so already.
   *
   * @param {string} key `KeyboardEvent.key`
   * @returns {string}
   */
  compose(key) {
    // Modifiers may stand between an accent and its letter.
    if (this.#accent === '' || [...key].length !== 1) return key;
    const composed = /^[a-z]$/i.test(key) ? (key + this.#accent).normalize('NFC') : key;
    this.#accent = '';
    return composed.length === 1 ? composed : key;
  }

  async #learnLayout() {
    // Chromium, secure contexts.
    const keyboard = /** @type {any} */ (globalThis.navigator)?.keyboard;
    this.#layout = (await keyboard?.getLayoutMap?.().catch(() => null)) ?? null;
  }
}
