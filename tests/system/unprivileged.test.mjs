// Without root: the server of an ordinary user, with a range of uids and without one.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { waitForNumber } from './barcode.mjs';
import { close, onlySession, openBarcode, openBrowser, PASSWORD, serverWith } from './desktop.mjs';
import { cgroupValue, descendants, NAMESPACES, namespacesOf, statusOf } from './host.mjs';
import { runToEnd, STARTED_AS } from './server.mjs';
import { until } from './wait.mjs';

const NONE = '0000000000000000';

let browser;
after(() => close(browser));

test('an ordinary user with a range of uids serves a desktop with a uid for each part', () =>
  serveAs('range', ({ warden, daemon, jails, notices }) => {
    const uids = jails.map((jail) => new Set(jail.map((it) => it.uid)));
    assert.deepEqual(uids.map((it) => it.size), [1, 1, 1], 'a jail has several uids');
    const all = [warden, daemon, ...jails.map(([first]) => first)].map((it) => it.uid);
    assert.equal(new Set(all).size, 5, `parts share a uid: ${all}`);
    assert.ok(!notices.some((it) => it.startsWith('uids:')), notices.join('\n'));
  }));

test('one without a range serves it under one uid, and the page says so', () =>
  serveAs('one', ({ warden, daemon, jails, notices }) => {
    const all = [warden, daemon, ...jails.flat()].map((it) => it.uid);
    assert.deepEqual([...new Set(all)], [warden.uid]);
    assert.ok(notices.some((it) => it.startsWith('uids: every desktop')), notices.join('\n'));
  }));

/** Types into a desktop of such a server, looks at its processes and ends it. */
async function serveAs(as, check) {
  const server = await serverWith(['ada'], undefined, undefined, { [STARTED_AS]: as });
  browser ??= await openBrowser();
  const page = await openBarcode(browser, server, 'ada');
  for (const key of ['KeyA', 'KeyS', 'KeyD', 'Enter']) await page.keyboard.press(key);
  await waitForNumber(page, 4);
  const log = path.join(server.homeOf('ada').home, 'keys.log');
  assert.equal(fs.readFileSync(log, 'utf8').trim().split('\n').length, 4);

  const parts = partsOf(server);
  assert.ok(parts.warden.uid !== 0);
  assert.notEqual(namespacesOf(parts.warden.pid).user, namespacesOf('self').user);
  for (const process of [parts.daemon, ...parts.jails.flat()]) {
    const status = statusOf(process.pid);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
      assert.equal(status[set], NONE, `${set} of ${process.name}`);
    }
    assert.equal(status.NoNewPrivs, '1', process.name);
  }
  checkJails(parts.jails);
  const notices = await until('the notices', async () => {
    const all = await page.locator('#notices li').allTextContents();
    return all.some((it) => it.includes('not encrypted')) && all;
  });
  check({ ...parts, notices });

  // Who started the server can read the link that no terminal shows, and nobody else.
  const link = runToEnd(['user', 'link', 'ada'], server.variables);
  assert.equal(link.status, 0, link.stderr);
  const { uid, mode } = fs.statSync(link.stdout.trim());
  assert.deepEqual([uid, mode & 0o777], [parts.warden.uid, 0o600]);

  const token = await server.login('ada', PASSWORD);
  const { id } = await onlySession(server, token);
  await server.endSession(token, id);
  await server.untilNothingIsLeft();
  await server.stop();
  await page.context().close();
  await server.discard();
}

/** Warden, daemon and the jails of the only session, each by its processes. */
function partsOf(server) {
  const all = descendants(server.wardenPid);
  const daemon = all.find((it) => it.pid === server.daemonPid);
  const outside = namespacesOf('self').pid;
  const jails = new Map();
  for (const process of all) {
    const { pid } = namespacesOf(process.pid);
    if (pid && pid !== outside) jails.set(pid, [...(jails.get(pid) ?? []), process]);
  }
  const [uid] = statusOf(server.wardenPid).Uid.split('\t');
  const warden = { pid: server.wardenPid, uid: Number(uid) };
  return { warden, daemon, jails: [...jails.values()] };
}

function checkJails(jails) {
  assert.equal(jails.length, 3);
  for (const name of NAMESPACES) {
    const own = [namespacesOf('self')[name], ...jails.map(([it]) => namespacesOf(it.pid)[name])];
    assert.equal(new Set(own).size, 4, `${name}: ${own}`);
  }
  for (const process of jails.flat()) {
    assert.equal(statusOf(process.pid).Seccomp, '2', process.name);
    assert.notEqual(cgroupValue(process.pid, 'pids', 'pids.max'), 'max', process.name);
  }
}
