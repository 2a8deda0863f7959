// @ts-check
// Which screen is shown, with which words. Knows the elements, decides nothing.

/**
 * @typedef {(
 *   'signin' | 'home' | 'connecting' | 'streaming' | 'reconnecting' | 'ended' | 'error'
 * )} State
 */
/** @typedef {'signin' | 'once' | 'home' | 'wait' | 'ended' | 'stage'} Panel */

const NOTICES_MS = 10_000;
const TOOLBAR_INTRO_MS = 2_500;
const TOOLBAR_LINGER_MS = 500;
/** The toolbar opens where the pointer rests at the top edge, in the middle of the window. */
const EDGE_PIXELS = 2;
const EDGE_REST_MS = 200;

const root = document.documentElement;
const message = byId('message');
const toolbar = byId('toolbar');
const notices = byId('notices');

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * @param {State} state
 * @param {Panel} panel
 * @param {{ words?: string, isCalm?: boolean }} [options] words for the message of the panel
 */
export function show(state, panel, { words = '', isCalm = false } = {}) {
  const wasElsewhere = root.dataset.panel !== panel;
  root.dataset.state = state;
  root.dataset.panel = panel;
  say(words, isCalm);
  document.querySelector(`[data-slot="${panel}"]`)?.append(message);
  if (!wasElsewhere) return;
  document.title = panel === 'stage' ? 'Desktop – Secure Sandbox' : 'Secure Sandbox';
  if (panel === 'stage') introduceToolbar();
  else hideToolbar();
  focusFirst(panel);
}

/**
 * @param {string} words
 * @param {boolean} [isCalm] news rather than an error
 */
export function say(words, isCalm = false) {
  message.textContent = words;
  message.classList.toggle('calm', isCalm);
}

/** @param {Panel} panel */
function focusFirst(panel) {
  if (panel === 'stage') return byId('stage').focus({ preventScroll: true });
  const form = document.querySelector(`.panel[data-panel="${panel}"]`);
  const empty = [...(form?.querySelectorAll('input') ?? [])].find((it) => it.value === '');
  const target = empty ?? form?.querySelector('button.primary:not([hidden])');
  if (target instanceof HTMLElement) target.focus({ preventScroll: true });
}

/** @type {number | undefined} */
let noticesTimer;

/**
 * Shows notes for a while; they stay readable behind the toolbar's button.
 *
 * @param {string[]} sentences
 */
export function notify(sentences) {
  if (sentences.length === 0) return;
  const list = notices.querySelector('ul');
  const known = new Set([...(list?.children ?? [])].map((it) => it.textContent));
  const fresh = sentences.filter((it) => !known.has(it));
  if (fresh.length === 0) return;
  for (const sentence of fresh) {
    const item = document.createElement('li');
    item.textContent = sentence;
    list?.append(item);
  }
  byId('notices-open').classList.add('useful');
  openNotices();
}

/**
 * Shows news at once, although the same was said before.
 *
 * @param {string} sentence
 */
export function announce(sentence) {
  notify([sentence]);
  openNotices();
}

function openNotices() {
  notices.hidden = false;
  clearTimeout(noticesTimer);
  noticesTimer = setTimeout(closeNotices, NOTICES_MS);
}

function closeNotices() {
  clearTimeout(noticesTimer);
  notices.hidden = true;
}

/** Notes belong to one session. */
export function forgetNotices() {
  closeNotices();
  notices.querySelector('ul')?.replaceChildren();
  byId('notices-open').classList.remove('useful');
}

/** @type {number | undefined} */
let toolbarTimer;

export function showToolbar() {
  clearTimeout(toolbarTimer);
  toolbar.classList.add('shown');
}

export function hideToolbar() {
  clearTimeout(toolbarTimer);
  toolbar.classList.remove('shown');
}

function introduceToolbar() {
  showToolbar();
  toolbarTimer = setTimeout(hideToolbar, TOOLBAR_INTRO_MS);
}

/** For the keyboard: shows the toolbar and goes there, or leaves it. */
export function visitToolbar() {
  if (toolbar.contains(document.activeElement)) return byId('stage').focus();
  showToolbar();
  byId('overlay-toggle').focus();
}

/** Wires the parts of the screens that concern nobody else. */
export function setUp() {
  byId('notices-close').addEventListener('click', () => {
    closeNotices();
    byId('stage').focus();
  });
  byId('notices-open').addEventListener('click', openNotices);
  toolbar.addEventListener('pointerenter', showToolbar);
  toolbar.addEventListener('pointerleave', () => {
    clearTimeout(toolbarTimer);
    toolbarTimer = setTimeout(hideToolbar, TOOLBAR_LINGER_MS);
  });
  toolbar.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') byId('stage').focus();
  });
  byId('stage').addEventListener('focus', hideToolbar);
  byId('stage').addEventListener('pointermove', ({ clientX, clientY, buttons }) => {
    const isMiddle = Math.abs(clientX - innerWidth / 2) < innerWidth / 6;
    const isAtEdge = isMiddle && clientY <= EDGE_PIXELS && buttons === 0;
    if (toolbar.classList.contains('shown')) return;
    clearTimeout(toolbarTimer);
    if (isAtEdge) toolbarTimer = setTimeout(showToolbar, EDGE_REST_MS);
  });
}
