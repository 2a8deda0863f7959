// A native viewer where UDP is blocked: by a WebSocket, through a proxy that ends TLS.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { onlySession, PASSWORD, serverWith } from './desktop.mjs';
import { closeViewers, NativeViewer, runInTerminal, xvfbOf } from './native.mjs';
import { Proxy } from './proxy.mjs';
import { Relay } from './relay.mjs';
import { discardAll } from './server.mjs';
import { Typing } from './typing.mjs';
import { endViewers, view } from './viewer.mjs';
import { until } from './wait.mjs';

const SEED = Number(process.env.SEED ?? 7);
const KEYS = 60;
/** Bytes in a second of a slow network: 1.6 Mbit/s. */
const RATE = 200_000;
/** What may come after the last change: a picture, and as much on its way before it. */
const QUEUE_BYTES_MAX = 400_000;

let server;
let relay;
let proxy;
let memory;
let viewer;
let typing;

before(async () => {
  memory = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-tunnel-'));
  [relay, proxy] = [await Relay.open(), await Proxy.open(memory)];
  server = await serverWith(['ada'], '', {}, {
    PUBLIC_URL: proxy.url,
    TRUSTED_PROXIES: '127.0.0.1',
  });
  relay.connect(Number(server.variables.MEDIA_PORT));
  proxy.connect(Number(server.variables.PORT));
});
after(async () => {
  closeViewers();
  endViewers();
  await discardAll();
  relay?.close();
  proxy?.close();
  fs.rmSync(memory, { recursive: true, force: true });
});

const start = () => new NativeViewer({ port: relay.address.split(':')[1], memory }).show();
const xvfb = () => xvfbOf(server, 'ada');

test('by UDP a viewer learns where the server is without it', async () => {
  const first = await start();
  await first.untilBy('udp');
  assert.equal(await first.leave(), 0, first.said);
  assert.equal(proxy.opened, 0);
});

test('where UDP is blocked it types and sees by a WebSocket', async () => {
  relay.lose('all', 1);
  viewer = await start();
  await viewer.untilBy('websocket');
  await runInTerminal(viewer, server, 'ada', 'touch ready', 'ready');
  await viewer.untilExact(xvfb());
});

test('the daemon is killed: it is back by the same way, without a password', async () => {
  const signIns = () => server.log.split('signed in').length;
  const before = signIns();
  process.kill(server.daemonPid, 'SIGKILL');
  await until('the viewer to notice', () => /WebSocket to the server broke/.test(viewer.said));
  await runInTerminal(viewer, server, 'ada', 'touch again', 'again');
  await viewer.untilBy('websocket');
  assert.equal(signIns(), before);
  await viewer.untilExact(xvfb());
});

test('over a slow network nothing is queued: the picture is the newest one', async (t) => {
  proxy.limit(RATE);
  const { home } = server.homeOf('ada');
  viewer.type('rm -f over; seq 1 100000; touch over');
  await until('much to be printed', () => fs.existsSync(path.join(home, 'over')));
  const before = proxy.bytes;
  await viewer.untilExact(xvfb());
  const bytes = proxy.bytes - before;
  t.diagnostic(`${bytes} bytes came after the last change`);
  assert.ok(bytes < QUEUE_BYTES_MAX, `${bytes} bytes came after the last change`);
  proxy.limit(Infinity);
});

test('UDP that falls silent is followed by a WebSocket before it is given up', async () => {
  relay.lose('none', 1);
  assert.equal(await viewer.leave(), 0, viewer.said);
  viewer = await start();
  await viewer.untilBy('udp');
  viewer.type('bin/sandbox-barcode --log keys.log');
  typing = new Typing(server, 'ada', viewer);
  await typing.untilHeard();
  await typing.typeDuring(KEYS, SEED, () => relay.lose('all', 1));
  await viewer.untilBy('websocket');
  await viewer.untilExact(xvfb());
  assert.doesNotMatch(viewer.said, /the server is silent/);
  const token = await server.login('ada', PASSWORD);
  const { id } = await onlySession(server, token);
  assert.equal((await server.stats(token, id)).viewers, 1, 'nobody is left behind');
});

test('UDP that is answered before there is another way goes on', async () => {
  relay.lose('none', 1);
  assert.equal(await viewer.leave(), 0, viewer.said);
  viewer = await start();
  await viewer.untilBy('udp');
  typing.viewer = viewer;
  const opened = proxy.opened;
  // Another way is looked for, and not found.
  proxy.limit(0);
  await typing.typeDuring(KEYS, SEED, () => {
    relay.cut();
    const search = until('a search for another way', () => proxy.opened > opened);
    search.then(() => relay.mend());
  });
  proxy.limit(Infinity);
  await viewer.untilExact(xvfb());
  await viewer.untilBy('udp');
});

test('where UDP works again the next connection goes by it', async () => {
  assert.equal(await viewer.leave(), 0, viewer.said);
  relay.lose('none', 1);
  viewer = await start();
  await viewer.untilBy('udp');
  await viewer.untilExact(xvfb());
  assert.equal(await viewer.leave(), 0, viewer.said);
});

test('a key that is not the pinned one is refused inside a WebSocket too', async () => {
  const pin = `#pin=sha256:${'0'.repeat(64)}`;
  const env = { SANDBOX_PASSWORD: PASSWORD, XDG_DATA_HOME: memory };
  const stranger = view(`ada@${relay.address}${pin}`, { env, args: ['--transport', 'websocket'] });
  assert.equal(await stranger.exited, 3, stranger.said);
  assert.match(stranger.said, /another key/);
});

/** The status of the answer to a request for a WebSocket. */
function upgrade(query, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({
      host: '127.0.0.1',
      port: server.variables.PORT,
      path: `/ws${query}`,
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        ...headers,
      },
    });
    request.on('upgrade', ({ statusCode }, socket) => {
      socket.destroy();
      resolve(statusCode);
    });
    request.on('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
    request.end();
  });
}

test('no page of somebody else gets a way in, and no other mode exists', async () => {
  const elsewhere = { Origin: 'https://evil.example' };
  assert.equal(await upgrade('?mode=media'), 101);
  assert.equal(await upgrade('?mode=media', { Host: 'any.name' }), 101, 'the key is its name');
  assert.equal(await upgrade('?mode=media', elsewhere), 403);
  const rebound = { Host: 'evil.example', ...elsewhere };
  assert.equal(await upgrade('?mode=media', rebound), 421);
  assert.equal(await upgrade('?session=1'), 403, 'signalling is for pages');
  const own = { Origin: proxy.url };
  for (const query of ['', '?mode=video', '?mode=media&session=1', '?mode=media&mode=media']) {
    assert.equal(await upgrade(query, own), 400, query);
  }
  assert.equal(await upgrade('?mode=media', { Upgrade: 'h2c' }), 400);
});

test('a server that is stopped says so by a WebSocket too', async () => {
  relay.lose('all', 1);
  viewer = await start();
  await viewer.untilBy('websocket');
  await server.stop();
  await until(`a word of the end; the viewer says ${viewer.said}`, () => {
    return /goes down|session has ended/.test(viewer.said);
  });
});
