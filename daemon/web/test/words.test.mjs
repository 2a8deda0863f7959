// Plain words for what went wrong.

import assert from 'node:assert/strict';
import test from 'node:test';

import { onceLink } from '../auth.js';
import { signalUrl } from '../signal.js';
import {
  blockedWords, candidateAddresses, endWords, memoryWords, problemWords,
} from '../words.js';

const problem = (fields) =>
  problemWords({ code: 'x', status: 500, detail: '', retryAfter: 0, ...fields }, 'here:8080');

test('a problem is told by its code, else by its status, else in the server’s words', () => {
  assert.match(problem({ code: 'unreachable' }), /does not answer at here:8080/);
  assert.match(problem({ code: 'invalid_credentials', status: 401 }), /do not belong together/);
  assert.match(problem({ status: 429, retryAfter: 40 }), /in 40 seconds/);
  assert.match(problem({ status: 429, retryAfter: 600 }), /in 10 minutes/);
  assert.equal(problem({ status: 503, detail: 'no libx264 here' }), 'No libx264 here.');
  assert.match(problem({ code: 'http_500' }), /http_500/);
});

test('blocked media is told by port, host and protocol', () => {
  const words = blockedWords({ udp: ['192.0.2.7:3478'], tcp: ['192.0.2.7:8080'], host: 'h' });
  assert.match(words, /UDP port 3478 on 192\.0\.2\.7 seems blocked/);
  assert.match(words, /fallback over TCP port 8080 on 192\.0\.2\.7 failed too/);
  assert.match(
    blockedWords({ udp: ['192.0.2.7:3478', '[2001:db8::1]:3478'], tcp: [], host: 'desk.example' }),
    /UDP port 3478 on desk\.example/,
  );
  assert.match(blockedWords({ udp: [], tcp: [], host: 'h' }), /MEDIA_ADVERTISE/);
});

test('the addresses of an answer are found, of both families and protocols', () => {
  const sdp = [
    'v=0',
    'a=candidate:1 1 udp 2130706431 192.0.2.7 3478 typ host',
    'a=candidate:2 1 UDP 2130706430 2001:db8::1 3478 typ host',
    'a=candidate:3 1 tcp 1671430143 192.0.2.7 8080 typ host tcptype passive',
    'a=end-of-candidates',
  ].join('\r\n');
  assert.deepEqual(candidateAddresses(sdp), {
    udp: ['192.0.2.7:3478', '[2001:db8::1]:3478'],
    tcp: ['192.0.2.7:8080'],
  });
});

test('every reason has words, unknown ones their name', () => {
  assert.match(endWords('x_held_by_program'), /stopped answering/);
  assert.match(endWords('something_else'), /something_else/);
});

test('a single-use link is read, and nonsense in the address is not', () => {
  const code = 'abcdefghijklmnopqrstuvwx';
  assert.deepEqual(onceLink(`#once=${code}&user=demo`), { code, user: 'demo' });
  assert.deepEqual(onceLink(`#once=${code}`), { code, user: '' });
  assert.deepEqual(onceLink(`#once=${code}&user=<b>`), { code, user: '' });
  for (const hash of ['', '#', '#once=', '#once=short', `#once=${code}%20x`, '#user=demo']) {
    assert.equal(onceLink(hash), null, hash);
  }
});

test('the socket is on the host of the page, whatever the server calls itself', () => {
  const check = (url, page, expected) => assert.equal(signalUrl(url, page), expected);
  check('ws://localhost:80/ws?session=a', 'http://[::1]:9000/', 'ws://[::1]:9000/ws?session=a');
  check('/ws?session=a', 'https://desk.example/', 'wss://desk.example/ws?session=a');
});

test('programs that were ended for memory are named as far as they are known', () => {
  const words = (killed, programs) => memoryWords({ limit_mb: 512, killed, programs });
  const start = 'The desktop ran out of memory (512 MB): ';
  assert.equal(words(1, ['xterm']), `${start}xterm was ended.`);
  assert.equal(words(2, ['xterm', 'sort']), `${start}xterm and sort were ended.`);
  assert.equal(words(1, []), `${start}a program was ended.`);
  assert.equal(words(3, []), `${start}3 programs were ended.`);
  assert.equal(words(2, ['xterm']), `${start}xterm and one other program were ended.`);
  assert.equal(words(5, ['xterm', 'sort']), `${start}xterm, sort and 3 other programs were ended.`);
});
