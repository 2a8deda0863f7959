// What `doctor` says about this host: truths that the test can see for itself.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import { after, test } from 'node:test';

import {
  discardAll,
  freePort,
  installed,
  ownVariables,
  runToEnd,
  seenAs,
  Server,
  STARTED_AS,
} from './server.mjs';

after(discardAll);

/** @returns {{code: number, said: string, of: (subject: string) => object}} */
function doctor(variables, before = []) {
  const { status, stdout, stderr } = runToEnd(['doctor', '--json'], variables, '', before);
  const { can_start: canStart, findings } = JSON.parse(stdout);
  assert.equal(status, canStart ? 0 : 4, stderr);
  const of = (subject) => findings.find((it) => it.subject === subject);
  return { code: status, said: stderr, of };
}

test('doctor says what this host is', async () => {
  const variables = await ownVariables();
  const { code, of } = doctor(variables);
  assert.equal(code, 0, 'the other tests start desktops here');
  assert.equal(of('kernel').found, `Linux ${os.release()}`);
  const who = variables[STARTED_AS] === 'root' ? 'root' : 'ordinary, an ordinary user';
  assert.deepEqual([of('rights').found, of('namespaces').verdict], [who, 'ok']);
  const mounts = fs.readFileSync('/proc/self/mountinfo', 'utf8');
  const layout = [' - cgroup ', ' - cgroup2 '].map((it) => mounts.includes(it));
  assert.deepEqual(
    ['v1', 'v2'].map((it) => of('cgroups').found.includes(it)),
    layout,
  );
  const packages = { xvfb: 'Xvfb', openbox: 'openbox', tint2: 'tint2', xsetroot: 'xsetroot' };
  for (const [subject, file] of Object.entries(packages)) {
    assert.equal(of(subject).verdict === 'ok', fs.existsSync(`/usr/bin/${file}`), subject);
  }
  assert.match(of('encoder').found, /build \d+|openh264/);
  // It looks and changes nothing.
  assert.equal(fs.existsSync(variables.STATE_DIR), false);
});

test('doctor names the holder of a port, and knows its own server', async () => {
  const server = await Server.start();
  const address = `TCP 127.0.0.1:${server.variables.PORT}`;
  const own = doctor(server.variables);
  assert.equal(own.of(address).verdict, 'ok', own.of(address).found);
  await server.discard();

  const port = await freePort();
  const holder = net.createServer().listen(port, '127.0.0.1');
  await new Promise((resolve) => holder.once('listening', resolve));
  const { code, said, of } = doctor(await ownVariables({ PORT: String(port) }));
  holder.close();
  assert.equal(code, 4);
  assert.ok(said.includes(`TCP 127.0.0.1:${port}`), said);
  assert.ok(of(`TCP 127.0.0.1:${port}`).found.includes(seenAs(process.pid)));
  assert.match(of(`TCP 127.0.0.1:${port}`).fix, /PORT/);
});

test('doctor says what an ordinary user has, and what root would have to give', async () => {
  const ranged = doctor(await ownVariables({ [STARTED_AS]: 'range' }));
  assert.equal(ranged.code, 0);
  assert.match(ranged.of('uids').found, /^a range of their own for 4096 people/);
  assert.equal(ranged.of('cgroups').verdict, 'ok', ranged.of('cgroups').found);
  const one = doctor(await ownVariables({ [STARTED_AS]: 'one' }));
  assert.equal(one.of('uids').verdict, 'weaker');
  assert.match(one.of('uids').fix, /usermod --add-subuids \d+-\d+ .* ordinary$/);
});

test('a range that cannot be mapped, as in many containers, is found out by trying', async () => {
  const variables = await ownVariables({ [STARTED_AS]: 'range' });
  // What the set-uid program newuidmap has of its own is gone.
  const { code, of } = doctor(variables, ['setpriv', '--no-new-privs']);
  assert.equal(code, 0);
  assert.equal(of('uids').verdict, 'weaker');
  assert.match(of('uids').found, /newuidmap refuses: /);
});

/** Asks the doctor in a mount namespace of its own, after what `script` does there. */
async function doctorAfter(script) {
  const env = { PATH: '/bin:/usr/bin:/sbin:/usr/sbin', ...(await ownVariables()) };
  const all = `set -e; ${script}; exec ${installed('sandbox-server')} doctor --json`;
  const { status, stdout, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', all], {
    env,
    encoding: 'utf8',
  });
  assert.equal(status, 4, stderr);
  return (subject) => JSON.parse(stdout).findings.find((it) => it.subject === subject);
}

test('a part that is taken away is named with its package', async () => {
  // Over the programs of the host.
  const of = await doctorAfter(`
    mount -t tmpfs none /mnt
    mkdir /mnt/upper /mnt/work
    mount -t overlay none -o lowerdir=/usr/bin,upperdir=/mnt/upper,workdir=/mnt/work /usr/bin
    rm /usr/bin/Xvfb`);
  const xvfb = of('xvfb');
  assert.deepEqual([xvfb.verdict, xvfb.fix], ['missing', 'apt-get install xvfb']);
});

test('a /proc that is covered in part, as in containers, is named with the way out', async () => {
  // Another /proc that this host may have, of a chroot say, would show what this one hides.
  const of = await doctorAfter(`
    findmnt -nl -t proc -o TARGET | grep -vx /proc | xargs -r umount -l
    mount -t tmpfs none /proc/fs`);
  const { verdict, found } = of('namespaces');
  assert.equal(verdict, 'missing');
  assert.match(found, /\/proc\/fs is covered.*systempaths=unconfined/);
});
