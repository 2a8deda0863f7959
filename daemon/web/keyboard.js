// @ts-check
// Turns the window's keyboard and paste events into input, while the desktop has the focus.

import { DeadKeys } from './dead.js';
import { evdevCode, keysym } from './keys.js';

/** Key events that may wait for a paste to arrive; more would be a stuck link. */
const DEFERRED_MAX = 256;
/** A browser delivers `paste` right after the key; without one the key goes alone. */
const PASTE_EVENT_MS = 50;

/**
 * @typedef {object} KeyboardOptions
 * @property {import('./sender.js').Sender} sender
 * @property {() => boolean} isCaptured whether keys belong to the desktop
 * @property {(text: string) => Promise<void>} paste resolves when the desktop has the text
 * @property {(name: 'overlay' | 'toolbar') => void} onShortcut
 */

export class Keyboard {
  #options;
  #deadKeys = new DeadKeys();
  /** @type {Array<() => void> | null} what waits behind a paste, in order */
  #deferred = null;
  /** @type {number | undefined} */
  #pasteTimer;

  /** @param {KeyboardOptions} options */
  constructor(options) {
    this.#options = options;
    addEventListener('keydown', (event) => this.#handleDown(event), { capture: true });
    addEventListener('keyup', (event) => this.#handleUp(event), { capture: true });
    addEventListener('paste', (event) => this.#handlePaste(event), { capture: true });
    addEventListener('blur', () => this.#release());
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#release();
    });
  }

  /** @param {KeyboardEvent} event */
  #handleDown(event) {
    const shortcut = pageShortcut(event);
    if (shortcut && document.documentElement.dataset.state === 'streaming') {
      event.preventDefault();
      if (!event.repeat) this.#options.onShortcut(shortcut);
      return;
    }
    if (!this.#options.isCaptured() || event.isComposing) return;
    const asksForPaste = isPasteGesture(event);
    if (!asksForPaste) event.preventDefault();
    event.stopPropagation();
    if (event.repeat) return;
    if (asksForPaste) this.#awaitPaste();
    if (event.key === 'Dead') return this.#deadKeys.handle(event);
    this.#releaseSpoilers(event);
    this.#send(event, true);
  }

  /** @param {KeyboardEvent} event */
  #handleUp(event) {
    if (this.#options.isCaptured()) {
      event.preventDefault();
      event.stopPropagation();
    }
    this.#send(event, false);
    // macOS tells of no key that goes up while Command is down.
    if (event.key === 'Meta') this.#releaseOthers(event);
  }

  /** @param {ClipboardEvent} event */
  #handlePaste(event) {
    if (!this.#options.isCaptured() || !this.#deferred) return;
    event.preventDefault();
    clearTimeout(this.#pasteTimer);
    const text = event.clipboardData?.getData('text/plain') ?? '';
    if (text === '') this.#flush();
    else void this.#options.paste(text).finally(() => this.#flush());
  }

  /** The text must be in the desktop before the key that makes a program ask for it. */
  #awaitPaste() {
    if (this.#deferred) return;
    this.#deferred = [];
    this.#pasteTimer = setTimeout(() => this.#flush(), PASTE_EVENT_MS);
  }

  #flush() {
    clearTimeout(this.#pasteTimer);
    const deferred = this.#deferred ?? [];
    this.#deferred = null;
    for (const step of deferred) step();
  }

  /**
   * @param {KeyboardEvent} event
   * @param {boolean} isDown
   */
  #send(event, isDown) {
    const { timeStamp: at, code, location } = event;
    const meant = isDown ? this.#deadKeys.compose(event.key) : event.key;
    const sym = keysym({ key: meant, location });
    const key = { code: evdevCode(code), keysym: sym, isDown, at };
    this.#run(() => this.#options.sender.apply((input, now) => input.handleKey(now, key)));
  }

  /**
   * Modifiers that the browser's system used up to make the character: the desktop would take
   * them for a shortcut.
   *
   * @param {KeyboardEvent} event that goes down
   */
  #releaseSpoilers(event) {
    const spoilers = spoilersOf(event, navigator.userAgent).map(evdevCode);
    this.#run(() => {
      for (const code of this.#options.sender.held.filter((it) => spoilers.includes(it))) {
        const up = { code, keysym: 0, isDown: false };
        this.#options.sender.apply((input, now) => input.handleKey(now, up));
      }
    });
  }

  /** @param {KeyboardEvent} meta */
  #releaseOthers(meta) {
    const modifiers = ['ShiftLeft', 'ShiftRight', 'ControlLeft', 'ControlRight'];
    const stay = new Set([...modifiers, 'AltLeft', 'AltRight', meta.code].map(evdevCode));
    this.#run(() => {
      for (const code of this.#options.sender.held.filter((it) => !stay.has(it))) {
        const up = { code, keysym: 0, isDown: false };
        this.#options.sender.apply((input, now) => input.handleKey(now, up));
      }
    });
  }

  #release() {
    this.#run(() => this.#options.sender.apply((input, now) => input.handleRelease(now)));
  }

  /** @param {() => void} step */
  #run(step) {
    if (!this.#deferred) step();
    else if (this.#deferred.length < DEFERRED_MAX) this.#deferred.push(step);
  }
}

/**
 * The combinations that the page keeps for itself.
 *
 * @param {KeyboardEvent} event
 * @returns {'overlay' | 'toolbar' | null}
 */
function pageShortcut(event) {
  const { ctrlKey, altKey, shiftKey, code } = event;
  // On Windows AltGr counts as both; a character is no shortcut.
  if (!ctrlKey || !altKey || !shiftKey || event.getModifierState('AltGraph')) return null;
  return code === 'KeyS' ? 'overlay' : code === 'KeyM' ? 'toolbar' : null;
}

/** @param {KeyboardEvent} event */
function isPasteGesture({ ctrlKey, metaKey, shiftKey, altKey, code }) {
  if (altKey) return false;
  return (code === 'KeyV' && (ctrlKey || metaKey)) || (code === 'Insert' && shiftKey);
}

/**
 * Places of the modifiers that made a character and mean nothing beside it: Windows presses
 * ControlLeft before AltGr; on macOS Option makes characters as AltGr does elsewhere.
 *
 * @param {{ key: string, ctrlKey: boolean, altKey: boolean, metaKey: boolean }} event
 * @param {string} userAgent
 * @returns {string[]}
 */
export function spoilersOf({ key, ctrlKey, altKey, metaKey }, userAgent) {
  if (key === 'AltGraph' && userAgent.includes('Windows')) return ['ControlLeft'];
  const isCharacter = [...key].length === 1 && key !== ' ';
  const isOption = altKey && !ctrlKey && !metaKey && userAgent.includes('Macintosh');
  return isOption && isCharacter ? ['AltLeft', 'AltRight'] : [];
}
