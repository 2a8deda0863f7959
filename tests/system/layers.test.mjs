// A kernel that lacks a layer, on the real server: the session is refused by the layer's name and
// nothing of it is started; what is only reported is said.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { PASSWORD } from './desktop.mjs';
import { mounts } from './host.mjs';
import { discardAll, refusing, Server } from './server.mjs';

/** System calls that the kernel lacks, and the layer that is missed. */
const REQUIRED = {
  unshare: 'cgroup_namespace',
  move_mount: 'root',
  pivot_root: 'pivot_root',
  'seccomp,prctl(PR_SET_SECCOMP)': 'seccomp',
};

let server;
before(async () => {
  server = await Server.start();
  server.addUser('ada', PASSWORD);
});
after(discardAll);

/** The same server, started anew on a kernel without these system calls. */
async function restartWithout(calls) {
  await server.stop();
  server.launcher = refusing(calls);
  await server.launch();
}

async function wish(token) {
  const body = { profile: 'desktop', width: 1280, height: 720 };
  return server.request('POST', '/api/sessions', { token, body });
}

for (const [calls, layer] of Object.entries(REQUIRED)) {
  test(`without ${calls} there is no session, and ${layer} is named`, async () => {
    await restartWithout(calls);
    const token = await server.login('ada', PASSWORD);
    const before = mounts().length;
    const { status, body } = await wish(token);
    assert.deepEqual([status, body.code], [503, 'layer_missing'], JSON.stringify(body));
    assert.match(body.detail, new RegExp(`lacks ${layer}\\b`));
    assert.match(body.detail, /not implemented/);
    await server.untilNothingIsLeft();
    assert.equal(mounts().length, before);
    const ready = await server.request('GET', '/ready');
    assert.equal(ready.status, 503);
    assert.match(JSON.stringify(ready.body), new RegExp(layer));
    const id = /no desktop session=([0-9a-f]{32})/.exec(server.log);
    assert.ok(id, server.log.slice(-2_000));
  });
}

test('without Landlock there is a session, and it says so', async () => {
  await restartWithout('landlock_create_ruleset');
  const token = await server.login('ada', PASSWORD);
  const { status, body } = await wish(token);
  assert.equal(status, 201, JSON.stringify(body));
  assert.match(server.log, /weaker=\[.*landlock/);
  await server.endSession(token, body.id);
  await server.untilNothingIsLeft();
  await server.stop();
});
