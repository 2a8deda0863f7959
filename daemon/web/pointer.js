// @ts-check
// Turns pointer and wheel events over the desktop into input.

/** DOM `buttons` bits, in the order of DOM `button` numbers: left, middle, right, back, forward. */
const BUTTON_BITS = [1, 4, 2, 8, 16];
/** One step of a wheel on the wire. */
const STEP = 120;
/** A trackpad's pixels for one step: about three lines of text, what a step scrolls in X. */
const STEP_PIXELS = 50;
const STEP_LINES = 3;
const STEPS_PER_PAGE = 5;
/** Steps sent at once; more is a broken device. */
const STEPS_MAX = 20;

/**
 * Which buttons went down or up between two `buttons` masks.
 *
 * @param {number} before
 * @param {number} after
 * @returns {Array<{ button: number, isDown: boolean }>}
 */
export function buttonChanges(before, after) {
  return BUTTON_BITS.flatMap((bit, button) =>
    (before & bit) === (after & bit) ? [] : [{ button, isDown: (after & bit) !== 0 }],
  );
}

/**
 * What one wheel event turned along one axis, in 120ths of a step.
 *
 * @param {{ delta: number, mode: number, legacy: number }} turn `legacy` is `wheelDelta` where
 *   the browser has it: a multiple of 120 tells a wheel from a trackpad
 * @returns {number}
 */
export function wheelUnits({ delta, mode, legacy }) {
  if (delta === 0) return 0;
  if (mode === 1) return (delta / STEP_LINES) * STEP;
  if (mode === 2) return delta * STEPS_PER_PAGE * STEP;
  const isWheel = legacy !== 0 && legacy % STEP === 0 && Math.abs(delta) >= STEP_PIXELS;
  return isWheel ? -legacy : (delta / STEP_PIXELS) * STEP;
}

/** Collects fractions of a step along one axis: X knows whole steps only. */
export class WheelAxis {
  #rest = 0;

  /**
   * @param {number} units
   * @returns {number} whole steps, in units
   */
  turn(units) {
    // A turn the other way owes nothing to what was left over.
    if (units * this.#rest < 0) this.#rest = 0;
    this.#rest += units;
    const steps = Math.trunc(this.#rest / STEP);
    this.#rest -= steps * STEP;
    return Math.max(-STEPS_MAX, Math.min(STEPS_MAX, steps)) * STEP;
  }
}

/**
 * @typedef {object} PointerOptions
 * @property {HTMLElement} stage
 * @property {import('./sender.js').Sender} sender
 * @property {() => boolean} isCaptured whether the pointer belongs to the desktop
 * @property {(event: MouseEvent) => { x: number, y: number }} toDesktop
 */

export class Pointer {
  #options;
  #buttons = 0;
  #horizontal = new WheelAxis();
  #vertical = new WheelAxis();

  /** @param {PointerOptions} options */
  constructor(options) {
    this.#options = options;
    const { stage } = options;
    stage.addEventListener('pointerdown', (event) => this.#handleDown(event));
    for (const type of /** @type {const} */ (['pointerup', 'pointercancel'])) {
      stage.addEventListener(type, (event) => this.#handleButtons(event));
    }
    // Raw updates come at the device's rate, not the screen's; secure contexts only.
    const moves = 'onpointerrawupdate' in globalThis ? 'pointerrawupdate' : 'pointermove';
    stage.addEventListener(moves, (event) => this.#handleMove(/** @type {PointerEvent} */ (event)));
    // A second button while one is down comes as a move.
    stage.addEventListener('pointermove', (event) => this.#handleButtons(event));
    stage.addEventListener('wheel', (event) => this.#handleWheel(event), { passive: false });
    for (const type of ['contextmenu', 'mousedown', 'mouseup', 'auxclick', 'dragstart']) {
      stage.addEventListener(type, (event) => event.preventDefault());
    }
  }

  /** @param {PointerEvent} event */
  #handleDown(event) {
    if (!event.isPrimary || !this.#options.isCaptured()) return;
    this.#options.stage.focus({ preventScroll: true });
    // Throws for a pointer that has already gone.
    if (event.buttons !== 0) this.#options.stage.setPointerCapture(event.pointerId);
    this.#handleButtons(event);
  }

  /** @param {PointerEvent} event */
  #handleButtons(event) {
    const { sender, isCaptured, toDesktop } = this.#options;
    if (!event.isPrimary || event.buttons === this.#buttons) return;
    const buttons = event.type === 'pointercancel' ? 0 : event.buttons;
    const changes = buttonChanges(this.#buttons, buttons);
    this.#buttons = buttons;
    if (!isCaptured()) return;
    const point = toDesktop(event);
    sender.apply((input, now) => {
      for (const change of changes) {
        input.handleButton(now, { ...change, ...point, at: event.timeStamp });
      }
    });
  }

  /** @param {PointerEvent} event */
  #handleMove(event) {
    const { sender, isCaptured, toDesktop } = this.#options;
    if (!event.isPrimary || !isCaptured()) return;
    const point = toDesktop(event);
    sender.apply((input, now) => input.handleMove(now, point));
  }

  /** @param {WheelEvent} event */
  #handleWheel(event) {
    const { sender, isCaptured, toDesktop } = this.#options;
    event.preventDefault();
    if (!isCaptured()) return;
    const { deltaX, deltaY, deltaMode: mode } = event;
    const { wheelDeltaX = 0, wheelDeltaY = 0 } = /** @type {any} */ (event);
    const dx = this.#horizontal.turn(wheelUnits({ delta: deltaX, mode, legacy: wheelDeltaX }));
    const dy = this.#vertical.turn(wheelUnits({ delta: deltaY, mode, legacy: wheelDeltaY }));
    if (dx === 0 && dy === 0) return;
    const turn = { dx, dy, ...toDesktop(event), at: event.timeStamp };
    sender.apply((input, now) => input.handleWheel(now, turn));
  }
}
