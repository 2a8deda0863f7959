// @ts-check
// Says what went wrong in plain words, and what to do about it.

/**
 * Words for the API's stable codes; `detail` of the server stands for all others.
 *
 * @type {Record<string, string>}
 */
const PROBLEMS = {
  invalid_credentials: 'This user name and password do not belong together.',
  invalid_code: 'This sign-in link has been used or has expired. Ask for a fresh one.',
  user_disabled: 'This account is disabled. Ask whoever runs this server.',
};

/** @type {Record<string, string>} */
const ENDS = {
  requested: 'It was ended.',
  idle: 'Nobody was connected to it for a long time.',
  timeout: 'Nobody was connected to it for a long time.',
  display_ended: 'Its display stopped working.',
  programs_ended: 'Its window manager closed.',
  worker_ended: 'The part that sends the picture stopped working.',
  start_failed: 'It could not be started.',
  x_held_by_program: 'Its display stopped answering: a program inside it held it, or it hangs.',
  shutdown: 'The server is being stopped or restarted.',
  user_disabled: 'The account was disabled.',
  gone: 'It no longer exists on this server.',
};

/**
 * @param {import('./api.js').Problem} problem
 * @param {string} host of this page
 * @returns {string}
 */
export function problemWords({ code, status, detail, retryAfter }, host) {
  if (code === 'unreachable') {
    return `The server does not answer at ${host}. Check that it is running and that this `
      + 'computer is on the right network.';
  }
  const known = PROBLEMS[code];
  if (known) return known;
  if (status === 429) {
    return retryAfter > 0
      ? `Too many attempts. Try again in ${duration(retryAfter)}.`
      : 'Too many attempts. Wait a minute and try again.';
  }
  if (detail) return sentence(detail);
  return `The server answered with an error (${code}). Its log says more.`;
}

/** @param {string} reason stable name from the server */
export function endWords(reason) {
  return `Your desktop has ended. ${ENDS[reason] ?? `Reason: ${reason}.`}`;
}

/**
 * @typedef {object} Shortage of memory
 * @property {number} limit_mb what the programs may use together
 * @property {number} killed how many were ended
 * @property {string[]} programs their names, as far as they are known
 */

/**
 * @param {Shortage} shortage
 * @returns {string}
 */
export function memoryWords({ limit_mb, killed, programs }) {
  const unnamed = killed - programs.length;
  const names = unnamed > 0 ? [...programs, unnamedWords(unnamed, programs.length > 0)] : programs;
  const last = names.at(-1) ?? '';
  const all = names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${last}` : last;
  const verb = killed === 1 ? 'was' : 'were';
  return `The desktop ran out of memory (${limit_mb} MB): ${all} ${verb} ended.`;
}

/**
 * @param {number} count
 * @param {boolean} areOthers beside some with names
 */
function unnamedWords(count, areOthers) {
  const noun = areOthers ? 'other program' : 'program';
  if (count > 1) return `${count} ${noun}s`;
  return areOthers ? `one ${noun}` : `a ${noun}`;
}

/** @param {'no_webrtc' | 'no_h264'} missing */
export function missingWords(missing) {
  switch (missing) {
    case 'no_webrtc':
      return 'This browser has WebRTC switched off, and the desktop’s picture needs it. Allow '
        + 'WebRTC in the settings or extensions of this browser, or use another one.';
    case 'no_h264':
      return 'This browser cannot show H.264 video. In Firefox, open about:addons, choose '
        + 'Plugins, and switch on “OpenH264 Video Codec”; or use Chrome, Edge or Safari.';
  }
}

/**
 * No path for the media was found.
 *
 * @param {{ udp: string[], tcp: string[], host: string }} tried addresses as `host:port`
 * @returns {string}
 */
export function blockedWords({ udp, tcp, host }) {
  if (udp.length === 0 && tcp.length === 0) {
    return 'The server named no address that its picture comes from. Whoever runs it can set '
      + 'one with MEDIA_ADVERTISE.';
  }
  const viaUdp = udp.length > 0 && `UDP ${portsAt(udp, host)} seems blocked`;
  const viaTcp = tcp.length > 0 && `TCP ${portsAt(tcp, host)} failed`;
  const what = viaUdp && viaTcp
    ? `${viaUdp}, and the fallback over ${viaTcp} too`
    : viaUdp || viaTcp;
  return `The picture cannot reach this computer: ${what}. Ask whoever runs the network to open `
    + `${udp.length > 0 ? 'that UDP port' : 'that port'}, or whoever runs the server to check `
    + 'MEDIA_HOST and MEDIA_ADVERTISE.';
}

/** @param {string} port */
export function tcpWords(port) {
  return `UDP${port ? ` port ${port}` : ''} seems blocked, so the picture comes over TCP. It `
    + 'works, but will stutter on a poor network.';
}

/**
 * What is missing on a page that came over plain http from another computer.
 *
 * @param {boolean} isSecureContext
 * @returns {string | null}
 */
export function insecureWords(isSecureContext) {
  if (isSecureContext) return null;
  return 'This page came over plain http from another computer: your password travels unencrypted, '
    + 'and the browser withholds keyboard capture in full screen and the finest pointer updates. '
    + 'Better use https, or an SSH tunnel to localhost.';
}

/**
 * The addresses in a session description, as `host:port`.
 *
 * @param {string} sdp
 * @returns {{ udp: string[], tcp: string[] }}
 */
export function candidateAddresses(sdp) {
  /** @type {{ udp: string[], tcp: string[] }} */
  const found = { udp: [], tcp: [] };
  // RFC 8839 §5.1: foundation, component, transport, priority, address, port.
  for (const [, transport, address, port] of sdp.matchAll(
    /^a=candidate:\S+ \d+ (udp|tcp) \d+ (\S+) (\d+) /gim,
  )) {
    const list = transport?.toLowerCase() === 'tcp' ? found.tcp : found.udp;
    list.push(`${address?.includes(':') ? `[${address}]` : address}:${port}`);
  }
  return found;
}

/**
 * @param {string[]} addresses `host:port`
 * @param {string} host to name where there are several
 */
function portsAt(addresses, host) {
  const ports = new Set(addresses.map((it) => it.slice(it.lastIndexOf(':') + 1)));
  const hosts = new Set(addresses.map((it) => it.slice(0, it.lastIndexOf(':'))));
  const where = hosts.size === 1 ? [...hosts][0] : host;
  return `port ${[...ports].join(' or ')} on ${where}`;
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 90) return seconds === 1 ? 'one second' : `${Math.ceil(seconds)} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}

/**
 * The server's words as a sentence of the page.
 *
 * @param {string} text
 */
export function sentence(text) {
  const start = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(start) ? start : `${start}.`;
}
