// @ts-check
// The `/ws` socket: shows the token, exchanges session descriptions, learns the end.

/**
 * @typedef {object} SignalEvents
 * @property {(ready: { session: string, media: string[], notices: string[] }) => void} onReady
 * @property {(sdp: string) => void} onAnswer
 * @property {(token: string) => void} onToken a fresh access token for the one in use
 * @property {(error: { code: string, message: string, isFinal: boolean }) => void} onError
 * @property {(ack: ArrayBuffer) => void} onAck of a copy of an input packet
 * @property {(yours: boolean) => void} onControl whether this page has the keyboard
 * @property {(shortage: import('./words.js').Shortage) => void} onOutOfMemory
 * @property {() => void} onTakenOver
 * @property {(reason: string) => void} onEnded
 * @property {() => void} onClosed the socket closed without any of these
 */

export class Signal {
  #socket;
  #events;

  /**
   * @param {string} url
   * @param {string} token
   * @param {SignalEvents} events
   */
  constructor(url, token, events) {
    this.#events = events;
    this.#socket = new WebSocket(url);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onopen = () => this.#send({ type: 'auth', token });
    this.#socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.#events.onAck(data);
      else this.#handleMessage(String(data));
    };
    this.#socket.onclose = () => this.#events.onClosed();
  }

  /**
   * @param {string} sdp
   * @param {import('./geometry.js').Size} size that the page can show
   * @param {boolean} isObserving the page does not want control from another one
   */
  offer(sdp, { width, height }, isObserving) {
    const wish = isObserving ? { observe: true } : {};
    this.#send({ type: 'offer', sdp, width, height, ...wish });
  }

  /** Asks for the keyboard that another page has. */
  takeControl() {
    this.#send({ type: 'take_control' });
  }

  /**
   * A copy of an input packet: whichever comes first is applied.
   *
   * @param {Uint8Array<ArrayBuffer>} packet
   */
  copy(packet) {
    this.#socket.send(packet);
  }

  /** Bytes that the network has not taken yet. */
  get bufferedAmount() {
    return this.#socket.bufferedAmount;
  }

  /** The page leaves; nothing more is heard of this socket. */
  close() {
    this.#socket.onclose = this.#socket.onmessage = this.#socket.onopen = null;
    this.#send({ type: 'bye' });
    this.#socket.close();
  }

  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** @param {object} message */
  #send(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  /** @param {string} text */
  #handleMessage(text) {
    const message = JSON.parse(text);
    switch (message.type) {
      case 'ready':
        return this.#events.onReady(message);
      case 'answer':
        return this.#events.onAnswer(message.sdp);
      case 'token':
        return this.#events.onToken(message.token);
      case 'error':
        return this.#events.onError({ ...message, isFinal: message.is_final });
      case 'control':
        return this.#events.onControl(message.yours);
      case 'out_of_memory':
        return this.#events.onOutOfMemory(message);
      case 'taken_over':
        return this.#events.onTakenOver();
      case 'ended':
        return this.#events.onEnded(message.reason);
    }
  }
}

/**
 * The socket of a session, on the host that served this page: the server may know itself by
 * another name than the one in the address bar.
 *
 * @param {string} websocketUrl as the API gives it
 * @param {string} pageUrl
 * @returns {string}
 */
export function signalUrl(websocketUrl, pageUrl) {
  const page = new URL(pageUrl);
  const { pathname, search } = new URL(websocketUrl, page);
  return `${page.protocol === 'https:' ? 'wss:' : 'ws:'}//${page.host}${pathname}${search}`;
}
