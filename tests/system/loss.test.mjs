// A network that loses datagrams costs no frame: every one that was sent is decoded.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { openDesktop, openPage, signIn, untilRests, videoStats } from './browser.mjs';
import {
  close, onlySession, openBrowser, PASSWORD, runInTerminal, serverWith,
} from './desktop.mjs';
import { Relay } from './relay.mjs';
import { seeded } from './wait.mjs';

const SEED = Number(process.env.SEED ?? 5);
const SECONDS = 10;
/** Each line answers with a screen of text that nothing can foretell: a frame of many datagrams. */
const FILL = 'touch filling; while read -r line; do head -c 1500 /dev/urandom | base64; done';

let server;
let relay;
let browser;
before(async () => {
  relay = await Relay.open();
  server = await serverWith(['ada'], '', {}, { MEDIA_ADVERTISE: relay.address });
  relay.connect(Number(server.variables.MEDIA_PORT));
  browser = await openBrowser();
});
after(async () => {
  await close(browser);
  relay?.close();
});

for (const plan of ['random', 'bursts']) {
  test(`5 % of all datagrams lost (${plan}): every frame is decoded`, async (t) => {
    t.diagnostic(`seed ${SEED}`);
    const page = await openPage(browser);
    await signIn(page, server.url, 'ada', PASSWORD);
    await openDesktop(page);
    await runInTerminal(page, server, 'ada', FILL, 'filling');
    const token = await server.login('ada', PASSWORD);
    const { id } = await onlySession(server, token);
    const figures = async () => {
      return { ...(await videoStats(page)), ...(await server.stats(token, id)) };
    };
    await untilRests(page);
    const start = await figures();
    relay.lose(plan, SEED);
    await typeFor(page, SECONDS);
    const { passed, lost } = relay;
    // The last frame may have lost its end: one that follows it shows the viewer what it missed.
    relay.lose('none', SEED);
    const typed = await figures();
    await untilRests(page);
    const end = await figures();

    const since = (name, until = end) => until[name] - start[name];
    // Freezes are told, not judged: the browser counts a typist's pause as one.
    const names = ['frames_sent', 'framesDecoded', 'framesDropped', 'keyframes', 'freezeCount',
      'pliCount', 'keyframe_requests', 'nackCount', 'retransmittedPacketsReceived'];
    t.diagnostic(`${lost} of ${lost + passed} datagrams lost; ${JSON.stringify(
      Object.fromEntries(names.map((name) => [name, [since(name, typed), since(name)]])),
    )}`);
    assert.ok(lost > 50, 'too little was lost to show anything');
    assert.ok(since('frames_sent') > 100, 'too few frames were sent to show anything');
    assert.equal(since('framesDecoded'), since('frames_sent'));
    assert.ok(since('keyframes', typed) <= 2, `${since('keyframes', typed)} key frames`);
    assert.equal(end.frames_dropped, start.frames_dropped);
    await page.context().close();
  });
}

/** Types at random times for a while. */
async function typeFor(page, seconds) {
  const random = seeded(SEED);
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end) {
    await page.keyboard.press('Enter', { delay: random() * 60 });
  }
}
