// Upgrades to files that do not start: the daemon that runs goes on and says why. And one that
// does, under TLS.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import tls from 'node:tls';

import { PASSWORD } from './desktop.mjs';
import { discardAll, installed, ownVariables, Server } from './server.mjs';
import { until } from './wait.mjs';

const IS_LONG = process.env.LONG === '1';

let server;
let token;
let session;
before(async () => {
  // For this file's own requests.
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  const maker = new Server(await ownVariables({ TLS_SELF_SIGNED: 'true' }));
  await maker.launch();
  await maker.stop();
  // The certificate that it made, as an operator's: its key is root's alone.
  const home = path.dirname(maker.variables.STATE_DIR);
  const pair = { TLS_CERT: path.join(home, 'cert.pem'), TLS_KEY: path.join(home, 'key.pem') };
  const made = path.join(maker.variables.STATE_DIR, 'daemon');
  fs.copyFileSync(path.join(made, 'tls.crt'), pair.TLS_CERT);
  fs.copyFileSync(path.join(made, 'tls.key'), pair.TLS_KEY);
  for (const file of Object.values(pair)) {
    fs.chownSync(file, 0, 0);
    fs.chmodSync(file, 0o600);
  }
  server = new Server({ ...maker.variables, ...pair, TLS_SELF_SIGNED: 'false' });
  // A file of its own, which the tests may replace.
  server.program = path.join(home, 'sandbox-server');
  fs.copyFileSync(installed('sandbox-server'), server.program);
  await server.launch();
  server.addUser('ada', PASSWORD);
  token = await server.login('ada', PASSWORD);
  session = await server.startSession(token);
});
after(discardAll);

/** Puts a file in the program's place, as a package does, and asks for the upgrade. */
function upgradeTo(file) {
  fs.copyFileSync(file, `${server.program}.new`);
  fs.chmodSync(`${server.program}.new`, 0o755);
  fs.renameSync(`${server.program}.new`, server.program);
  server.log = '';
  process.kill(server.wardenPid, 'SIGUSR2');
}

/** The upgrade comes to nothing, and nobody notices. */
async function refuses(file, why) {
  const daemon = server.daemonPid;
  upgradeTo(file);
  await until('the end of the upgrade', () => /the old one goes on/.test(server.log));
  assert.match(server.log, why);
  assert.equal(server.daemonPid, daemon);
  const { pids } = await server.stats(token, session);
  assert.ok(pids > 0);
  await server.login('ada', PASSWORD);
}

/** The certificate that a fresh connection is shown. */
async function fingerprint() {
  const options = { host: '127.0.0.1', port: server.variables.PORT, rejectUnauthorized: false };
  const socket = tls.connect(options);
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
  });
  const found = socket.getPeerCertificate().fingerprint256;
  socket.destroy();
  return found;
}

test('an upgrade to a program that ends at once is none', async () => {
  await refuses('/bin/false', /it ended before it served|closed its link/);
});

test('an upgrade to a file that is no program is none', async () => {
  await refuses('/etc/os-release', /it ended before it served|closed its link/);
});

test('an upgrade to a file that others may change is none', async () => {
  const daemon = server.daemonPid;
  fs.chmodSync(server.program, 0o777);
  server.log = '';
  process.kill(server.wardenPid, 'SIGUSR2');
  await until('the end of the upgrade', () => /the old one goes on/.test(server.log));
  assert.match(server.log, /lets others write/);
  assert.equal(server.daemonPid, daemon);
});

test('an upgrade to a program that never serves is none', { skip: !IS_LONG }, async () => {
  // It reads what it is told and says nothing.
  await refuses('/usr/bin/tee', /it did not serve within 10 s/);
});

test('after an upgrade the certificate is served as before, and the desktop lives', async () => {
  const [daemon, shown] = [server.daemonPid, await fingerprint()];
  upgradeTo(installed('sandbox-server'));
  await until('the next daemon', () => /the old one ends/.test(server.log));
  await until('the old one to be gone', () => !fs.existsSync(`/proc/${daemon}`));
  assert.notEqual(server.daemonPid, daemon);
  assert.equal(await fingerprint(), shown);
  await server.untilState(token, session, 'detached');
  await server.endSession(token, session);
  await server.untilNothingIsLeft();
  await server.stop();
});
