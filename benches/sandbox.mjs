// What a jail costs, beside others' ways to start a program apart; and what an end takes.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { PASSWORD } from '../tests/system/desktop.mjs';
import { BARCODE, Server } from '../tests/system/server.mjs';
import { until } from '../tests/system/wait.mjs';
import { figure, one, report } from './figures.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 20);
const SIZE = { width: 1920, height: 1080 };
/** Starts a program and times it; with `stamp` it is the program. */
const SPAWN = path.join(path.dirname(BARCODE), 'sandbox-bench-spawn');
const INSIDE = '/stamp';

const bundle = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-bench-'));
const server = await Server.start({ RUST_LOG: 'info,sandbox_jail=debug' });
try {
  const peers = { 'fork + exec': [SPAWN, 'stamp'], ...bubblewrap(), ...runc() };
  server.addUser('bench', PASSWORD);
  const token = await server.login('bench', PASSWORD);
  const jails = { display: [], apps: [] };
  const took = Object.fromEntries(Object.keys(peers).map((it) => [it, []]));
  const teardown = [];
  // The first start of each pays for what later ones find in the page cache.
  for (let round = 0; round <= ROUNDS; round += 1) {
    server.log = '';
    const id = await server.startSession(token, SIZE);
    await untilRests();
    const seen = { display: told('display', 'runs') };
    // What a program waits for at its gate is the X server, not the jail.
    seen.apps = told('apps', 'sealed') + told('apps', 'runs');
    const ended = await end(token, id);
    const others = Object.entries(peers).map(([it, command]) => [it, spawned(command)]);
    if (round === 0) continue;
    for (const kind of Object.keys(jails)) jails[kind].push(seen[kind]);
    for (const [name, micros] of others) took[name].push(micros);
    teardown.push(ended);
  }
  const millis = (micros) => micros.map((it) => it / 1000);
  const lines = [
    figure('display jail, request to first instruction', 'ms', millis(jails.display)),
    figure('programs jail, its home to first instruction', 'ms', millis(jails.apps)),
    ...Object.entries(took).map(([it, micros]) => figure(it, 'ms', millis(micros))),
    figure('teardown, answer to DELETE to nothing left', 'ms', teardown),
  ];
  if (took.runc) {
    const [display, programs] = lines.map((it) => it.p50);
    const [runc] = lines.filter((it) => it.name === 'runc').map((it) => it.p50);
    lines.push(one('display jail, p50 of that of runc', '', display / runc));
    lines.push(one('programs jail, p50 of that of runc', '', programs / runc));
  }
  report('sandbox', lines, { versions: versions() });
} finally {
  await server.discard();
  fs.rmSync(bundle, { recursive: true, force: true });
}

/** Microseconds that the warden tells of a jail. */
function told(jail, step) {
  const line = new RegExp(`${step} .*jail=${jail} us=(\\d+)`).exec(server.log);
  if (!line) throw new Error(`the warden tells nothing of ${jail}: ${step}\n${server.log}`);
  return Number(line[1]);
}

function spawned(command) {
  return JSON.parse(execFileSync(SPAWN, ['1', ...command], { encoding: 'utf8' }))[0];
}

/** Until the desktop's own start is over: its processes stay the same for a second. */
async function untilRests() {
  let before = '';
  await until('the desktop to rest', async () => {
    const now = server.jailed().map((it) => `${it.pid} ${it.name}`).join();
    const rests = now === before;
    before = now;
    if (!rests) await pause(1_000);
    return rests;
  });
}

/** Milliseconds from the answer to DELETE until processes, groups and files are gone. */
async function end(token, id) {
  const files = [
    ...server.jailed().map((it) => `/proc/${it.pid}`),
    ...server.ownCgroups(),
    path.join(server.variables.RUNTIME_DIR, `session-${id}`),
  ];
  await server.endSession(token, id);
  const start = performance.now();
  await until('the end', () => files.every((it) => !fs.existsSync(it)), { every: 1 });
  const took = performance.now() - start;
  const left = server.leftovers();
  if (left.length > 0) throw new Error(`left: ${left.join('; ')}`);
  return took;
}

function isInstalled(program) {
  const isThere = process.env.PATH.split(':').some((it) => fs.existsSync(path.join(it, program)));
  if (!isThere) console.log(`${program} is not installed: it is not measured beside`);
  return isThere;
}

function versions() {
  const lines = ['bwrap', 'runc'].filter(isInstalled).map((it) => {
    return execFileSync(it, ['--version'], { encoding: 'utf8' }).split('\n')[0];
  });
  return lines;
}

/** All namespaces, a root of its own, no capabilities. */
function bubblewrap() {
  if (!isInstalled('bwrap')) return {};
  const root = ['--ro-bind', '/usr', '/usr', '--symlink', 'usr/lib', '/lib'];
  root.push('--symlink', 'usr/lib64', '/lib64', '--proc', '/proc', '--dev', '/dev');
  root.push('--tmpfs', '/tmp', '--ro-bind', SPAWN, INSIDE);
  return { bubblewrap: ['bwrap', '--unshare-all', '--cap-drop', 'ALL', ...root, INSIDE, 'stamp'] };
}

/** What `runc spec` proposes, with the same limits as a desktop's programs. */
function runc() {
  if (!isInstalled('runc')) return {};
  execFileSync('runc', ['spec', '--bundle', bundle]);
  const file = path.join(bundle, 'config.json');
  const spec = JSON.parse(fs.readFileSync(file, 'utf8'));
  spec.process.terminal = false;
  spec.process.args = [INSIDE, 'stamp'];
  for (const name of ['rootfs/usr', 'rootfs/proc', 'rootfs/sys', 'rootfs/dev']) {
    fs.mkdirSync(path.join(bundle, name), { recursive: true });
  }
  fs.symlinkSync('usr/lib', path.join(bundle, 'rootfs/lib'));
  fs.symlinkSync('usr/lib64', path.join(bundle, 'rootfs/lib64'));
  fs.writeFileSync(path.join(bundle, 'rootfs', INSIDE), '');
  const bind = { type: 'bind', options: ['bind', 'ro'] };
  spec.mounts.push({ destination: '/usr', source: '/usr', ...bind });
  spec.mounts.push({ destination: INSIDE, source: SPAWN, ...bind });
  const cpu = { quota: 10_000, period: 20_000 };
  Object.assign(spec.linux.resources, { memory: { limit: 512 << 20 }, pids: { limit: 100 }, cpu });
  fs.writeFileSync(file, JSON.stringify(spec));
  return { runc: ['runc', 'run', '--bundle', bundle, `sandbox-bench-${process.pid}`] };
}
