// A host that runs short: of descriptors, of disk, of sessions. What cannot be done is refused by
// name, what runs goes on, and all works again when there is enough.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

import { PASSWORD } from './desktop.mjs';
import { descriptorsOf, processOf, readOr, ticksOf } from './host.mjs';
import { discardAll, ownVariables, Server } from './server.mjs';
import { until } from './wait.mjs';

/** One connection that stays. */
const KEPT = { keepAlive: true, maxSockets: 1 };
/** How long a process is watched that shall not spin. */
const WINDOW_MS = 1_000;
/** What it may use of the processor meanwhile; one that spins uses all that it gets. */
const SPINNING_TICKS = 20;

let server;
/** A file system of 24 MiB and 2,000 files: what the server keeps lies on it. */
let disk;
const tokens = {};
let session;
const desktop = { profile: 'desktop', width: 1280, height: 720 };

before(async () => {
  const variables = await ownVariables({ SANDBOX_SESSIONS_MAX: '2' });
  disk = path.join(path.dirname(variables.STATE_DIR), 'disk');
  fs.mkdirSync(disk, { mode: 0o755 });
  mustRun('mount', '-t', 'tmpfs', '-o', 'size=24m,nr_inodes=2000,mode=755', 'tmpfs', disk);
  server = new Server({ ...variables, STATE_DIR: path.join(disk, 'server/state') });
  await server.launch();
  for (const name of ['ada', 'bob', 'cid', 'dan']) {
    server.addUser(name, PASSWORD);
    tokens[name] = await server.login(name, PASSWORD);
  }
  session = await server.startSession(tokens.ada);
});
after(async () => {
  for (const it of alive) it.kill();
  await discardAll();
  spawnSync('umount', [disk]);
  fs.rmSync(path.dirname(disk), { recursive: true, force: true });
});

function mustRun(program, ...args) {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${stderr}`);
}

function assertProblem(answer, status, code) {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(answer.body.code, code, JSON.stringify(answer.body));
  assert.ok(answer.body.detail.length > 8, JSON.stringify(answer.body));
}

const login = (name) => {
  const body = { username: name, password: PASSWORD };
  return server.request('POST', '/api/auth/login', { body });
};
const start = (name) => {
  return server.request('POST', '/api/sessions', { token: tokens[name], body: desktop });
};

/** Ends a desktop and waits until nothing of it is left. */
async function endWhole(name, id) {
  await server.endSession(tokens[name], id);
  await until('its end', () => !server.ownCgroups().some((it) => it.includes(id)));
}

/** Ada's desktop runs as before, all of its processes the same. */
async function adaGoesOn() {
  const { body } = await server.session(tokens.ada, session);
  assert.ok(['ready', 'detached'].includes(body.state), JSON.stringify(body));
  const stats = await server.stats(tokens.ada, session);
  assert.ok(stats.pids > 0);
}

/** Whose sessions the host shows; programs that run come and go. */
function traces() {
  const uids = [...new Set(server.jailed().map((it) => it.uid))].sort();
  return { uids, groups: server.ownCgroups().sort() };
}

/**
 * Lets a process open so many more files; returns what takes the limit back.
 *
 * @param {number} pid
 * @param {number} left
 */
function leaveDescriptors(pid, left) {
  const { uid } = processOf(pid);
  const [, before] = /^Max open files\s+(\d+)/m.exec(readOr(`/proc/${pid}/limits`));
  const set = (value) => {
    // Limits of another user's process are not for everybody who is called root.
    const options = { uid, gid: uid, encoding: 'utf8' };
    const done = spawnSync('prlimit', ['--pid', String(pid), `--nofile=${value}:`], options);
    assert.equal(done.status, 0, done.stderr);
  };
  const open = new Set(Object.keys(descriptorsOf(pid)).map(Number));
  let limit = 0;
  for (let free = 0; ; limit += 1) {
    if (open.has(limit)) continue;
    if (free === left) break;
    free += 1;
  }
  set(limit);
  return () => set(before);
}

test('a session beyond the maximum is refused, and nothing of it is made', async () => {
  const bobs = await server.startSession(tokens.bob);
  const before = traces();
  assertProblem(await start('cid'), 503, 'node_full');
  const ready = await server.request('GET', '/ready');
  assert.equal(ready.status, 503);
  assert.match(JSON.stringify(ready.body), /SANDBOX_SESSIONS_MAX/);
  assert.deepEqual(traces(), before);
  await endWhole('bob', bobs);
  await until('its place', async () => (await server.request('GET', '/ready')).status === 200);
  const cids = await server.startSession(tokens.cid);
  await endWhole('cid', cids);
});

test('a daemon without descriptors goes on, and takes connections again', async () => {
  const daemon = server.daemonPid;
  const [connected, waiting] = [new http.Agent(KEPT), new http.Agent(KEPT)];
  assert.equal(await ask(connected), 200);
  const unlimit = leaveDescriptors(daemon, 0);
  // One more finds no descriptor, and waits; who is connected goes on.
  const answer = ask(waiting);
  await until('the lack to be told', () => /cannot accept connections/.test(server.log));
  assert.equal(await ask(connected), 200);
  const before = ticksOf(daemon);
  await pause(WINDOW_MS);
  assert.ok(ticksOf(daemon) - before < SPINNING_TICKS, 'the daemon spins');
  unlimit();
  assert.equal(await answer, 200);
  assert.equal(server.log.match(/cannot accept connections/g).length, 1, 'it is told once');
  assert.equal(server.daemonPid, daemon);
  for (const agent of [connected, waiting]) agent.destroy();
  await adaGoesOn();
});

/** Asks for the sessions over a connection of the agent's. @returns {Promise<number>} */
function ask(agent) {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${tokens.ada}` };
    const where = { host: '127.0.0.1', port: server.variables.PORT, path: '/api/sessions' };
    const request = http.get({ ...where, agent, headers }, (answer) => {
      answer.resume();
      answer.once('end', () => resolve(answer.statusCode));
    });
    request.once('error', reject);
  });
}

test('a warden without descriptors refuses new sessions and keeps those it has', async () => {
  const before = traces();
  // A few are left: too few for a session, enough to begin one.
  const unlimit = leaveDescriptors(server.wardenPid, 12);
  const answer = await start('bob');
  assertProblem(answer, 503, 'node_full');
  assert.match(answer.body.detail, /LimitNOFILE/);
  assert.deepEqual(traces(), before);

  // None is left at all, and the daemon ends: the next one comes when there are some.
  leaveDescriptors(server.wardenPid, 0);
  const daemon = server.daemonPid;
  process.kill(daemon, 'SIGKILL');
  await until('the lack to be told', () => /no daemon could be started/.test(server.log));
  unlimit();
  await until('the next daemon', async () => {
    const ready = await fetch(`${server.url}/ready`).catch(() => null);
    return ready?.status === 200;
  });
  await adaGoesOn();
  const bobs = await server.startSession(tokens.bob);
  await endWhole('bob', bobs);
});

/** Programs of this file that may still run. */
const alive = new Set();

/** Another program that holds the database, until it is let go. */
async function holdDatabase() {
  const script = `
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute('BEGIN EXCLUSIVE')
print('held', flush=True)
sys.stdin.read()
database.execute('ROLLBACK')`;
  const file = path.join(server.variables.STATE_DIR, 'daemon/state.db');
  const holder = spawn('python3', ['-c', script, file], { stdio: ['pipe', 'pipe', 'inherit'] });
  alive.add(holder);
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  return async () => {
    const ended = new Promise((resolve) => holder.once('exit', resolve));
    holder.stdin.end();
    await ended;
    alive.delete(holder);
  };
}

test('a database that another program holds is waited for, but not for ever', async () => {
  const release = await holdDatabase();
  // They wait side by side, not one after the other.
  const answers = await Promise.all(['ada', 'bob', 'cid', 'ada', 'bob', 'cid'].map(login));
  for (const answer of answers) {
    assertProblem(answer, 503, 'database_held');
    assert.ok(Number(answer.headers.get('retry-after')) > 0);
  }
  await adaGoesOn();
  await replaceDaemon();
  await adaGoesOn();
  const patient = login('bob');
  await release();
  assert.equal((await patient).status, 200);
});

/** Kills the daemon and waits until the next one serves. */
async function replaceDaemon() {
  const daemon = server.daemonPid;
  process.kill(daemon, 'SIGKILL');
  await until('the next daemon', async () => {
    const health = await fetch(`${server.url}/health`).catch(() => null);
    return health?.status === 200 && processOf(daemon) === null;
  });
}

/** Fills the disk to the last byte. @returns {string} the file that does it */
function fillDisk() {
  const file = path.join(disk, 'filler');
  const descriptor = fs.openSync(file, 'w');
  for (let size = 1 << 20; size > 0; size >>= 1) {
    try {
      for (;;) fs.writeSync(descriptor, Buffer.alloc(size));
    } catch (error) {
      assert.equal(error.code, 'ENOSPC');
    }
  }
  fs.closeSync(descriptor);
  return file;
}

test('a full disk refuses sign-ins by name, keeps what runs, and loses nothing', async () => {
  const { home, uid } = server.homeOf('ada');
  const kept = path.join(home, 'kept');
  fs.writeFileSync(kept, 'of value');
  fs.chownSync(kept, uid, uid);
  const filler = fillDisk();
  // The database may have some room of its own.
  const refused = await until('a refusal', async () => {
    const answer = await login('bob');
    return answer.status !== 200 && answer;
  });
  assertProblem(refused, 507, 'storage_full');
  assert.throws(() => fs.writeFileSync(path.join(home, 'new'), 'x'.repeat(5_000)), /ENOSPC/);
  await adaGoesOn();
  // A daemon that starts anew does so without writing.
  await replaceDaemon();
  await adaGoesOn();
  // Who is signed in may start a desktop; it is written down when there is room.
  const bobs = await server.startSession(tokens.bob);
  assert.match(server.log, new RegExp(`not recorded yet.*${bobs}|${bobs}.*not recorded yet`));
  fs.rmSync(filler);
  assert.equal((await login('bob')).status, 200);
  await until('the session to be recorded', async () => isRecorded(bobs));
  // A daemon that starts anew knows what has been recorded, and ends all else.
  await replaceDaemon();
  await server.untilState(tokens.bob, bobs, 'detached');
  await adaGoesOn();
  assert.equal(fs.readFileSync(kept, 'utf8'), 'of value');
  await endWhole('bob', bobs);
});

test('a disk without room for a new home refuses the session, and leaves nothing', async () => {
  const before = traces();
  const files = path.join(disk, 'files');
  fs.mkdirSync(files);
  assert.throws(() => {
    for (let number = 0; ; number += 1) fs.writeFileSync(path.join(files, `${number}`), '');
  }, /ENOSPC/);
  const answer = await start('dan');
  assertProblem(answer, 503, 'start_failed');
  assert.match(answer.body.detail, /home: No space left on device/);
  await until('nothing to be left', () => isDeepStrictEqual(traces(), before));
  await adaGoesOn();
  fs.rmSync(files, { recursive: true });
  const dans = await server.startSession(tokens.dan);
  await endWhole('dan', dans);
});

/** Whether the database holds a session as one that runs. */
function isRecorded(id) {
  const script = `
import sqlite3, sys
database = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)
rows = database.execute('SELECT state FROM sessions WHERE id = ?', [sys.argv[2]]).fetchall()
print(rows[0][0] if rows else 'unknown')`;
  const file = path.join(server.variables.STATE_DIR, 'daemon/state.db');
  const { stdout } = spawnSync('python3', ['-c', script, file, id], { encoding: 'utf8' });
  return stdout.trim() === 'ready';
}

test('through all of this the server and its session lived', async () => {
  await adaGoesOn();
  await server.endSession(tokens.ada, session);
  await server.untilNothingIsLeft();
  await server.stop();
});
