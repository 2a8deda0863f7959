// @ts-check
// Keeps one viewer attached to one session: connects, notices loss, connects again.

import { Problem } from './api.js';
import { Signal, signalUrl } from './signal.js';
import { Stream } from './stream.js';
import { blockedWords, candidateAddresses, problemWords, sentence, tcpWords } from './words.js';

const RETRY_FIRST_MS = 300;
const RETRY_MAX_MS = 5_000;
/** From the opened socket to `ready`, and from an offer to its answer. */
const SIGNAL_MS_MAX = 10_000;
/** From the answer to a working path: browsers try each address for a few seconds. */
const PATH_MS_MAX = 10_000;
/** A key frame takes far less; a picture that does not come is a broken connection. */
const PICTURE_MS_MAX = 10_000;
/** A path may lose a few packets; for longer than this it gets a fresh one. */
const UNSTEADY_MS_MAX = 1_500;
/** Keys typed into the last picture wait so long for the connection; later ones are not meant. */
const BLIND_MS_MAX = 3_000;
const LOST = 'The connection was lost.';

/**
 * @typedef {(
 *   { kind: 'connecting', step: 'signal' | 'path' | 'picture' } |
 *   { kind: 'streaming' } |
 *   { kind: 'reconnecting' | 'failing', words: string } |
 *   { kind: 'taken_over' | 'signed_out' | 'no_codec' } |
 *   { kind: 'ended', reason: string }
 * )} Status
 */
/**
 * @typedef {object} AttachmentOptions
 * @property {import('./api.js').Session} session
 * @property {import('./auth.js').Auth} auth
 * @property {import('./api.js').Api} api
 * @property {import('./sender.js').Sender} sender
 * @property {HTMLVideoElement} video
 * @property {() => import('./geometry.js').Size} size that the page can show
 * @property {(status: Status) => void} onStatus
 * @property {() => void} onPictureLost called while the last picture can still be kept
 * @property {(message: any) => void} onCtl
 * @property {() => void} onCtlOpen
 * @property {(frame: VideoFrameCallbackMetadata) => void} onFrame
 * @property {(notices: string[]) => void} onNotices
 * @property {(yours: boolean) => void} onControl
 * @property {(shortage: import('./words.js').Shortage) => void} onOutOfMemory
 */

export class Attachment {
  #options;
  /** @type {Signal | null} */
  #signal = null;
  /** @type {Stream | null} */
  #stream = null;
  /** @type {number | undefined} what must have happened until then */
  #deadline;
  /** @type {number | undefined} the next attempt */
  #retry;
  #attempts = 0;
  #hadPicture = false;
  #isStreaming = false;
  /** The path is silent, while connection and picture still stand. */
  #isSilent = false;
  #lostAt = -Infinity;
  #isOver = false;
  /** Another page has the keyboard. */
  #isObserving = false;
  /** Words of the last failure, until a picture comes. */
  #words = '';
  #addresses = { udp: /** @type {string[]} */ ([]), tcp: /** @type {string[]} */ ([]) };

  /** @param {AttachmentOptions} options */
  constructor(options) {
    this.#options = options;
    this.#connect();
  }

  /** @param {object} message for the `ctl` channel */
  tell(message) {
    return this.#stream?.tell(message) ?? false;
  }

  statistics() {
    return this.#stream?.statistics() ?? null;
  }

  get isStreaming() {
    return this.#isStreaming;
  }

  /** Whether keys belong to the desktop: a server that is replaced takes them when it is back. */
  get takesKeys() {
    const isBlind = performance.now() - this.#lostAt < BLIND_MS_MAX;
    return this.hasControl && (this.#isStreaming || (isBlind && !this.#isOver));
  }

  /** Whether keyboard and pointer of the desktop are this page's. */
  get hasControl() {
    return !this.#isObserving;
  }

  /** Takes them from the page that has them. */
  takeControl() {
    this.#signal?.takeControl();
  }

  /** The network changed or the page came to the front: a waiting attempt is made at once. */
  hurry() {
    if (this.#isOver || this.#retry === undefined) return;
    this.#attempts = 0;
    this.#connect();
  }

  /** The page leaves; the desktop stays. */
  close() {
    this.#isOver = true;
    this.#drop();
  }

  #connect() {
    this.#drop();
    this.#reportStep('signal');
    const { session, auth } = this.#options;
    this.#expect(SIGNAL_MS_MAX, () => void this.#diagnose());
    const signal = new Signal(signalUrl(session.websocket_url, location.href), auth.token, {
      onReady: ({ notices }) => this.#handleReady(signal, notices),
      onAnswer: (sdp) => void this.#handleAnswer(sdp),
      onToken: (token) => auth.accept(token, auth.user),
      onError: (error) => this.#handleError(error),
      onAck: (ack) => this.#options.sender.handleAck(ack),
      onControl: (yours) => this.#handleControl(yours),
      onOutOfMemory: this.#options.onOutOfMemory,
      onTakenOver: () => this.#finish({ kind: 'taken_over' }),
      onEnded: (reason) => this.#finish({ kind: 'ended', reason }),
      onClosed: () => void this.#diagnose(),
    });
    this.#signal = signal;
  }

  /**
   * @param {Signal} signal
   * @param {string[]} notices
   */
  #handleReady(signal, notices) {
    this.#options.onNotices(notices);
    this.#reportStep('path');
    const stream = new Stream(this.#options.video, {
      onState: (state) => this.#handleState(state),
      onCtl: this.#options.onCtl,
      onCtlOpen: this.#options.onCtlOpen,
      onCtlClosed: () => this.#fail('The server closed the connection.'),
      onFrame: (frame) => this.#handleFrame(frame),
    });
    this.#stream = stream;
    this.#options.sender.connect(stream.input, signal);
    this.#expect(SIGNAL_MS_MAX, () => void this.#diagnose());
    void this.#offer(stream, signal);
  }

  /**
   * @param {Stream} stream
   * @param {Signal} signal
   * @param {RTCOfferOptions} [options]
   */
  async #offer(stream, signal, options) {
    const sdp = await stream.offer(options);
    if (this.#stream === stream) signal.offer(sdp, this.#options.size(), this.#isObserving);
  }

  /** @param {boolean} yours */
  #handleControl(yours) {
    this.#isObserving = !yours;
    // What was not acknowledged may have been applied; the desktop is another page's meanwhile.
    if (!yours) this.#options.sender.forsake();
    this.#options.onControl(yours);
  }

  /** @param {string} sdp */
  async #handleAnswer(sdp) {
    const stream = this.#stream;
    if (!stream) return;
    this.#addresses = candidateAddresses(sdp);
    this.#expect(PATH_MS_MAX, () => this.#fail(this.#blockedWords()));
    try {
      await stream.accept(sdp);
    } catch (error) {
      if (this.#stream === stream) this.#fail(`This browser refused the answer: ${error}.`);
    }
    // An ICE restart on a connection that never broke changes no state.
    if (this.#stream === stream && stream.state === 'connected') this.#handleState('connected');
  }

  /** @param {RTCPeerConnectionState} state */
  #handleState(state) {
    switch (state) {
      case 'connected':
        // The screen may be at rest: no frame would say that the path works again.
        if (this.#isStreaming || this.#isSilent) return this.#handleStreaming();
        this.#reportStep('picture');
        this.#expect(PICTURE_MS_MAX, () => this.#fail('Connected, but no picture came.'));
        return void this.#noteTransport();
      case 'disconnected':
        return this.#expect(UNSTEADY_MS_MAX, () => this.#refreshPath());
      case 'failed':
        return this.#fail(this.#hadPicture ? LOST : this.#blockedWords());
    }
  }

  /** @param {VideoFrameCallbackMetadata} frame */
  #handleFrame(frame) {
    if (!this.#isStreaming) this.#handleStreaming();
    this.#options.onFrame(frame);
  }

  #handleStreaming() {
    this.#settle();
    this.#attempts = 0;
    this.#words = '';
    this.#isSilent = false;
    this.#isStreaming = this.#hadPicture = true;
    this.#report({ kind: 'streaming' });
  }

  /** The path went silent: a fresh one on the same connection needs no new picture. */
  #refreshPath() {
    const [stream, signal] = [this.#stream, this.#signal];
    if (!stream || !signal?.isOpen || !this.#isStreaming) return this.#fail(LOST);
    this.#isStreaming = false;
    this.#isSilent = true;
    this.#lostAt = performance.now();
    this.#options.sender.apply((input, now) => input.handleRelease(now));
    this.#report({ kind: 'reconnecting', words: 'Looking for another way to the server.' });
    this.#expect(SIGNAL_MS_MAX, () => this.#fail(LOST));
    void this.#offer(stream, signal, { iceRestart: true });
  }

  /** @param {{ code: string, message: string, isFinal: boolean }} error */
  #handleError({ code, message, isFinal }) {
    if (code === 'no_codec') return this.#finish({ kind: 'no_codec' });
    if (!isFinal) return this.#fail(sentence(message));
    void this.#diagnose(sentence(message));
  }

  /**
   * The socket was closed or stayed silent: the API says whether the session and the sign-in
   * still stand.
   *
   * @param {string} [words] for the case that they do
   */
  async #diagnose(words = 'The server closed the connection.') {
    const signal = this.#signal;
    const { api, session } = this.#options;
    this.#settle();
    if (this.#hadPicture) this.#lose('Connecting again.');
    try {
      const { state, reason } = await api.session(session.id);
      if (this.#signal !== signal || this.#isOver) return;
      if (state === 'ended') return this.#finish({ kind: 'ended', reason: reason ?? 'gone' });
      this.#fail(words);
    } catch (error) {
      if (this.#signal !== signal || this.#isOver) return;
      this.#handleProblem(error);
    }
  }

  /** @param {unknown} error */
  #handleProblem(error) {
    if (!(error instanceof Problem)) throw error;
    if (error.isSignedOut) return this.#finish({ kind: 'signed_out' });
    if (error.status === 404) return this.#finish({ kind: 'ended', reason: 'gone' });
    this.#fail(problemWords(error, location.host));
  }

  /**
   * This attempt is over; the next one follows.
   *
   * @param {string} words
   */
  #fail(words) {
    this.#lose(words);
    this.#drop();
    const wait = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#retry = setTimeout(() => this.#connect(), wait);
  }

  /** @param {string} words */
  #lose(words) {
    this.#keepPicture();
    this.#options.sender.disconnect();
    this.#words = words;
    this.#report({ kind: this.#hadPicture ? 'reconnecting' : 'failing', words });
  }

  /** @param {Status} status the last one */
  #finish(status) {
    this.#keepPicture();
    this.close();
    this.#options.onStatus(status);
  }

  #keepPicture() {
    if (this.#isStreaming || this.#isSilent) this.#options.onPictureLost();
    if (this.#isStreaming) this.#lostAt = performance.now();
    this.#isStreaming = this.#isSilent = false;
  }

  #drop() {
    this.#settle();
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#isStreaming = this.#isSilent = false;
    this.#options.sender.disconnect();
    this.#stream?.close();
    this.#signal?.close();
    this.#stream = this.#signal = null;
  }

  /**
   * @param {number} ms
   * @param {() => void} late
   */
  #expect(ms, late) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(late, ms);
  }

  #settle() {
    clearTimeout(this.#deadline);
  }

  /**
   * The first attempt is told step by step; while later ones are made the failure is shown.
   *
   * @param {'signal' | 'path' | 'picture'} step
   */
  #reportStep(step) {
    if (!this.#hadPicture && this.#words === '') this.#report({ kind: 'connecting', step });
  }

  /** @param {Status} status */
  #report(status) {
    if (!this.#isOver) this.#options.onStatus(status);
  }

  #blockedWords() {
    return blockedWords({ ...this.#addresses, host: location.hostname });
  }

  /** A picture that comes over TCP works, but the user should know why it may stutter. */
  async #noteTransport() {
    const stream = this.#stream;
    const report = await stream?.statistics();
    if (!report || this.#stream !== stream) return;
    if (pathOf(report)?.protocol !== 'tcp' || this.#addresses.udp.length === 0) return;
    this.#options.onNotices([tcpWords(this.#addresses.udp[0]?.split(':').at(-1) ?? '')]);
  }
}

/**
 * The path that a connection uses.
 *
 * @param {RTCStatsReport} report
 * @returns {{ protocol: string, roundTripMs: number | null } | null}
 */
export function pathOf(report) {
  const all = [.../** @type {any} */ (report).values()];
  const chosen = all.find((it) => it.type === 'transport')?.selectedCandidatePairId;
  const pair = all.find(
    (it) => it.type === 'candidate-pair' && (chosen ? it.id === chosen : it.nominated),
  );
  if (!pair) return null;
  const local = all.find((it) => it.id === pair.localCandidateId);
  const seconds = pair.currentRoundTripTime;
  return {
    protocol: local?.protocol ?? 'udp',
    roundTripMs: seconds === undefined ? null : seconds * 1000,
  };
}
