// The API's side of staying signed in.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Api, Problem } from '../api.js';
import { Auth } from '../auth.js';

/**
 * A server whose access token `stale` has run out.
 *
 * @param {{ refresh: () => Response }} options
 */
function serve({ refresh }) {
  const asked = [];
  globalThis.fetch = async (path, { headers }) => {
    asked.push(path);
    await Promise.resolve();
    if (path === '/api/auth/refresh') return refresh();
    if (headers.authorization === 'Bearer fresh') return Response.json({ sessions: [] });
    return Response.json({ code: 'token_invalid' }, { status: 401 });
  };
  const auth = new Auth();
  auth.accept('stale', 'demo');
  return { api: new Api(auth), asked, auth };
}

const fresh = (username = 'demo') => () => Response.json({ access_token: 'fresh', username });
const signedOut = () => Response.json({ code: 'signed_out' }, { status: 401 });

test('a token that has run out is replaced, and the request made again', async () => {
  const { api, asked, auth } = serve({ refresh: fresh() });
  assert.deepEqual(await api.sessions(), []);
  assert.deepEqual(asked, ['/api/sessions', '/api/auth/refresh', '/api/sessions']);
  assert.equal(auth.token, 'fresh');
});

test('requests that fail together refresh once', async () => {
  const { api, asked } = serve({ refresh: fresh() });
  await Promise.all([api.sessions(), api.sessions(), api.sessions()]);
  assert.equal(asked.filter((it) => it === '/api/auth/refresh').length, 1);
});

test('a sign-in that has ended is told as it is, after one attempt', async () => {
  const { api, asked, auth } = serve({ refresh: signedOut });
  await assert.rejects(api.sessions(), (error) => error instanceof Problem && error.isSignedOut);
  assert.deepEqual(asked, ['/api/sessions', '/api/auth/refresh']);
  assert.equal(auth.token, 'stale');
});

test('the sign-in of somebody else in another tab is not taken', async () => {
  const { api, auth } = serve({ refresh: fresh('bob') });
  await assert.rejects(api.sessions(), (error) => error.isSignedOut);
  assert.equal(auth.user, 'demo');
});

test('a server that cannot be reached signs nobody out', async () => {
  const refresh = () => {
    throw new TypeError('network');
  };
  const { api } = serve({ refresh });
  await assert.rejects(api.sessions(), { code: 'unreachable' });
});

test('who is not signed in is not refreshed by a request', async () => {
  const { api, asked, auth } = serve({ refresh: fresh() });
  auth.forget();
  await assert.rejects(api.sessions(), (error) => error.isSignedOut);
  assert.deepEqual(asked, ['/api/sessions']);
});

test('a browser that forbids storage is signed in all the same, and resumes nothing', () => {
  const { auth } = serve({ refresh: fresh() });
  assert.equal(auth.token, 'stale');
  assert.equal(auth.mayResume, false);
});

test('a browser remembers that it was signed in until it is not', () => {
  const marks = new Map();
  globalThis.localStorage = {
    setItem: (name, value) => marks.set(name, value),
    getItem: (name) => marks.get(name) ?? null,
    removeItem: (name) => marks.delete(name),
  };
  const auth = new Auth();
  assert.equal(auth.mayResume, false);
  auth.accept('token', 'demo');
  assert.equal(new Auth().mayResume, true);
  assert.equal(new Auth().token, '', 'the token itself is kept nowhere');
  auth.forget();
  assert.equal(new Auth().mayResume, false);
});
