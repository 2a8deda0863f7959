// What is wrong gets a clear answer, and everybody else goes on.

import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';

import WebSocket from 'ws';

import { PASSWORD } from './desktop.mjs';
import {
  discardAll, ownVariables, runToEnd, seenAs, Server, USER_OF,
} from './server.mjs';
import { until } from './wait.mjs';

const NOBODYS = 'f'.repeat(32);

let server;
let token;
let session;

before(async () => {
  server = await Server.start();
  for (const name of ['ada', 'bob']) server.addUser(name, PASSWORD);
  token = await server.login('ada', PASSWORD);
  session = await server.startSession(token);
});
after(discardAll);

/** A problem document of RFC 9457 with a stable code. */
function assertProblem(answer, status, what) {
  assert.equal(answer.status, status, `${what}: ${JSON.stringify(answer.body)}`);
  assert.match(answer.headers.get('content-type') ?? '', /application\/problem\+json/, what);
  assert.equal(typeof answer.body.code, 'string', what);
  assert.ok((answer.body.detail ?? answer.body.title ?? '').length > 8, what);
}

test('a wrong password and an unknown user get the same answer', async () => {
  const wrong = { username: 'ada', password: 'wrong' };
  const unknown = { username: 'nobody', password: 'wrong' };
  const answers = [];
  for (const body of [wrong, unknown]) {
    answers.push(await server.request('POST', '/api/auth/login', { body }));
  }
  for (const answer of answers) assertProblem(answer, 401, 'login');
  assert.deepEqual(answers[0].body, answers[1].body);
});

/** A request whose Host is not made from its address; null: none at all. */
function requestAs(host, route) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: server.variables.PORT, path: route };
    const headers = host === null ? {} : { Host: host };
    const request = http.get({ ...options, headers, setHost: false }, (answer) => {
      answer.resume();
      answer.once('end', () => resolve(answer.statusCode));
    });
    request.once('error', reject);
  });
}

test('a foreign Host is misdirected, our names are not', async () => {
  const port = server.variables.PORT;
  for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1:1', null]) {
    assert.equal(await requestAs(host, '/health'), 421, host);
  }
  for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`]) {
    assert.equal(await requestAs(host, '/health'), 200, host);
  }
});

test('a foreign Origin may not sign in', async () => {
  const body = { username: 'ada', password: PASSWORD };
  for (const Origin of ['http://evil.example', 'http://localhost:3000', 'null']) {
    const answer = await server.request('POST', '/api/auth/login', { body, headers: { Origin } });
    assertProblem(answer, 403, Origin);
  }
});

test('sessions want a token, a known shape and sizes in range', async () => {
  const post = (body, options = {}) => {
    return server.request('POST', '/api/sessions', { token, body, ...options });
  };
  const good = { profile: 'desktop', width: 1280, height: 720 };
  const expired = 'eyJhbGciOiJub25lIn0.e30.';
  assertProblem(await post(good, { token: undefined }), 401, 'no token');
  assertProblem(await post(good, { token: expired }), 401, 'unsigned token');
  assertProblem(await post(good, { token: `${token.slice(0, -4)}AAAA` }), 401, 'forged token');
  const bob = await server.login('bob', PASSWORD);
  const bobs = (body, headers = {}) => post(body, { token: bob, headers });
  assertProblem(await bobs({ ...good, unknown: 1 }), 422, 'unknown field');
  assertProblem(await bobs({ ...good, profile: '../../etc' }), 422, 'unknown profile');
  assertProblem(await bobs('{'), 400, 'no JSON');
  assertProblem(await bobs('x=1', { 'Content-Type': 'text/plain' }), 415, 'not JSON');
  assertProblem(await bobs(' '.repeat(1_100_000)), 413, 'over 1 MiB');
});

test('a foreign session id looks like a missing one', async () => {
  const bob = await server.login('bob', PASSWORD);
  for (const [method, route] of [
    ['GET', `/api/sessions/${session}`],
    ['DELETE', `/api/sessions/${session}`],
    ['GET', `/api/sessions/${session}/stats`],
    ['GET', `/api/sessions/${NOBODYS}`],
    ['DELETE', `/api/sessions/${NOBODYS}`],
  ]) {
    assertProblem(await server.request(method, route, { token: bob }), 404, route);
  }
  assert.notEqual((await server.session(token, session)).body.state, 'ended');
});

/**
 * Opens /ws, says `messages` and collects what comes back until it closes.
 *
 * @returns {Promise<{answers: any[], code?: number, status?: number}>}
 */
function converse(messages, { id = session, origin = server.url } = {}) {
  const address = `ws://127.0.0.1:${server.variables.PORT}/ws?session=${id}`;
  const socket = new WebSocket(address, { origin });
  const answers = [];
  let status;
  const closed = new Promise((resolve) => {
    socket.on('open', () => {
      for (const message of messages) socket.send(message);
    });
    socket.on('message', (text) => answers.push(JSON.parse(String(text))));
    socket.on('unexpected-response', (_, answer) => {
      status = answer.statusCode;
      socket.terminate();
      resolve({ answers, status });
    });
    socket.on('error', () => socket.terminate());
    socket.on('close', (code) => resolve({ answers, code, status }));
  });
  const patience = new Promise((_, reject) => {
    setTimeout(() => reject(new Error('/ws did not close')), 30_000).unref();
  });
  return Promise.race([closed, patience]);
}

const auth = (value) => JSON.stringify({ type: 'auth', token: value });

test('/ws refuses a foreign Origin before it is a WebSocket', async () => {
  const { status } = await converse([], { origin: 'http://evil.example' });
  assert.equal(status, 403);
});

test('/ws says what was wrong and closes', async () => {
  const offer = (sdp) => JSON.stringify({ type: 'offer', sdp, width: 1280, height: 720 });
  const cases = {
    'a bad token': [auth('nonsense')],
    'an offer before the token': [offer('v=0')],
    'no JSON': ['{'],
    'an unknown message': [auth(token), '{"type":"dance"}'],
    'a malformed description': [auth(token), offer('v=0\r\nnonsense')],
  };
  for (const [what, messages] of Object.entries(cases)) {
    const { answers } = await converse(messages);
    const error = answers.find((it) => it.type === 'error');
    assert.ok(error, `${what}: ${JSON.stringify(answers)}`);
    assert.match(error.code, /^[a-z][a-z_]+$/, what);
    assert.ok(error.message.length > 8, what);
    assert.equal(error.is_final, true, what);
  }
  const foreign = await server.login('bob', PASSWORD);
  const [theirs, missing] = [
    await converse([auth(foreign)]),
    await converse([auth(foreign)], { id: NOBODYS }),
  ];
  assert.deepEqual(theirs.answers, missing.answers);
});

test('a message over 64 KiB closes /ws, and the session lives', async () => {
  const { code } = await converse([auth(token), 'x'.repeat(65_537)]);
  assert.ok([1006, 1008, 1009].includes(code), `closed with ${code}`);
  const { body } = await server.session(token, session);
  assert.ok(['ready', 'detached'].includes(body.state), body.state);
});

test('a silent /ws is closed', async () => {
  const { code } = await converse([]);
  assert.notEqual(code, undefined);
});

test('an occupied port is named with its holder and its variable', async () => {
  const holder = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => holder.once('listening', resolve));
  const { port } = holder.address();
  const { error, status } = await refusal({ PORT: String(port) });
  holder.close();
  assert.equal(status, 1, error);
  assert.match(error, new RegExp(`\\b${port}\\b`));
  assert.match(error, /\bPORT\b/);
  assert.ok(error.includes(seenAs(process.pid)), `the holder is not named: ${error}`);

  const udp = dgram.createSocket('udp4');
  await new Promise((resolve) => udp.bind(0, '127.0.0.1', () => resolve()));
  const taken = udp.address().port;
  const media = await refusal({ MEDIA_PORT: String(taken) });
  udp.close();
  assert.equal(media.status, 1, media.error);
  assert.match(media.error, new RegExp(`\\b${taken}\\b`));
  assert.match(media.error, /MEDIA_PORT/);
});

/** Starts a server that shall refuse. */
async function refusal(changes, args = ['serve']) {
  const variables = await ownVariables(changes);
  const { status, stderr } = runToEnd(args, variables);
  if (!('STATE_DIR' in changes)) {
    fs.rmSync(path.dirname(variables.STATE_DIR), { recursive: true, force: true });
  }
  return { status, error: stderr };
}

test('a configuration out of range is refused by name, value and range', async () => {
  const cases = {
    PORT: '70000',
    MEDIA_PORT: 'three',
    SANDBOX_MEMORY_LIMIT_MB: '1',
    SANDBOX_CPU_PERCENT: '0',
    SANDBOX_PID_LIMIT: '-5',
    SANDBOX_SESSION_TIMEOUT_SECS: '0',
    VIDEO_FRAMERATE: '100000',
    VIDEO_BITRATE_KBPS: '0',
    VIDEO_CODEC: 'theora',
    SANDBOX_NETWORK: 'everything',
    SANDBOX_UNKNOWN: '1',
    RATE_LIMIT_LOGIN: 'many',
  };
  for (const [name, value] of Object.entries(cases)) {
    const { status, error } = await refusal({ [name]: value });
    assert.equal(status, 2, `${name}=${value}: ${error}`);
    assert.match(error, new RegExp(name), `${name} is not named: ${error}`);
    if (name !== 'SANDBOX_UNKNOWN') assert.ok(error.includes(value), `${value}: ${error}`);
  }
  const secret = await refusal({ JWT_SECRET: 'CHANGE_ME' });
  assert.equal(secret.status, 2);
  assert.match(secret.error, /JWT_SECRET/);
  const short = await refusal({ JWT_SECRET: 'c2VjcmV0' });
  assert.equal(short.status, 2);
  assert.ok(!short.error.includes('c2VjcmV0'), 'a secret is echoed');
  const unknown = await refusal({}, ['dance']);
  assert.equal(unknown.status, 2);
  assert.match(unknown.error, /dance/);
});

test('a second server on the same directory or uid range is refused by its name', async () => {
  const { STATE_DIR, RUNTIME_DIR, SANDBOX_UID_BASE } = server.variables;
  const overlapping = String(Number(SANDBOX_UID_BASE) + 16);
  const again = (changes) => refusal({ ...changes, [USER_OF]: server.variables });
  for (const [name, value] of Object.entries({ STATE_DIR, RUNTIME_DIR, SANDBOX_UID_BASE })) {
    const { error, status } = await again({ [name]: value });
    assert.equal(status, 1, `${name}: ${error}`);
    assert.ok(error.includes(name) && error.includes(value), `${name}: ${error}`);
  }
  const overlap = await again({ SANDBOX_UID_BASE: overlapping });
  assert.equal(overlap.status, 1, overlap.error);
  assert.match(overlap.error, /SANDBOX_UID_BASE/);
  // The first one has not lost anything that its session stands on.
  const { pids } = await server.stats(token, session);
  assert.ok(pids > 0);
  assert.ok(fs.readdirSync(RUNTIME_DIR).some((it) => it.startsWith('session-')));
});

test('through all of this the server and its session lived', async () => {
  const { body } = await server.session(token, session);
  assert.ok(['ready', 'detached'].includes(body.state), body.state);
  await server.endSession(token, session);
  await until('the session to end', async () => server.leftovers().length === 0);
  await server.stop();
});
