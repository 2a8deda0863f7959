// SIGKILL of each process at each step of a desktop's start, run and end: from a list, not by
// chance. What is stopped before its kill is stopped by SIGSTOP, so a step lasts as long as needed.
// The steps by which a jail is built have a list of their own: daemon/jail/tests/jail/kill.rs.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { account, waitForNumber } from './barcode.mjs';
import { untilRests, untilState, videoStats } from './browser.mjs';
import { close, onlySession, openBarcode, openBrowser, PASSWORD, serverWith } from './desktop.mjs';
import { descendants, processOf } from './host.mjs';
import { until } from './wait.mjs';

const UIDS_PER_USER = 16;
const IS_LONG = process.env.LONG === '1';

/** Victims of a desktop that runs, and what follows. */
const FOLLOWS = {
  'a program': 'nothing',
  'the window manager': 'nothing',
  worker: 'next worker',
  'init of worker': 'next worker',
  Xvfb: 'end',
  'init of Xvfb': 'end',
  'session script': 'end',
  'init of programs': 'end',
};
const RUNS = ['typing', 'resting', 'detached'];
const QUICK_RUNS = ['typing: a program', 'typing: worker', 'typing: Xvfb', 'detached: worker'];

/** Whom a start is stopped at as soon as it is seen, and who is killed then. */
const STARTS = ['Xvfb', 'worker'];
const START_VICTIMS = ['Xvfb', 'init of Xvfb', 'worker', 'init of worker', 'daemon', 'warden'];
const QUICK_STARTS = ['Xvfb: daemon'];

/** What holds an end up, and who is killed then. */
const ENDS = {
  'before the warden acts': [...Object.keys(FOLLOWS), 'daemon', 'warden'],
  'before the files are gone': ['daemon', 'warden'],
};
const QUICK_ENDS = ['before the warden acts: Xvfb', 'before the files are gone: warden'];

let server;
let browser;
let token;
/** The page of somebody whom nothing of this concerns. */
let eve;
let typing;
/** What her page counts before anybody is killed. */
let first;
let eveId;

before(async () => {
  browser = await openBrowser();
  server = await serverWith(['ada', 'eve']);
  token = await server.login('ada', PASSWORD);
  eve = await openBarcode(browser, server, 'eve');
  // The desktop's first pictures are without the program, or with something in front of it.
  await untilRests(eve);
  first = { ...(await videoStats(eve)), torn: await eve.evaluate(() => window.barcodes.torn) };
  typing = typeOn(eve);
  eveId = (await onlySession(server, await server.login('eve', PASSWORD))).id;
});
after(() => close(browser));

/** What is looked at after a kill in a desktop that ran. */
const CHECKS = {
  async nothing(desktop, before) {
    const after = pidsOfAda();
    for (const name of ['Xvfb', 'worker', 'init of Xvfb', 'init of worker', 'init of programs']) {
      assert.equal(after[name], before[name], name);
    }
    const { body } = await server.session(token, desktop.id);
    assert.ok(['ready', 'attached', 'detached'].includes(body.state), body.state);
  },
  async 'next worker'(desktop, before) {
    await until('the next worker', () => {
      const { worker } = pidsOfAda();
      return worker !== undefined && worker !== before.worker;
    });
    assert.equal(pidsOfAda().Xvfb, before.Xvfb);
    await desktop.check();
  },
  async end(desktop) {
    await server.untilState(token, desktop.id, 'ended');
    if (desktop.page) await untilState(desktop.page, 'ended');
  },
};

function rows(steps, victimsOf, quick) {
  const all = steps.flatMap((step) => victimsOf(step).map((victim) => ({ step, victim })));
  return IS_LONG ? all : all.filter(({ step, victim }) => quick.includes(`${step}: ${victim}`));
}

const spares = ({ victim }) => victim !== 'daemon' && victim !== 'warden';
const runs = rows(RUNS, () => Object.keys(FOLLOWS), QUICK_RUNS);
const starts = rows(STARTS, () => START_VICTIMS, QUICK_STARTS);
const ends = rows(Object.keys(ENDS), (step) => ENDS[step], QUICK_ENDS);

for (const { step, victim } of runs) {
  const follows = FOLLOWS[victim];
  test(`run, ${step}: ${victim} is killed, ${follows} follows`, async () => {
    const desktop = await open(step);
    const before = pidsOfAda();
    kill(victim);
    await CHECKS[follows](desktop, before);
    await desktop.close();
    await untilNothingIsLeft();
  });
}
for (const row of starts.filter(spares)) test(...startRow(row));
for (const row of ends.filter(spares)) test(...endRow(row));

test('meanwhile the page of another user has missed no picture', async (t) => {
  const typed = await typing.outcome();
  t.diagnostic(`${typed} keys`);
  const { seen, torn } = await eve.evaluate(() => window.barcodes);
  const { keys, conflicts } = account(seen);
  assert.deepEqual(conflicts, []);
  // A key that a busy machine holds for long repeats itself: there may be more than were typed.
  const last = seen.at(-1).number;
  assert.ok(last >= typed, `${last} keys of ${typed}`);
  const missed = Array.from({ length: last }, (_, at) => at + 1).filter((it) => !keys.has(it));
  assert.deepEqual(missed, []);
  assert.equal(torn, first.torn, 'a picture was not whole');
  // A picture that is missed is asked for anew, and comes as a key frame.
  const { keyFramesDecoded, packetsLost } = await videoStats(eve);
  assert.equal(keyFramesDecoded, first.keyFramesDecoded);
  assert.equal(packetsLost, first.packetsLost);
  assert.equal(await eve.evaluate(() => window.peerConnections.length), 1);
  assert.deepEqual(eve.faults, []);
  await eve.context().close();
  await server.endSession(await server.login('eve', PASSWORD), eveId);
  await server.untilNothingIsLeft();
});

// These concern everybody.
for (const row of starts.filter((it) => !spares(it))) test(...startRow(row));
for (const row of ends.filter((it) => !spares(it))) test(...endRow(row));
if (IS_LONG) {
  for (const step of RUNS) {
    test(`run, ${step}: daemon is killed, desktops live on`, async () => {
      const desktop = await open(step);
      const [before, daemon] = [pidsOfAda(), server.daemonPid];
      kill('daemon');
      await until('the end of the daemon', () => processOf(daemon) === null);
      await untilServes();
      assert.deepEqual(pidsOfAda(), before);
      await desktop.check();
      await desktop.close();
      await untilNothingIsLeft();
    });
    test(`run, ${step}: warden is killed, everything ends`, async () => {
      const desktop = await open(step);
      await killWarden();
      await desktop.page?.context().close();
    });
  }
}

test('after all of it a desktop starts, and the server leaves nothing', async () => {
  const id = await server.startSession(token);
  await server.endSession(token, id);
  await server.untilNothingIsLeft();
  await server.stop();
});

/** A desktop of ada's in one of the states of RUNS. */
async function open(step) {
  if (step === 'detached') {
    const id = await server.startSession(token);
    await until('the program', () => pidsOfAda()['a program']);
    return { id, check: async () => {}, close: endIfLive };
  }
  const page = await openBarcode(browser, server, 'ada');
  const id = await liveId();
  const keys = step === 'typing' ? typeOn(page) : null;
  if (!keys) await untilRests(page);
  return {
    id,
    page,
    /** A key is answered by a picture. */
    async check() {
      keys?.pause();
      const seen = await newest(page);
      // A key that was on its way to a worker may be lost with it; the next one is not.
      await until('a picture of a key', async () => {
        await page.keyboard.press('KeyA');
        const patience = { patience: 2_000 };
        return until('it', async () => (await newest(page)) > seen, patience).catch(() => false);
      });
    },
    async close() {
      keys?.pause();
      await endIfLive();
      await page.context().close();
    },
  };
}

function startRow({ step, victim }) {
  const title = `start, ${step} is there: ${victim} is killed, nothing half is left`;
  return [title, async () => {
    const body = { profile: 'desktop', width: 1280, height: 720 };
    const answer = server.request('POST', '/api/sessions', { token, body }).catch(() => null);
    // Without a pause: the sooner it is seen, the earlier the step that is tried.
    const stopped = await until(step, () => pidsOfAda()[step], { every: 0 });
    process.kill(stopped, 'SIGSTOP');
    await until('everybody else', () => victim in everybody());
    if (victim === 'warden') return killWarden();
    kill(victim);
    await answer;
    if (victim === 'daemon') await untilServes();
    // It has not started, or it lives like any other that lost a daemon or a worker.
    await endIfLive();
    await untilNothingIsLeft();
  }];
}

function endRow({ step, victim }) {
  return [`end, ${step}: ${victim} is killed, nothing is left`, async () => {
    const id = await server.startSession(token);
    await until('the desktop', () => Object.keys(FOLLOWS).every((it) => it in pidsOfAda()));
    const warden = server.wardenPid;
    const files = path.join(server.variables.RUNTIME_DIR, `session-${id}`);
    const obstacle = path.join(files, 'obstacle');
    const isLate = step === 'before the files are gone';
    if (isLate) fs.writeFileSync(obstacle, '');
    else process.kill(warden, 'SIGSTOP');
    await server.endSession(token, id);
    // Answered behind it: the warden has been asked.
    await server.session(token, id);
    if (isLate) await until('all processes to end', () => Object.keys(pidsOfAda()).length === 0);
    if (victim === 'warden') return killWarden(() => fs.rmSync(obstacle, { force: true }));
    kill(victim);
    fs.rmSync(obstacle, { force: true });
    process.kill(warden, 'SIGCONT');
    if (victim === 'daemon') await untilServes();
    await untilNothingIsLeft();
  }];
}

/** The programs' uid; that of the X server and of the worker follow. */
function firstUidOf(name) {
  return fs.statSync(path.join(server.variables.STATE_DIR, 'users', name)).uid;
}

/** ada's processes by what they are in FOLLOWS, as far as they run. */
function pidsOfAda() {
  const uid = firstUidOf('ada');
  const all = server.jailed();
  const of = (offset) => all.filter((it) => it.uid === uid + offset);
  const [programs, display, worker] = [of(0), of(1), of(2)];
  const named = (some, name) => some.find((it) => it.name === name)?.pid;
  const init = (some) => some.find((it) => !some.some((other) => other.pid === it.parent))?.pid;
  const found = {
    'a program': named(programs, 'sandbox-barcode'),
    'the window manager': named(programs, 'openbox'),
    'session script': named(programs, 'session'),
    'init of programs': init(programs),
    worker: worker.find((it) => it.command[1] === 'desktop')?.pid,
    'init of worker': init(worker),
    Xvfb: named(display, 'Xvfb'),
    'init of Xvfb': init(display),
  };
  return Object.fromEntries(Object.entries(found).filter(([, pid]) => pid !== undefined));
}

function everybody() {
  return { ...pidsOfAda(), daemon: server.daemonPid, warden: server.wardenPid };
}

function kill(victim) {
  const pid = everybody()[victim];
  assert.ok(pid, `${victim} does not run\n${server.log}`);
  process.kill(pid, 'SIGKILL');
}

/** Kills the warden; the next one finds nothing of what was there, and serves. */
async function killWarden(beforeTheNext = () => {}) {
  const all = descendants(server.wardenPid);
  process.kill(server.wardenPid, 'SIGKILL');
  await server.exited;
  // Until its last thread is gone, whoever is called dead already holds the server's ports.
  await until('its children to end', () => all.every(({ pid }) => !fs.existsSync(`/proc/${pid}`)));
  beforeTheNext();
  await server.launch();
  assert.deepEqual(server.leftovers(), [], server.log);
  token = await server.login('ada', PASSWORD);
}

async function untilServes() {
  await until('the daemon to serve', async () => {
    const answer = await fetch(`${server.url}/ready`).catch(() => null);
    return answer?.status === 200;
  });
}

/** Nothing of ada's; eve's desktop may be there. */
async function untilNothingIsLeft() {
  const first = firstUidOf('eve');
  const isEves = (it) => {
    const uid = processOf(Number(/^process (\d+)/.exec(it)?.[1]))?.uid ?? 0;
    return it.includes(eveId) || (uid >= first && uid < first + UIDS_PER_USER);
  };
  const left = () => server.leftovers().filter((it) => !isEves(it));
  await until('nothing to be left', () => left().length === 0).catch((error) => {
    throw new Error(`${error.message}: ${left().join('; ')}\n${server.log}`);
  });
}

/** ada's live session, if she has one. */
async function liveId() {
  const { body } = await server.request('GET', '/api/sessions', { token });
  const sessions = Array.isArray(body) ? body : body.sessions;
  return sessions.find((it) => it.state !== 'ended')?.id;
}

async function endIfLive() {
  const id = await liveId();
  if (!id) return;
  await server.endSession(token, id);
  await server.untilState(token, id, 'ended');
}

const newest = (page) => page.evaluate(() => window.barcodes.seen.at(-1)?.number ?? -1);

/** Types on a page, each key when the picture of the one before is there, until it is paused. */
function typeOn(page) {
  let [isPaused, typed] = [false, 0];
  const typing = (async () => {
    while (!isPaused) {
      const seen = await newest(page);
      await page.keyboard.press('KeyE');
      typed += 1;
      await waitForNumber(page, seen + 1);
    }
  })();
  // Of interest to those alone who ask for the outcome.
  typing.catch(() => {});
  return {
    pause() {
      isPaused = true;
    },
    async outcome() {
      isPaused = true;
      await typing;
      return typed;
    },
  };
}
