// Starts the real server with directories, ports and uids of its own, and checks what it leaves.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import {
  cgroups,
  descendants,
  environmentOf,
  mounts,
  namespacesOf,
  processes,
  readOr,
  tree,
} from './host.mjs';
import { until } from './wait.mjs';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const TARGET = process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target');
const BUILT = process.env.SANDBOX_BUILD ?? path.join(TARGET, 'debug');

/** Below it nobody but root can write: the warden takes nothing else. */
const BASE = '/var/lib/sandbox-server-tests';
/** What one server claims, from SANDBOX_UID_BASE on: 65,536 users of 16. */
const UIDS_PER_SERVER = 1 << 20;
let servers = 0;

/**
 * Among the variables: as whom the server is started. `root`; `range`: an ordinary user with a
 * range of uids; `one`: one without. An ordinary user has a cgroup of its own.
 */
export const STARTED_AS = Symbol('started as');
/** Among the variables: those of the server whose ordinary user starts this one too. */
export const USER_OF = Symbol('user of');
/**
 * As whom servers are started unless told otherwise: the whole suite runs as `root` and as
 * `range`; as `one` only what tells parts apart by other things than their uids.
 */
const USUAL = process.env.SANDBOX_TEST_AS ?? 'root';
const AS_ORDINARY_USER = path.join(ROOT, 'tests/ordinary-user.sh');

/** How the server names a process of the tests: /proc shows root's to root alone. */
export function seenAs(pid) {
  return USUAL === 'root' ? `process ${pid}` : 'a process that /proc does not show';
}

/** Copies a program where only root can write; the copy is made once per build. */
export function installed(name) {
  const from = path.join(BUILT, name);
  // Each build has a place of its own, for runs that share a machine.
  const to = path.join(BASE, 'bin', BUILT.replaceAll('/', '_'), name);
  const built = fs.statSync(from);
  const there = fs.statSync(to, { throwIfNoEntry: false });
  if (there?.size !== built.size || there.mtimeMs < built.mtimeMs) {
    fs.mkdirSync(path.dirname(to), { recursive: true, mode: 0o755 });
    fs.copyFileSync(from, `${to}.new`);
    fs.chmodSync(`${to}.new`, 0o755);
    fs.renameSync(`${to}.new`, to);
  }
  return to;
}

/** A TCP port that is free on loopback. @returns {Promise<number>} */
export async function freePort() {
  const listener = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => listener.once('listening', resolve));
  const { port } = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  return port;
}

/** A UDP port that is free on loopback. @returns {Promise<number>} */
export async function freeUdpPort() {
  const socket = dgram.createSocket('udp4');
  await new Promise((resolve) => socket.bind(0, '127.0.0.1', () => resolve()));
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(() => resolve()));
  return port;
}

/** How a server with these variables is reached. */
function schemeOf({ TLS_CERT, TLS_SELF_SIGNED }) {
  return TLS_CERT || TLS_SELF_SIGNED === 'true' ? 'https' : 'http';
}

/** The ordinary user of a server: a uid above those of its sessions. */
function userOf(variables) {
  const { SANDBOX_UID_BASE } = variables[USER_OF] ?? variables;
  return Number(SANDBOX_UID_BASE) + UIDS_PER_SERVER + 1;
}

/** The cgroup that is made for a server's ordinary user. */
function groupOf({ SANDBOX_UID_BASE }) {
  return `sandbox-tests-${SANDBOX_UID_BASE}`;
}

/** Starts a program on a kernel that refuses these system calls; for a server's `launcher`. */
export function refusing(calls) {
  return ['python3', path.join(ROOT, 'tests/system/without.py'), calls];
}

/** The variables of a server of its own: nothing of it meets another server's. */
export async function ownVariables(changes = {}) {
  fs.mkdirSync(BASE, { recursive: true, mode: 0o755 });
  const home = fs.mkdtempSync(path.join(BASE, 'server-'));
  fs.chmodSync(home, 0o711);
  const [port, mediaPort, metricsPort] = [await freePort(), await freeUdpPort(), await freePort()];
  // Several runs may share a machine: each server of each takes another range.
  servers += 1;
  const slot = (process.pid * 7 + servers) % 1_500;
  const variables = {
    [STARTED_AS]: USUAL,
    STATE_DIR: path.join(home, 'state'),
    RUNTIME_DIR: path.join(home, 'run'),
    HOST: '127.0.0.1',
    PORT: String(port),
    PUBLIC_URL: `${schemeOf(changes)}://localhost:${port}`,
    MEDIA_PORT: String(mediaPort),
    METRICS_ADDR: `127.0.0.1:${metricsPort}`,
    RATE_LIMIT_LOGIN: '0',
    RATE_LIMIT_API: '0',
    SANDBOX_UID_BASE: String(200_000_000 + slot * (UIDS_PER_SERVER + 16)),
    RUST_LOG: 'info',
    LOG_FORMAT: 'text',
    ...changes,
  };
  if (variables[STARTED_AS] !== 'root') fs.chownSync(home, userOf(variables), userOf(variables));
  return variables;
}

/**
 * A command and its arguments, as whoever starts it.
 *
 * @param {string[]} command the program and what stands before and behind it
 * @returns {[string, string[]]}
 */
function commandOf(command, variables) {
  const [program, ...rest] = command;
  const as = variables[STARTED_AS] ?? 'root';
  if (as === 'root') return [program, rest];
  const first = Number(variables.SANDBOX_UID_BASE) - 1;
  const home = path.dirname(variables.STATE_DIR);
  const range = as === 'range' ? [first, 65_537] : [0, 0];
  const told = [userOf(variables), home, ...range, groupOf(variables)].map(String);
  return [AS_ORDINARY_USER, [...told, program, ...rest]];
}

/** Removes what a server's ordinary user had: cgroup and locks; whether nothing is left. */
function forgetUser(variables) {
  const isOurs = (it) => it.endsWith(`/${groupOf(variables)}`);
  if (variables[STARTED_AS] === 'root') return true;
  // Locks of a user's servers outlive them, and this user is gone.
  const locks = `/dev/shm/sandbox-server-uids-${userOf(variables)}`;
  if (!(USER_OF in variables)) fs.rmSync(locks, { recursive: true, force: true });
  for (const group of [...cgroups()].filter(isOurs)) {
    try {
      fs.rmdirSync(group);
    } catch (error) {
      // Its last process is still leaving.
      if (error.code !== 'EBUSY') throw error;
    }
  }
  return ![...cgroups()].some(isOurs);
}

function environment(variables) {
  return { PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin', ...variables };
}

/** Runs the server's program to its end. */
export function runToEnd(args, variables, input = '', before = []) {
  const env = environment(variables);
  const [program, all] = commandOf([...before, installed('sandbox-server'), ...args], variables);
  const ended = spawnSync(program, all, { env, input, encoding: 'utf8', timeout: 30_000 });
  // A running server of these variables stands in the same group and removes it at its end.
  if (![...alive].some((it) => it.variables.STATE_DIR === variables.STATE_DIR)) {
    forgetUser(variables);
  }
  return ended;
}

/** Servers of this run that may still live; none survives it. */
const alive = new Set();
process.once('exit', () => {
  for (const server of alive) server.child?.kill('SIGTERM');
});

/** Ends and removes every server of this run, whatever state a failed test left it in. */
export async function discardAll() {
  for (const server of alive) await server.discard();
}

export class Server {
  /** @param {Record<string, string>} variables */
  constructor(variables) {
    alive.add(this);
    this.variables = variables;
    this.log = '';
    this.program = installed('sandbox-server');
    /** What starts the program, where it is not started directly. */
    this.launcher = [];
    this.before = { shm: tree('/dev/shm') };
  }

  get url() {
    return `${schemeOf(this.variables)}://127.0.0.1:${this.variables.PORT}`;
  }

  get uidBase() {
    return Number(this.variables.SANDBOX_UID_BASE);
  }

  /** @param {Record<string, string>} [changes] to the variables */
  static async start(changes = {}) {
    const server = new Server(await ownVariables(changes));
    await server.launch();
    return server;
  }

  /** Starts the program and waits until it can take sessions. */
  async launch() {
    const options = { env: environment(this.variables), stdio: ['ignore', 'pipe', 'pipe'] };
    const [program, args] = commandOf([...this.launcher, this.program, 'serve'], this.variables);
    this.child = spawn(program, args, options);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on('data', (bytes) => {
        this.log = (this.log + bytes).slice(-200_000);
      });
    }
    this.exited = new Promise((resolve) => {
      this.child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    await until('the server to be ready', async () => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`the server ended with ${this.child.exitCode}\n${this.log}`);
      }
      const answer = await fetch(`${this.url}/ready`).catch(() => null);
      return answer?.status === 200;
    }).catch((error) => {
      this.child.kill('SIGTERM');
      throw new Error(`${error.message}\n${this.log}`);
    });
  }

  get wardenPid() {
    return this.child.pid;
  }

  get daemonPid() {
    const children = descendants(this.wardenPid).filter((it) => it.parent === this.wardenPid);
    const daemon = children.find((it) => it.command[1] === 'daemon');
    if (!daemon) throw new Error(`the warden has no daemon\n${this.log}`);
    return daemon.pid;
  }

  /** Descriptors open in warden and daemon. */
  descriptorCounts() {
    const count = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;
    return { warden: count(this.wardenPid), daemon: count(this.daemonPid) };
  }

  /** Makes an account as an operator does. */
  addUser(name, password, role = 'user') {
    const args = ['user', 'add', '--username', name, '--role', role, '--password-stdin'];
    const made = runToEnd(args, this.variables, `${password}\n`);
    assert.equal(made.status, 0, `user add ${name}: ${made.stderr}${made.stdout}`);
  }

  /** A request with the headers that the page would send. */
  async request(method, route, { token, body, headers = {} } = {}) {
    const all = { Origin: this.url, ...headers };
    if (token) all.Authorization = `Bearer ${token}`;
    if (body !== undefined) all['Content-Type'] ??= 'application/json';
    const options = { method, headers: all, body };
    if (body !== undefined && typeof body !== 'string') options.body = JSON.stringify(body);
    const answer = await fetch(`${this.url}${route}`, options);
    const text = await answer.text();
    const isJson = /json/.test(answer.headers.get('content-type') ?? '');
    const parsed = isJson ? JSON.parse(text) : text;
    return { status: answer.status, headers: answer.headers, body: parsed };
  }

  /** @returns {Promise<string>} an access token */
  async login(username, password) {
    const body = { username, password };
    const answer = await this.request('POST', '/api/auth/login', { body });
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body.access_token;
  }

  /** Starts a session and waits until it can be attached. */
  async startSession(token, size = { width: 1280, height: 720 }) {
    const body = { profile: 'desktop', ...size };
    const made = await this.request('POST', '/api/sessions', { token, body });
    assert.equal(made.status, 201, `${JSON.stringify(made.body)}\n${this.log}`);
    await this.untilState(token, made.body.id, 'ready');
    return made.body.id;
  }

  async session(token, id) {
    return this.request('GET', `/api/sessions/${id}`, { token });
  }

  /** Waits for a state; an unexpected end tells why. */
  async untilState(token, id, state) {
    return until(`session ${id} to be ${state}`, async () => {
      const { status, body } = await this.session(token, id);
      const isGone = status === 404 || body.state === 'ended';
      if (state === 'ended') return isGone && (body ?? true);
      assert.ok(!isGone, `session ended: ${JSON.stringify(body)}\n${this.log}`);
      return body.state === state && body;
    });
  }

  async endSession(token, id) {
    const answer = await this.request('DELETE', `/api/sessions/${id}`, { token });
    assert.equal(answer.status, 204, JSON.stringify(answer.body));
  }

  async stats(token, id) {
    const answer = await this.request('GET', `/api/sessions/${id}/stats`, { token });
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body;
  }

  /** Processes of this server's sessions: by their uids; where one serves all, by their walls. */
  jailed() {
    if (this.variables[STARTED_AS] === 'one') {
      const { pid: outside } = namespacesOf('self');
      const own = processes().filter((it) => it.uid === userOf(this.variables));
      return own.filter((it) => namespacesOf(it.pid).pid !== outside);
    }
    const [first, last] = [this.uidBase, this.uidBase + UIDS_PER_SERVER];
    return processes().filter((it) => it.uid >= first && it.uid < last);
  }

  /** What sessions have left behind, each thing named; empty where there is nothing. */
  leftovers() {
    const ours = [this.variables.STATE_DIR, this.variables.RUNTIME_DIR];
    return [
      ...this.jailed().map((it) => `process ${it.pid} ${it.name}`),
      ...mounts()
        .filter((it) => ours.some((one) => it.includes(one)))
        .map((it) => `mount ${it}`),
      ...this.ownCgroups().map((it) => `cgroup ${it}`),
      ...tree('/dev/shm')
        .filter((it) => !this.before.shm.includes(it) && this.isOurs(it))
        .map((it) => `file ${it}`),
    ];
  }

  isOurs(file) {
    const uid = fs.lstatSync(file, { throwIfNoEntry: false })?.uid ?? -1;
    return uid >= this.uidBase - 1 && uid < this.uidBase + UIDS_PER_SERVER;
  }

  /** Groups of this server's sessions: their names carry the node's, which STATE_DIR keeps. */
  ownCgroups() {
    const node = readOr(path.join(this.variables.STATE_DIR, 'node'))?.trim();
    return node ? [...cgroups()].filter((it) => it.includes(`sandbox-${node}/`)) : [];
  }

  async untilNothingIsLeft() {
    await until('the session to leave nothing behind', () => this.leftovers().length === 0).catch(
      (error) => {
        throw new Error(`${error.message}: ${this.leftovers().join('; ')}\n${this.log}`);
      },
    );
  }

  /** Ends the server as Ctrl-C does and checks that nothing of it is left. */
  async stop(signal = 'SIGTERM') {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    const { code } = await this.exited;
    const node = readOr(path.join(this.variables.STATE_DIR, 'node'))?.trim();
    const left = [
      ...this.leftovers(),
      ...[...cgroups()].filter((it) => it.endsWith(`sandbox-${node}`)),
      ...tree(this.variables.RUNTIME_DIR).map((it) => `file ${it}`),
      ...processes()
        .filter((it) => it.uid === this.uidBase - 1)
        .map((it) => `process ${it.pid} ${it.name}`),
    ];
    assert.deepEqual(left, [], this.log);
    assert.equal(code, 0, this.log);
  }

  /** Removes the server's directories; for `after` hooks. */
  async discard() {
    if (this.child && this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGTERM');
      await this.exited;
    }
    alive.delete(this);
    await until('the cgroup to be empty', () => forgetUser(this.variables));
    fs.rmSync(path.dirname(this.variables.STATE_DIR), { recursive: true, force: true });
  }

  /** The programs of a user's running desktop. */
  programsOf(name) {
    return this.jailed().filter((it) => environmentOf(it.pid).USER === name);
  }

  /** Where the host keeps a user's home; the user's desktop must run. */
  homeOf(name) {
    const [program] = this.programsOf(name);
    if (!program) throw new Error(`no program of ${name} runs\n${this.log}`);
    const users = this.variables.FILE_STORAGE_PATH ?? path.join(this.variables.STATE_DIR, 'users');
    const home = path.join(users, name);
    assert.equal(fs.statSync(home).uid, program.uid, `the owner of ${home}`);
    return { home, uid: program.uid };
  }

  /**
   * Makes a user's home with programs in it that the desktop starts by itself.
   *
   * @param {string} token
   * @param {string} name
   * @param {Record<string, {from?: string, text?: string}>} files by name, executable
   * @param {string} autostart shell lines; the files lie in ~/bin
   */
  async furnish(token, name, files, autostart) {
    const id = await this.startSession(token);
    const { home, uid } = this.homeOf(name);
    await this.endSession(token, id);
    await this.untilState(token, id, 'ended');
    await this.untilNothingIsLeft();
    const put = (file, write, mode) => {
      let directory = path.dirname(file);
      fs.mkdirSync(directory, { recursive: true, mode: 0o755 });
      for (; directory.length > home.length; directory = path.dirname(directory)) {
        fs.chownSync(directory, uid, uid);
      }
      write(file);
      fs.chmodSync(file, mode);
      fs.chownSync(file, uid, uid);
    };
    for (const [file, { from, text }] of Object.entries(files)) {
      const write = (to) => (from ? fs.copyFileSync(from, to) : fs.writeFileSync(to, text));
      put(path.join(home, 'bin', file), write, 0o755);
    }
    const write = (to) => fs.writeFileSync(to, autostart);
    put(path.join(home, '.config/openbox/autostart'), write, 0o644);
    return home;
  }
}

/** The tests' X program, as it was built. */
export const BARCODE = path.join(BUILT, 'sandbox-barcode');
/** What hashes pictures as viewers do. */
export const HASH = path.join(BUILT, 'sandbox-hash');
/** The one that misbehaves. */
export const BULLY = path.join(BUILT, 'sandbox-bully');
