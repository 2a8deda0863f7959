// @ts-check
// One WebRTC connection: video in, the `in` and `ctl` channels, which frame was presented.

/** While frames flow the server hears of the newest one this often. */
const PRESENTED_INTERVAL_MS = 200;

/**
 * @typedef {object} StreamEvents
 * @property {(state: RTCPeerConnectionState) => void} onState
 * @property {(message: any) => void} onCtl a parsed message of the `ctl` channel
 * @property {() => void} onCtlOpen
 * @property {() => void} onCtlClosed by the server
 * @property {(frame: VideoFrameCallbackMetadata) => void} onFrame
 */

export class Stream {
  #pc;
  #video;
  #events;
  #ctl;
  #presentedAt = -Infinity;
  #presentedRtp = 0;
  /** @type {number | undefined} */
  #presentedTimer;
  #frameRequest = 0;
  #isClosed = false;

  /**
   * @param {HTMLVideoElement} video
   * @param {StreamEvents} events
   */
  constructor(video, events) {
    this.#video = video;
    this.#events = events;
    this.#pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', iceServers: [] });
    this.#pc.onconnectionstatechange = () => this.#events.onState(this.#pc.connectionState);
    this.#pc.ontrack = (event) => this.#handleTrack(event);
    const transceiver = this.#pc.addTransceiver('video', { direction: 'recvonly' });
    preferH264(transceiver);
    /** Input packets; `Sender` speaks on it. */
    this.input = this.#pc.createDataChannel('in', { ordered: false, maxRetransmits: 0 });
    this.#ctl = this.#pc.createDataChannel('ctl');
    this.#ctl.onopen = () => this.#events.onCtlOpen();
    this.#ctl.onclose = () => this.#events.onCtlClosed();
    this.#ctl.onmessage = ({ data }) => this.#events.onCtl(JSON.parse(String(data)));
  }

  /**
   * An offer to be sent at once: the server has all its addresses in the answer, so there is
   * nothing to gather.
   *
   * @param {RTCOfferOptions} [options] `iceRestart` for a fresh path on the same connection
   * @returns {Promise<string>}
   */
  async offer(options) {
    const offer = await this.#pc.createOffer(options);
    await this.#pc.setLocalDescription(offer);
    return offer.sdp ?? '';
  }

  /** @param {string} sdp */
  accept(sdp) {
    return this.#pc.setRemoteDescription({ type: 'answer', sdp });
  }

  /**
   * @param {object} message
   * @returns {boolean} whether there is a channel that it went into
   */
  tell(message) {
    if (this.#ctl.readyState !== 'open') return false;
    this.#ctl.send(JSON.stringify(message));
    return true;
  }

  get state() {
    return this.#pc.connectionState;
  }

  statistics() {
    return this.#pc.getStats();
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#presentedTimer);
    if (this.#frameRequest) this.#video.cancelVideoFrameCallback(this.#frameRequest);
    this.#ctl.onopen = this.#ctl.onclose = this.#ctl.onmessage = null;
    this.#pc.onconnectionstatechange = this.#pc.ontrack = null;
    this.#pc.close();
  }

  /** @param {RTCTrackEvent} event */
  #handleTrack({ receiver, track }) {
    // The server asks for no delay on each frame; these say it for browsers that miss that.
    const tuned = /** @type {any} */ (receiver);
    if ('jitterBufferTarget' in tuned) tuned.jitterBufferTarget = 0;
    if ('playoutDelayHint' in tuned) tuned.playoutDelayHint = 0;
    this.#video.srcObject = new MediaStream([track]);
    this.#video.play().catch(() => undefined); // refused only until the first click
    this.#awaitFrame();
  }

  #awaitFrame() {
    if (!('requestVideoFrameCallback' in this.#video)) return this.#awaitPicture();
    this.#frameRequest = this.#video.requestVideoFrameCallback((_, frame) => {
      if (this.#isClosed) return;
      this.#awaitFrame();
      if (frame.rtpTimestamp !== undefined) this.#handlePresented(frame.rtpTimestamp);
      this.#events.onFrame(frame);
    });
  }

  /** For browsers that do not tell of frames: at least the first one is seen. */
  #awaitPicture() {
    const { onFrame } = this.#events;
    const frame = /** @type {VideoFrameCallbackMetadata} */ ({});
    this.#video.addEventListener('loadeddata', () => onFrame(frame), { once: true });
  }

  /**
   * At most one report per interval and one for the last frame; no timer at rest.
   *
   * @param {number} rtp
   */
  #handlePresented(rtp) {
    this.#presentedRtp = rtp;
    if (this.#presentedTimer !== undefined) return;
    const wait = this.#presentedAt + PRESENTED_INTERVAL_MS - performance.now();
    if (wait <= 0) this.#tellPresented();
    else this.#presentedTimer = setTimeout(() => this.#tellPresented(), wait);
  }

  #tellPresented() {
    this.#presentedTimer = undefined;
    this.#presentedAt = performance.now();
    this.tell({ t: 'presented', rtp: this.#presentedRtp });
  }
}

/**
 * What this browser cannot do that the picture needs.
 *
 * @returns {'no_webrtc' | 'no_h264' | null}
 */
export function missingForVideo() {
  if (typeof RTCPeerConnection === 'undefined') return 'no_webrtc';
  const codecs = RTCRtpReceiver.getCapabilities?.('video')?.codecs;
  return !codecs || codecs.some(isH264) ? null : 'no_h264';
}

/** @param {RTCRtpTransceiver} transceiver */
function preferH264(transceiver) {
  const codecs = RTCRtpReceiver.getCapabilities?.('video')?.codecs ?? [];
  const wanted = codecs.filter((it) => isH264(it) || /\/rtx$/i.test(it.mimeType));
  if (wanted.some(isH264)) transceiver.setCodecPreferences?.(wanted);
}

/** @param {RTCRtpCodec} codec */
function isH264({ mimeType }) {
  return mimeType.toLowerCase() === 'video/h264';
}
