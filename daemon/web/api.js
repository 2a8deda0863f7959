// @ts-check
// Speaks to the HTTP API; turns what goes wrong into a `Problem`.

/** @typedef {{ access_token: string, token_type: string, expires_in: number }} TokenReply */
/** @typedef {TokenReply & { username: string }} RefreshReply */
/**
 * @typedef {object} Session
 * @property {string} id
 * @property {'starting' | 'ready' | 'attached' | 'detached' | 'ended'} state
 * @property {string} websocket_url
 * @property {string} [reason]
 */

/** Longer than a desktop's start takes at worst. */
const REPLY_MS_MAX = 30_000;

/** What the server refused, or `unreachable` where it did not answer. */
export class Problem extends Error {
  /** @param {{ code: string, status: number, detail: string, retryAfter?: number }} problem */
  constructor({ code, status, detail, retryAfter = 0 }) {
    super(detail || code);
    this.code = code;
    this.status = status;
    this.detail = detail;
    /** Seconds; 0 where the server names none. */
    this.retryAfter = retryAfter;
  }

  get isSignedOut() {
    return this.status === 401;
  }
}

export class Api {
  #auth;
  /** @type {Promise<RefreshReply> | null} one at a time, whoever needs it */
  #refreshing = null;

  /** @param {import('./auth.js').Auth} auth */
  constructor(auth) {
    this.#auth = auth;
  }

  /**
   * @param {string} username
   * @param {string} password
   * @returns {Promise<TokenReply>}
   */
  logIn(username, password) {
    return this.#request('POST', '/api/auth/login', { username, password });
  }

  /**
   * @param {string} code of a single-use link
   * @returns {Promise<TokenReply>}
   */
  redeem(code) {
    return this.#request('POST', '/api/auth/once', { code });
  }

  /**
   * Signs in by the browser's cookie.
   *
   * @returns {Promise<RefreshReply>}
   */
  refresh() {
    this.#refreshing ??= this.#send('POST', '/api/auth/refresh', {}).finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  /** @returns {Promise<void>} */
  logOut() {
    return this.#request('POST', '/api/auth/logout', {});
  }

  /** @returns {Promise<Session[]>} */
  async sessions() {
    const reply = await this.#request('GET', '/api/sessions');
    return Array.isArray(reply) ? reply : (reply?.sessions ?? []);
  }

  /**
   * @param {string} id
   * @returns {Promise<Session>}
   */
  session(id) {
    return this.#request('GET', `/api/sessions/${encodeURIComponent(id)}`);
  }

  /**
   * @param {import('./geometry.js').Size} size
   * @returns {Promise<Session>} the one that exists, or a fresh one
   */
  start({ width, height }) {
    return this.#request('POST', '/api/sessions', { profile: 'desktop', width, height });
  }

  /**
   * @param {string} id
   * @returns {Promise<void>}
   */
  end(id) {
    return this.#request('DELETE', `/api/sessions/${encodeURIComponent(id)}`);
  }

  /**
   * Sends a request; where the access token has run out, once more with a fresh one.
   *
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   */
  async #request(method, path, body) {
    const used = this.#auth.token;
    try {
      return await this.#send(method, path, body);
    } catch (error) {
      const isStale = error instanceof Problem && error.code === 'token_invalid' && used !== '';
      if (!isStale || !(await this.#renew(used))) throw error;
      return this.#send(method, path, body);
    }
  }

  /**
   * @param {string} used token that was refused
   * @returns {Promise<boolean>} whether there is another now
   */
  async #renew(used) {
    if (this.#auth.token !== used) return this.#auth.token !== '';
    try {
      const { access_token: token, username } = await this.refresh();
      // Somebody else signed in meanwhile, in another tab of this browser.
      if (username !== this.#auth.user && this.#auth.user !== '') return false;
      this.#auth.accept(token, username);
      return true;
    } catch (error) {
      if (error instanceof Problem && error.isSignedOut) return false;
      throw error;
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   */
  async #send(method, path, body) {
    /** @type {Record<string, string>} */
    const headers = { accept: 'application/json' };
    if (body) headers['content-type'] = 'application/json';
    if (this.#auth.token) headers['authorization'] = `Bearer ${this.#auth.token}`;
    const options = { method, headers, body: body ? JSON.stringify(body) : null };
    const signal = AbortSignal.timeout(REPLY_MS_MAX);
    const response = await fetch(path, { ...options, signal, cache: 'no-store' }).catch(() => {
      throw new Problem({ code: 'unreachable', status: 0, detail: '' });
    });
    if (!response.ok) throw await problemOf(response);
    return response.status === 204 ? undefined : response.json().catch(() => undefined);
  }
}

/**
 * @param {Response} response
 * @returns {Promise<Problem>} from the problem document (RFC 9457), as far as it is one
 */
async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  return new Problem({
    code: String(body?.code ?? `http_${response.status}`),
    status: response.status,
    detail: String(body?.detail ?? body?.title ?? ''),
    retryAfter: Number(response.headers.get('retry-after')) || 0,
  });
}
