// @ts-check
// Decides which input packets go out and when. Pure: time comes in as `now`, bytes come out.
// Layout and rules: docs/PROTOCOL.md, "Input".

/**
 * @typedef {(
 *   { kind: 'key', code: number, keysym: number, isDown: boolean } |
 *   { kind: 'button', button: number, isDown: boolean, x: number, y: number } |
 *   { kind: 'wheel', dx: number, dy: number, x: number, y: number } |
 *   { kind: 'release_all' }
 * )} InputEvent
 */
/** @typedef {{ after: number, number: number, x: number, y: number }} Move */
/**
 * @typedef {object} Packet
 * @property {bigint} stream
 * @property {number} firstSeq
 * @property {InputEvent[]} events
 * @property {Move | null} pointer
 * @property {number[] | null} held
 */

export const INPUT_EVENTS_MAX = 32;
export const KEYS_HELD_MAX = 32;
/** Events that wait for an acknowledgement; a link that lets more pile up is dead. */
export const UNACKED_MAX = 512;

const KIND_INPUT = 1;
const KIND_ACK = 2;
const ACK_BYTES = 13;
/** Where a packet has its flags and the count of its events. */
const FLAGS_AT = 1;
const COUNT_AT = 14;
const FLAG_MOVE = 1;
const FLAG_HELD = 2;
const EVENT_KEY = 1;
const EVENT_BUTTON = 2;
const EVENT_WHEEL = 3;
const EVENT_RELEASE_ALL = 4;

/** 4 ms: at most 250 moves a second. */
const MOVE_INTERVAL_MS = 4;
/** The last move of a movement goes out again: a lost one would leave the pointer behind. */
const MOVE_REPEATS_MS = [40, 160];
/** The server lets go of everything after 3 s without the held set. */
const HELD_INTERVAL_MS = 500;
const RESEND_MIN_MS = 20;
const RESEND_MAX_MS = 250;
/** Without an acknowledgement for so long the server does not know this stream. */
const STUCK_MS = 5_000;
/** Send times that are remembered for the overlay. */
const SENT_AT_MAX = 256;

/**
 * @param {Packet} packet
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodePacket({ stream, firstSeq, events, pointer, held }) {
  const out = new Writer();
  out.byte(KIND_INPUT);
  out.byte((pointer ? FLAG_MOVE : 0) | (held ? FLAG_HELD : 0));
  out.long(stream);
  out.word(firstSeq);
  out.byte(events.length);
  for (const event of events) encodeEvent(event, out);
  if (pointer) {
    out.word(pointer.after);
    out.word(pointer.number);
    out.short(pointer.x);
    out.short(pointer.y);
  }
  if (held) {
    out.byte(held.length);
    for (const code of held) out.short(code);
  }
  return out.bytes();
}

/**
 * @param {InputEvent} event
 * @param {Writer} out
 */
function encodeEvent(event, out) {
  switch (event.kind) {
    case 'key':
      out.byte(EVENT_KEY);
      out.byte(event.isDown ? 1 : 0);
      out.short(event.code);
      out.word(event.keysym);
      break;
    case 'button':
      out.byte(EVENT_BUTTON);
      out.byte(event.isDown ? 1 : 0);
      out.byte(event.button);
      out.short(event.x);
      out.short(event.y);
      break;
    case 'wheel':
      out.byte(EVENT_WHEEL);
      out.signed(event.dx);
      out.signed(event.dy);
      out.short(event.x);
      out.short(event.y);
      break;
    case 'release_all':
      out.byte(EVENT_RELEASE_ALL);
      break;
  }
}

/**
 * @param {ArrayBuffer} buffer
 * @returns {{ stream: bigint, seq: number } | null} null for anything but an acknowledgement
 */
export function decodeAck(buffer) {
  if (buffer.byteLength !== ACK_BYTES) return null;
  const view = new DataView(buffer);
  if (view.getUint8(0) !== KIND_ACK) return null;
  return { stream: view.getBigUint64(1, true), seq: view.getUint32(9, true) };
}

/**
 * Whether nothing but a pointer move is in a packet: of those only the newest counts.
 *
 * @param {Uint8Array} packet
 */
export function isMoveAlone(packet) {
  return packet[COUNT_AT] === 0 && packet[FLAGS_AT] === FLAG_MOVE;
}

/** Little-endian bytes of one packet; the largest has fewer than 512. */
class Writer {
  #view = new DataView(new ArrayBuffer(512));
  #length = 0;

  /** @param {number} value */
  byte(value) {
    this.#view.setUint8(this.#length, value);
    this.#length += 1;
  }

  /** @param {number} value */
  short(value) {
    this.#view.setUint16(this.#length, value, true);
    this.#length += 2;
  }

  /** @param {number} value */
  signed(value) {
    this.#view.setInt16(this.#length, value, true);
    this.#length += 2;
  }

  /** @param {number} value */
  word(value) {
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  /** @param {bigint} value */
  long(value) {
    this.#view.setBigUint64(this.#length, value, true);
    this.#length += 8;
  }

  bytes() {
    return new Uint8Array(this.#view.buffer, 0, this.#length).slice();
  }
}

/** The input stream of one session: what is held, what is not yet acknowledged. */
export class Input {
  #newStream;
  #stream;
  #nextSeq = 1;
  /** @type {Array<{ event: InputEvent, sentAt: number | null, isResent: boolean }>} */
  #unacked = [];
  #hasUnsent = false;
  #resendAt = Infinity;
  #resendWait = RESEND_MIN_MS;
  /** Smoothed round trip, milliseconds. */
  #roundTrip = 20;
  #stuckAt = Infinity;

  #moveNumber = 0;
  /** @type {{ number: number, x: number, y: number } | null} */
  #move = null;
  #moveDueAt = Infinity;
  #moveSentAt = -Infinity;
  #moveRepeats = 0;

  /** @type {Map<number, number>} evdev code to the keysym it went down with */
  #keys = new Map();
  /** @type {Set<number>} */
  #buttons = new Set();
  #heldDueAt = Infinity;

  /** @type {Map<number, number>} sequence number to the time the user acted */
  #actedAt = new Map();

  /** @param {() => bigint} newStream a fresh random number */
  constructor(newStream) {
    this.#newStream = newStream;
    this.#stream = newStream();
  }

  /**
   * @param {number} now
   * @param {{ code: number, keysym: number, isDown: boolean, at?: number }} key
   */
  handleKey(now, { code, keysym, isDown, at = now }) {
    if (code === 0) return this.#handlePlacelessKey(now, { keysym, isDown, at });
    const heldSym = this.#keys.get(code);
    if (isDown) {
      // X repeats by itself, so a key that is down already has nothing to say.
      if (heldSym !== undefined || this.#keys.size >= KEYS_HELD_MAX) return;
      this.#keys.set(code, keysym);
      this.#push(now, { kind: 'key', code, keysym, isDown }, at);
    } else if (heldSym !== undefined) {
      this.#keys.delete(code);
      // The keysym of the press: the layout may have changed while the key was down.
      this.#push(now, { kind: 'key', code, keysym: heldSym, isDown }, at);
    }
  }

  /**
   * Keys without a place cannot be held: nothing would name them in the held set.
   *
   * @param {number} now
   * @param {{ keysym: number, isDown: boolean, at: number }} key
   */
  #handlePlacelessKey(now, { keysym, isDown, at }) {
    if (!isDown || keysym === 0) return;
    this.#push(now, { kind: 'key', code: 0, keysym, isDown: true }, at);
    this.#push(now, { kind: 'key', code: 0, keysym, isDown: false }, at);
  }

  /**
   * @param {number} now
   * @param {{ button: number, isDown: boolean, x: number, y: number, at?: number }} click
   */
  handleButton(now, { button, isDown, x, y, at = now }) {
    if (this.#buttons.has(button) === isDown) return;
    if (isDown) this.#buttons.add(button);
    else this.#buttons.delete(button);
    this.#forgetMove();
    this.#push(now, { kind: 'button', button, isDown, x, y }, at);
  }

  /**
   * @param {number} now
   * @param {{ dx: number, dy: number, x: number, y: number, at?: number }} turn
   */
  handleWheel(now, { dx, dy, x, y, at = now }) {
    this.#forgetMove();
    this.#push(now, { kind: 'wheel', dx, dy, x, y }, at);
  }

  /**
   * @param {number} now
   * @param {{ x: number, y: number }} point
   */
  handleMove(now, { x, y }) {
    this.#moveNumber += 1;
    this.#move = { number: this.#moveNumber, x, y };
    this.#moveRepeats = 0;
    this.#moveDueAt = Math.max(now, this.#moveSentAt + MOVE_INTERVAL_MS);
  }

  /**
   * The viewer lost the focus or the link: everything goes up.
   *
   * @param {number} now
   */
  handleRelease(now) {
    if (this.#keys.size === 0 && this.#buttons.size === 0) return;
    this.#keys.clear();
    this.#buttons.clear();
    this.#push(now, { kind: 'release_all' }, now);
  }

  /**
   * A channel opened: what is not acknowledged goes out at once.
   *
   * @param {number} now
   */
  handleOpen(now) {
    this.#hasUnsent = this.#unacked.length > 0;
    this.#stuckAt = this.#hasUnsent ? now + STUCK_MS : Infinity;
    this.#resendWait = RESEND_MIN_MS;
  }

  /**
   * @param {number} now
   * @param {ArrayBuffer} buffer
   */
  handleAck(now, buffer) {
    const ack = decodeAck(buffer);
    if (!ack || ack.stream !== this.#stream) return;
    const oldest = this.#nextSeq - this.#unacked.length;
    const count = ack.seq - oldest + 1;
    if (count <= 0 || count > this.#unacked.length) return;
    const newest = this.#unacked.splice(0, count).at(-1);
    if (newest && newest.sentAt !== null && !newest.isResent) {
      this.#roundTrip += (now - newest.sentAt - this.#roundTrip) / 8;
    }
    this.#stuckAt = this.#unacked.length > 0 ? now + STUCK_MS : Infinity;
    this.#resendWait = this.#firstWait();
    if (this.#unacked.length === 0) this.#resendAt = Infinity;
    // Events beyond one packet's room had to wait for this.
    else this.#hasUnsent ||= this.#unacked.some((it) => it.sentAt === null);
  }

  /**
   * The packet that is due, or null. Call until null after each `handle…` and at `pollTimeout`.
   *
   * @param {number} now
   * @returns {Uint8Array<ArrayBuffer> | null}
   */
  pollPacket(now) {
    if (now >= this.#stuckAt) this.#restart(now);
    const isResendDue = now >= this.#resendAt;
    const isMoveDue = now >= this.#moveDueAt;
    const isHeldDue = now >= this.#heldDueAt;
    if (!this.#hasUnsent && !isResendDue && !isMoveDue && !isHeldDue) return null;
    const events = this.#takeEvents(now, isResendDue);
    const isWhole = events.length === this.#unacked.length;
    return encodePacket({
      stream: this.#stream,
      firstSeq: this.#nextSeq - this.#unacked.length,
      events,
      pointer: this.#takeMove(now, isMoveDue),
      held: isHeldDue ? this.#takeHeld(now, isWhole) : null,
    });
  }

  /**
   * When `pollPacket` must be called next, or null while nothing is going on.
   *
   * @returns {number | null}
   */
  pollTimeout() {
    const at = Math.min(this.#resendAt, this.#moveDueAt, this.#heldDueAt, this.#stuckAt);
    return this.#hasUnsent ? -Infinity : at === Infinity ? null : at;
  }

  /** Evdev codes of the keys that are down. */
  get held() {
    return [...this.#keys.keys()];
  }

  /** Sequence number of the newest event. */
  get lastSeq() {
    return this.#nextSeq - 1;
  }

  /**
   * When the user acted that event, for the overlay.
   *
   * @param {number} seq
   * @returns {number | null}
   */
  actedAt(seq) {
    return this.#actedAt.get(seq) ?? null;
  }

  /**
   * @param {number} now
   * @param {InputEvent} event
   * @param {number} at
   */
  #push(now, event, at) {
    if (this.#unacked.length >= UNACKED_MAX) return this.#restart(now);
    if (this.#unacked.length === 0) {
      this.#stuckAt = now + STUCK_MS;
      this.#resendWait = this.#firstWait();
    }
    this.#unacked.push({ event, sentAt: null, isResent: false });
    this.#actedAt.set(this.#nextSeq, at);
    this.#actedAt.delete(this.#nextSeq - SENT_AT_MAX);
    this.#nextSeq += 1;
    this.#hasUnsent ||= this.#unacked.length <= INPUT_EVENTS_MAX;
    this.#scheduleHeld(now);
  }

  /**
   * @param {number} now
   * @param {boolean} isResendDue
   */
  #takeEvents(now, isResendDue) {
    const taken = this.#unacked.slice(0, INPUT_EVENTS_MAX);
    if (taken.length === 0) return [];
    if (isResendDue) this.#resendWait = Math.min(RESEND_MAX_MS, this.#resendWait * 2);
    for (const it of taken) {
      it.isResent ||= it.sentAt !== null;
      it.sentAt ??= now;
    }
    this.#hasUnsent = false;
    this.#resendAt = now + this.#resendWait;
    return taken.map((it) => it.event);
  }

  /**
   * @param {number} now
   * @param {boolean} isDue
   */
  #takeMove(now, isDue) {
    if (!isDue) return null;
    const pause = MOVE_REPEATS_MS[this.#moveRepeats];
    this.#moveRepeats += 1;
    this.#moveSentAt = now;
    this.#moveDueAt = pause === undefined ? Infinity : now + pause;
    // The server applies a move only right after the event that it names, so a repeat names
    // the newest one.
    return this.#move && { after: this.lastSeq, ...this.#move };
  }

  /** A click or wheel step carries its own place: an older move must not follow it. */
  #forgetMove() {
    this.#move = null;
    this.#moveDueAt = Infinity;
  }

  /**
   * @param {number} now
   * @param {boolean} isWhole the packet carries all events, so the set is true after it
   */
  #takeHeld(now, isWhole) {
    this.#heldDueAt = now + HELD_INTERVAL_MS;
    return isWhole ? this.held : null;
  }

  /** @param {number} now */
  #scheduleHeld(now) {
    const isAnyDown = this.#keys.size > 0 || this.#buttons.size > 0;
    if (!isAnyDown) this.#heldDueAt = Infinity;
    else if (this.#heldDueAt === Infinity) this.#heldDueAt = now + HELD_INTERVAL_MS;
  }

  #firstWait() {
    return Math.min(RESEND_MAX_MS, Math.max(RESEND_MIN_MS, this.#roundTrip * 1.5 + 10));
  }

  /**
   * Begins a new stream. What was not acknowledged is given up: it may have been applied, and a
   * key typed twice is worse than one typed again.
   *
   * @param {number} now
   */
  #restart(now) {
    this.#stream = this.#newStream();
    this.#nextSeq = 1;
    this.#unacked = [];
    this.#actedAt.clear();
    this.#keys.clear();
    this.#buttons.clear();
    this.#moveNumber = 0;
    this.#forgetMove();
    this.#resendAt = Infinity;
    this.#stuckAt = Infinity;
    this.#push(now, { kind: 'release_all' }, now);
  }
}
