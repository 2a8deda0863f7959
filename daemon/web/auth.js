// @ts-check
// Keeps the access token, in memory only. The browser keeps the cookie that brings the next one.

import { inBrowser } from './storage.js';

/** A code's characters (base64url) and length; anything else in the address is no code. */
const CODE = /^[A-Za-z0-9_-]{16,256}$/;
const USER = /^[a-z_][a-z0-9_-]{0,31}$/;

/** Remembers that there may be such a cookie: the page cannot see it. */
const MARK = 'signed-in';

export class Auth {
  #token = '';
  #user = '';

  /**
   * @param {string} token
   * @param {string} user
   */
  accept(token, user) {
    this.#token = token;
    this.#user = user;
    inBrowser.set(MARK);
  }

  forget() {
    this.#token = '';
    inBrowser.clear(MARK);
  }

  /** Whether this browser was signed in when the page was last here. */
  get mayResume() {
    return inBrowser.has(MARK);
  }

  /** The access token; empty while nobody is signed in. */
  get token() {
    return this.#token;
  }

  /** Who signed in last; stays after `forget`, to sign in again. */
  get user() {
    return this.#user;
  }
}

/**
 * Reads a single-use link, `#once=CODE&user=NAME`.
 *
 * @param {string} hash of the address
 * @returns {{ code: string, user: string } | null}
 */
export function onceLink(hash) {
  const fields = new URLSearchParams(hash.slice(1));
  const code = fields.get('once') ?? '';
  const user = fields.get('user') ?? '';
  if (!CODE.test(code)) return null;
  return { code, user: USER.test(user) ? user : '' };
}
