// @ts-check
// Wires the page together: who is signed in, which desktop, what each button does.

import { Api, Problem } from './api.js';
import { Attachment } from './attachment.js';
import { Auth, onceLink } from './auth.js';
import { Clipboard } from './clipboard.js';
import { Desktop } from './desktop.js';
import { Keyboard } from './keyboard.js';
import { Overlay } from './overlay.js';
import { Pointer } from './pointer.js';
import {
  announce, byId, forgetNotices, notify, say, setUp, show, visitToolbar,
} from './screens.js';
import { Sender } from './sender.js';
import { inTab } from './storage.js';
import { missingForVideo } from './stream.js';
import {
  endWords, insecureWords, memoryWords, missingWords, problemWords,
} from './words.js';

/** Set in this tab while it shows the desktop. */
const AT_DESKTOP = 'at-desktop';

const root = document.documentElement;
const stage = byId('stage');
const video = /** @type {HTMLVideoElement} */ (byId('video'));
const username = /** @type {HTMLInputElement} */ (byId('username'));
const password = /** @type {HTMLInputElement} */ (byId('password'));
const dialog = /** @type {HTMLDialogElement} */ (byId('confirm'));

const auth = new Auth();
const api = new Api(auth);
const sender = new Sender();
/** @type {Attachment | null} */
let attachment = null;
/** @type {import('./api.js').Session | null} the desktop that this user has */
let session = null;
/** A desktop was in use when the sign-in expired: signing in leads straight back. */
let isComingBack = false;
/** @type {string | null} of a single-use link, until it is used */
let onceCode = null;

/** @param {object} message */
const tell = (message) => attachment?.tell(message) ?? false;
const isCaptured = () =>
  attachment?.takesKeys === true
  && !dialog.open
  && (document.activeElement === stage || document.activeElement === document.body);

const desktop = new Desktop({
  stage,
  video,
  still: /** @type {HTMLCanvasElement} */ (byId('still')),
  tell,
  onNotice: (words) => notify([words]),
});
const overlay = new Overlay({
  panel: byId('overlay'),
  tell,
  statistics: () => attachment?.statistics() ?? null,
  actedAt: (seq) => sender.actedAt(seq),
  size: () => desktop.sizeWords,
});
new Pointer({
  stage,
  sender,
  isCaptured: () => attachment?.isStreaming === true && attachment.hasControl && !dialog.open,
  toDesktop: (event) => desktop.toDesktop(event),
});
new Keyboard({
  sender,
  isCaptured,
  paste: (text) => desktop.paste(text),
  onShortcut: (name) => (name === 'overlay' ? overlay.toggle() : visitToolbar()),
});

const clipboard = new Clipboard({
  isCaptured,
  write: (text) => navigator.clipboard.writeText(text),
  onNotice: (words) => notify([words]),
});
for (const type of ['keydown', 'keyup', 'pointerdown', 'pointerup']) {
  addEventListener(type, () => clipboard.handleGesture(performance.now()), { capture: true });
}

/** @param {any} message of the `ctl` channel */
function handleCtl(message) {
  switch (message.t) {
    case 'hello':
      return overlay.handleHello(message.encoder);
    case 'pong':
      desktop.handlePong(message);
      return overlay.handlePong(message);
    case 'clipboard':
      return clipboard.handlePiece(message);
    case 'cursor':
      return desktop.showCursor(message);
    case 'frame':
      return overlay.handleStamps(message);
    case 'size': // the video tells its size itself, with the first picture that has it
      return;
  }
}

/**
 * Connects to the desktop of this user.
 *
 * @param {import('./api.js').Session} target
 */
function attach(target) {
  const missing = missingForVideo();
  if (missing) return show('error', 'home', { words: missingWords(missing) });
  leave();
  if (target.id !== session?.id) sender.reset();
  session = target;
  attachment = new Attachment({
    session: target,
    auth,
    api,
    sender,
    video,
    size: () => desktop.offeredSize(),
    onStatus: handleStatus,
    onPictureLost: () => desktop.freeze(),
    onCtl: handleCtl,
    onCtlOpen: () => {
      overlay.handleCtlOpen();
      desktop.handleCtlOpen();
    },
    onFrame: (frame) => overlay.handleFrame(frame),
    onNotices: notify,
    onControl: showControl,
    onOutOfMemory: (shortage) => announce(memoryWords(shortage)),
  });
  showControl(true);
  root.dataset.session = target.id;
  inTab.set(AT_DESKTOP);
}

/** @param {boolean} yours */
function showControl(yours) {
  root.dataset.control = yours ? 'here' : 'elsewhere';
}

/** Leaves the desktop, which goes on without this page. */
function leave() {
  attachment?.close();
  attachment = null;
  if (overlay.isOpen) overlay.close();
}

/** Leaves it so that a reload does not lead back. */
function leaveForGood() {
  leave();
  inTab.clear(AT_DESKTOP);
}

const STEPS = {
  signal: 'Connecting to your desktop…',
  path: 'Finding a way for the picture…',
  picture: 'Waiting for the first picture…',
};

/** @param {import('./attachment.js').Status} status */
function handleStatus(status) {
  byId('retry').hidden = status.kind !== 'failing';
  switch (status.kind) {
    case 'connecting':
      byId('wait-words').textContent = STEPS[status.step];
      return show('connecting', 'wait');
    case 'streaming':
      desktop.thaw();
      return show('streaming', 'stage');
    case 'reconnecting':
      return show('reconnecting', 'stage', { words: `Reconnecting. ${status.words}` });
    case 'failing':
      byId('wait-words').textContent = 'Could not connect. Trying again by itself.';
      return show('error', 'wait', { words: status.words });
    case 'no_codec':
      leaveForGood();
      return show('error', 'home', { words: missingWords('no_h264') });
    case 'taken_over':
      byId('again').textContent = 'Use it here';
      return showEnded('Your desktop was opened in another tab or on another computer.', true);
    case 'ended':
      forgetSession();
      byId('again').textContent = 'Start a new desktop';
      return showEnded(endWords(status.reason), status.reason === 'requested');
    case 'signed_out':
      return handleExpiry();
  }
}

/**
 * @param {string} words
 * @param {boolean} isCalm
 */
function showEnded(words, isCalm) {
  leaveForGood();
  desktop.clear();
  show('ended', 'ended', { words, isCalm });
}

function forgetSession() {
  session = null;
  delete root.dataset.session;
  forgetNotices();
}

function handleExpiry() {
  isComingBack = attachment !== null;
  leave();
  auth.forget();
  desktop.clear();
  showSignIn(
    isComingBack
      ? 'Your sign-in has expired. Sign in again to return to your desktop; it is still running.'
      : 'Your sign-in has expired. Sign in again.',
  );
}

/** A reload stays signed in, and at the desktop where it was there. */
async function resume() {
  if (!auth.mayResume) return showSignIn();
  try {
    const reply = await api.refresh();
    isComingBack = inTab.has(AT_DESKTOP);
    await enter(reply, reply.username);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.isSignedOut) auth.forget();
    showSignIn(error.isSignedOut ? '' : problemWords(error, location.host));
  }
}

/** @param {string} [words] */
function showSignIn(words = '') {
  username.value = auth.user || username.value;
  password.value = '';
  show('signin', 'signin', { words, isCalm: true });
}

/** @param {{ words?: string, isCalm?: boolean }} [options] */
async function showHome(options = {}) {
  const sessions = await api.sessions();
  session = sessions.find(({ state }) => state !== 'ended') ?? null;
  if (session) root.dataset.session = session.id;
  else forgetSession();
  const missing = missingForVideo();
  byId('home-lead').textContent = session
    ? 'Your desktop is running, just as you left it.'
    : `A fresh desktop, as large as this window: ${desktop.wantedSizeWords}.`;
  byId('start').textContent = session ? 'Back to your desktop' : 'Start desktop';
  byId('toolbar').querySelector('.who')?.replaceChildren(auth.user);
  show('home', 'home', missing ? { words: missingWords(missing) } : options);
}

/**
 * Runs what a button does: once at a time, with its failure in plain words.
 *
 * @param {string} id of the button
 * @param {() => Promise<unknown>} work
 */
async function run(id, work) {
  const button = /** @type {HTMLButtonElement} */ (byId(id));
  if (button.disabled) return;
  button.disabled = true;
  say('');
  try {
    await work();
  } catch (error) {
    handleFailure(error);
  } finally {
    button.disabled = false;
  }
}

/** @param {unknown} error */
function handleFailure(error) {
  if (!(error instanceof Problem)) throw error;
  if (error.isSignedOut && auth.token !== '') return handleExpiry();
  const words = problemWords(error, location.host);
  const isWaiting = root.dataset.panel === 'wait';
  if (isWaiting) return show('home', 'home', { words });
  say(words);
}

/**
 * @param {import('./api.js').TokenReply} reply
 * @param {string} user
 */
async function enter(reply, user) {
  auth.accept(reply.access_token, user);
  password.value = '';
  await showHome();
  const target = session;
  if (isComingBack && target) attach(target);
  isComingBack = false;
}

async function start() {
  if (session) return attach(session);
  byId('wait-words').textContent = 'Starting your desktop…';
  byId('retry').hidden = true;
  show('connecting', 'wait');
  const started = await api.start(desktop.wantedSize);
  // Whoever went back meanwhile finds it on the home screen.
  if (root.dataset.panel === 'wait') attach(started);
}

async function end() {
  const target = session;
  if (!target) return;
  dialog.returnValue = '';
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }));
  if (dialog.returnValue !== 'yes') return stage.focus();
  leaveForGood();
  await api.end(target.id).catch((error) => {
    if (!(error instanceof Problem && error.status === 404)) throw error;
  });
  desktop.clear();
  forgetSession();
  await showHome({ words: 'Your desktop has ended.', isCalm: true });
}

async function signOut() {
  leaveForGood();
  await api.logOut().catch(() => undefined); // gone from here in any case
  auth.forget();
  desktop.clear();
  forgetSession();
  showSignIn('You are signed out. A desktop you left running waits for you for a while.');
}

async function goHome() {
  leaveForGood();
  desktop.clear();
  await showHome();
}

async function toggleFullScreen() {
  stage.focus();
  if (document.fullscreenElement) return document.exitFullscreen();
  try {
    await root.requestFullscreen({ navigationUI: 'hide' });
  } catch {
    return notify(['This browser did not allow full screen.']);
  }
  // Chromium, secure contexts: Alt+Tab, Escape and the like reach the desktop too.
  await /** @type {any} */ (navigator).keyboard?.lock?.().catch(() => undefined);
}

/** @param {{ code: string, user: string }} link */
function showOnce({ code, user }) {
  onceCode = code;
  byId('once').textContent = user ? `Sign in as ${user}` : 'Sign in';
  byId('once').onclick = () =>
    run('once', async () => {
      const reply = await api.redeem(onceCode ?? '');
      onceCode = null;
      await enter(reply, user);
    });
  show('signin', 'once');
}

/** Takes a single-use link out of the address, so that it stays in no history. */
function takeLink() {
  const link = onceLink(location.hash);
  if (location.hash.includes('once=')) history.replaceState(null, '', location.pathname);
  if (!link) return false;
  leave();
  showOnce(link);
  return true;
}

function boot() {
  setUp();
  byId('signin-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const name = username.value.trim();
    void run('signin', async () => enter(await api.logIn(name, password.value), name));
  });
  byId('once-other').onclick = () => showSignIn();
  byId('start').onclick = () => run('start', start);
  byId('again').onclick = () => run('again', start);
  byId('retry').onclick = () => attachment?.hurry();
  byId('wait-home').onclick = () => run('wait-home', goHome);
  byId('ended-home').onclick = () => run('ended-home', goHome);
  byId('end').onclick = () => run('end', end);
  byId('signout').onclick = () => run('signout', signOut);
  byId('take-control').onclick = () => {
    attachment?.takeControl();
    stage.focus();
  };
  byId('overlay-toggle').onclick = () => {
    overlay.toggle();
    stage.focus();
  };
  byId('fullscreen').onclick = () => run('fullscreen', toggleFullScreen);
  document.addEventListener('fullscreenchange', () => {
    const words = document.fullscreenElement ? 'Leave full screen' : 'Full screen';
    byId('fullscreen').textContent = words;
  });
  addEventListener('online', () => attachment?.hurry());
  addEventListener('hashchange', takeLink);
  addEventListener('pagehide', leave);
  addEventListener('pageshow', ({ persisted }) => {
    if (persisted && auth.token) void run('wait-home', goHome);
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) attachment?.hurry();
  });
  const insecure = insecureWords(isSecureContext);
  byId('insecure').hidden = insecure === null;
  byId('insecure').textContent = insecure;
  if (!takeLink()) void resume();
}

boot();
