// Key pressed to pixel changed, black box: XTEST and pixels of the display that Chromium fills.

import { flags } from '../tests/system/browser.mjs';
import { serverWith } from '../tests/system/desktop.mjs';
import { BARCODE, discardAll } from '../tests/system/server.mjs';
import { Display } from '../tests/system/display.mjs';
import { figure, report } from './figures.mjs';
import { count, millis, openViewer, press, untilShown } from './viewer.mjs';

const KEYS = Number(process.env.KEYS ?? 1_000);
const BLOCK = 100;
const SEED = Number(process.env.SEED ?? 4);

const outer = await Display.start();
const floor = await Display.start();
let browser;
try {
  const server = await serverWith(['bench']);
  browser = await openViewer(server, 'bench', outer);
  floor.run(BARCODE);
  await untilShown(floor);
  const targets = [outer.target('chromium'), floor.target('floor')];
  const [remote, local] = await press({ keys: KEYS, block: BLOCK, seed: SEED }, targets);
  const beside = { name: 'X alone (floor)', samples: millis(local) };
  report('latency', [figure('key to pixel, Chromium', 'ms', millis(remote), beside)], {
    chromium: { version: browser.version(), flags: flags() },
    seen: { chromium: count(remote), floor: count(local) },
    seed: SEED,
  });
} finally {
  await browser?.close();
  await discardAll();
  await outer.stop();
  await floor.stop();
}
