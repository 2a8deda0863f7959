// What /proc, the cgroups and a probe inside the desktop say about the walls.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { close, openBarcode, openBrowser, serverWith, SHOW_BARCODE } from './desktop.mjs';
import {
  cgroupValue,
  descendants,
  descriptorsOf,
  environmentOf,
  NAMESPACES,
  namespacesOf,
  readOr,
  socketPathsOf,
  statusOf,
} from './host.mjs';
import { until } from './wait.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const NONE = '0000000000000000';

/** What a desktop's programs need to find their way. */
const PROGRAM_VARIABLES = new Set([
  'PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'TERM', 'SHELL', 'DISPLAY', 'XAUTHORITY', 'PWD',
  'XDG_RUNTIME_DIR', 'XDG_CONFIG_DIRS', 'XDG_DATA_DIRS', 'XDG_CURRENT_DESKTOP', 'OLDPWD', 'SHLVL',
  'XDG_SESSION_TYPE', '_', 'GTK_THEME', 'NO_AT_BRIDGE', 'GDK_BACKEND', 'GIO_USE_VFS',
  'GSETTINGS_BACKEND', 'XDG_SESSION_DESKTOP', 'DESKTOP_SESSION', 'GTK_A11Y',
  'DBUS_SESSION_BUS_ADDRESS', 'DESKTOP_GREETED',
]);
/** The window manager and what it starts may add names of their own. */
const ADDED_BY_PROGRAMS = /^(OPENBOX|_OB_|XTERM_|WINDOWID|COLORTERM|MAIL|LINES|COLUMNS|XDG_MENU)/;

let server;
let browser;

before(async () => {
  const probe = { text: fs.readFileSync(path.join(HERE, 'probe.sh'), 'utf8') };
  const autostart = `${SHOW_BARCODE}"$HOME"/bin/probe &\n`;
  server = await serverWith(['ada'], autostart, { probe });
  browser = await openBrowser();
  await openBarcode(browser, server, 'ada');
});
after(() => close(browser));

/** The session's processes by the pid namespace that they live in. */
function jails() {
  const daemon = server.daemonPid;
  const host = namespacesOf('self').pid;
  const found = new Map();
  for (const process of descendants(server.wardenPid)) {
    const { pid } = namespacesOf(process.pid);
    if (process.pid === daemon || pid === null || pid === host) continue;
    found.set(pid, [...(found.get(pid) ?? []), process]);
  }
  return [...found.values()];
}

function jailWith(name) {
  const matches = (it) => it.name === name || it.command[1] === name;
  const found = jails().find((jail) => jail.some(matches));
  assert.ok(found, `no jail has ${name}`);
  return found;
}

test('the daemon has no privilege, no framebuffer and no X socket', () => {
  const pid = server.daemonPid;
  const status = statusOf(pid);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
    assert.equal(status[set], NONE, set);
  }
  assert.equal(status.NoNewPrivs, '1');
  const uids = status.Uid.split('\t').map(Number);
  assert.ok(uids.every((it) => it !== 0), `uids ${uids}`);
  assert.ok(status.Groups.trim() === '' || !status.Groups.split(' ').includes('0'));
  assert.deepEqual(environmentOf(pid), {});

  const targets = Object.entries(descriptorsOf(pid));
  const memfds = targets.filter(([, it]) => it.includes('memfd:'));
  for (const [descriptor, target] of memfds) {
    const { size } = fs.statSync(`/proc/${pid}/fd/${descriptor}`);
    assert.ok(size < 65_536, `descriptor ${descriptor} is ${target} of ${size} bytes`);
  }
  const shared = (readOr(`/proc/${pid}/maps`) ?? '').split('\n').filter((it) => {
    return / [r-]w?-?[x-]?s /.test(it) && /memfd:|\/dev\/shm/.test(it);
  });
  assert.deepEqual(shared, [], 'the daemon shares memory');
  assert.deepEqual(socketPathsOf(pid).filter((it) => it.includes('X')), []);
});

test('a session is three jails, each in seven namespaces of its own and sealed', () => {
  const all = jails();
  assert.equal(all.length, 3, JSON.stringify(all.map((it) => it.map((one) => one.name))));
  const host = namespacesOf('self');
  const seen = Object.fromEntries(NAMESPACES.map((it) => [it, new Set([host[it]])]));
  for (const jail of all) {
    const own = namespacesOf(jail[0].pid);
    for (const name of NAMESPACES) {
      assert.ok(own[name], `${jail[0].name} has no ${name} namespace`);
      assert.ok(!seen[name].has(own[name]), `${jail[0].name} shares its ${name} namespace`);
      seen[name].add(own[name]);
    }
    for (const process of jail) {
      const status = statusOf(process.pid);
      // A shell's child may have ended since the list was made.
      if (status.Pid === undefined) continue;
      const shown = `${process.pid} ${process.name}`;
      assert.equal(status.NoNewPrivs, '1', shown);
      assert.equal(status.Seccomp, '2', shown);
      for (const set of ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
        assert.equal(status[set], NONE, `${shown} ${set}`);
      }
    }
  }
  const uids = ['Xvfb', 'desktop', 'openbox'].map((it) => new Set(jailWith(it).map((p) => p.uid)));
  assert.deepEqual(uids.map((it) => it.size), [1, 1, 1], 'a jail has several uids');
  assert.equal(new Set(uids.flatMap((it) => [...it])).size, 3, 'jails share a uid');
});

test('environments hold what the desktop needs and nothing else', () => {
  for (const name of ['Xvfb', 'desktop']) {
    for (const process of jailWith(name)) {
      const names = Object.keys(environmentOf(process.pid));
      const allowed = new Set(['PATH', 'HOME', 'LISTEN_FDS', 'LISTEN_PID', 'LANG', 'PWD', '_']);
      assert.deepEqual(names.filter((it) => !allowed.has(it)), [], process.name);
    }
  }
  for (const process of jailWith('openbox')) {
    const names = Object.keys(environmentOf(process.pid));
    const odd = names.filter((it) => !PROGRAM_VARIABLES.has(it) && !ADDED_BY_PROGRAMS.test(it));
    assert.deepEqual(odd, [], `${process.pid} ${process.name}`);
  }
});

test('the limits of the contract stand in the cgroup of the programs', () => {
  const { pid } = jailWith('openbox').find((it) => it.name === 'openbox');
  const memory =
    cgroupValue(pid, 'memory', 'memory.limit_in_bytes') ?? cgroupValue(pid, 'memory', 'memory.max');
  assert.equal(Number(memory), 512 << 20);
  assert.equal(cgroupValue(pid, 'pids', 'pids.max'), '100');
  const both =
    cgroupValue(pid, 'cpu', 'cpu.max') ??
    ['quota', 'period'].map((it) => cgroupValue(pid, 'cpu', `cpu.cfs_${it}_us`)).join(' ');
  const [quota, period] = both.split(' ').map(Number);
  assert.equal(quota / period, 0.5);
  assert.ok(period <= 20_000, `the period of ${period} µs lets a desktop stutter`);
  for (const name of ['Xvfb', 'desktop']) {
    const other = jailWith(name)[0].pid;
    assert.notEqual(cgroupValue(other, 'pids', 'pids.max'), 'max', name);
    const bytes = Number(
      cgroupValue(other, 'memory', 'memory.limit_in_bytes') ??
        cgroupValue(other, 'memory', 'memory.max'),
    );
    assert.ok(bytes > 0 && bytes < 4 * 2 ** 30, `${name} may use ${bytes} bytes`);
  }
});

test('programs reach neither Xvfb nor the framebuffer nor the host', async () => {
  const file = path.join(server.homeOf('ada').home, 'findings');
  const text = await until('the probe to finish', () => readOr(file));
  const found = Object.fromEntries(text.trim().split('\n').map((it) => it.split(/ (.*)/s, 2)));
  const expected = {
    uid: '1000',
    home: '/home/ada',
    xvfb: '0',
    worker: '0',
    init_secrets: '0',
    memfds: '0',
    maps: '0',
    shared: '0',
    fbdir: '0',
    large_control: '1',
    positive_control: 'yes',
    userns: 'no',
    mount: 'no',
    chroot: 'no',
    sudo: 'no',
    write_usr: 'no',
    write_etc: 'no',
    write_home: 'yes',
    connect: 'no',
    caps: NONE,
    no_new_privs: '1',
    seccomp: '2',
    display: ':0',
  };
  const asked = Object.keys(expected).map((it) => [it, found[it]]);
  assert.deepEqual(Object.fromEntries(asked), expected);
  assert.ok(Number(found.pids) >= 3, 'the probe saw not even itself');
  assert.ok(['', 'lo'].includes(found.interfaces ?? ''), `interfaces ${found.interfaces}`);
  const sockets = (found.sockets ?? '').split(',').filter(Boolean);
  assert.deepEqual(sockets, ['/tmp/.X11-unix/X0']);
});
