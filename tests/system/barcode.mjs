// Reads the barcode of tests/barcode from pixels, in the page or out of a framebuffer.

import { until } from './wait.mjs';

/** The layout of tests/barcode/src/lib.rs. */
export const LAYOUT = { block: 24, columns: 16, rows: 13, origin: 48, history: 16 };

/**
 * Decodes the barcode; self-contained, so that it can be sent into a page.
 *
 * @param {(x: number, y: number) => number} luma brightness at a pixel of the screen, 0 to 255
 * @param {typeof LAYOUT} layout
 * @returns {{number: number, keycode: number, keysym: number, history: number[]} | null}
 *   null where no whole barcode is shown
 */
export function decode(luma, layout) {
  const { block, columns, rows, origin } = layout;
  const words = [];
  for (let row = 0; row < rows; row += 1) {
    let word = 0;
    for (let column = 0; column < columns; column += 1) {
      const x = origin + column * block + block / 2;
      const y = origin + row * block + block / 2;
      word = word * 2 + (luma(x, y) > 127 ? 1 : 0);
    }
    words.push(word);
  }
  let sum = 0xffff;
  for (const word of words.slice(0, rows - 1)) {
    for (let bit = 15; bit >= 0; bit -= 1) {
      const isOdd = ((sum >> 15) ^ (word >> bit)) & 1;
      sum = ((sum << 1) & 0xffff) ^ (isOdd ? 0x1021 : 0);
    }
  }
  if (sum !== words[rows - 1]) return null;
  return {
    number: words[0],
    keycode: words[1] & 0xff,
    keysym: words[2] * 65536 + words[3],
    history: words.slice(4, 12).flatMap((word) => [word >> 8, word & 0xff]),
  };
}

/**
 * Makes the page read each presented picture; what it saw collects in `window.barcodes`.
 *
 * @param {import('playwright-core').Page} page
 */
export async function watch(page) {
  // As one expression: the page's Content-Security-Policy stands, and knows no `new Function`.
  await page.evaluate(`(${install})(${decode}, ${JSON.stringify(LAYOUT)})`);
}

function install(decodeIn, layout) {
  const video = document.querySelector('#video');
  const side = layout.origin + layout.block * Math.max(layout.columns, layout.rows);
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  window.barcodes = { pictures: 0, torn: 0, seen: [] };
  const read = () => {
    context.drawImage(video, 0, 0, side, side, 0, 0, side, side);
    const { data } = context.getImageData(0, 0, side, side);
    const found = decodeIn((x, y) => data[(y * side + x) * 4 + 1], layout);
    window.barcodes.pictures += 1;
    if (found) window.barcodes.seen.push(found);
    else window.barcodes.torn += 1;
    video.requestVideoFrameCallback(read);
  };
  // The picture that is there already counts too: no callback comes for it.
  read();
}

/**
 * Waits until a picture shows at least `number` keys.
 *
 * @param {import('playwright-core').Page} page
 * @param {number} number
 */
export async function waitForNumber(page, number) {
  await until(`the picture of key ${number}`, async () => {
    const newest = await page.evaluate(() => window.barcodes.seen.at(-1)?.number ?? -1);
    return newest >= number;
  });
}

/**
 * Every key that the pictures account for, by its number.
 *
 * @param {{number: number, history: number[]}[]} seen
 * @returns {{keys: Map<number, number>, conflicts: string[]}}
 */
export function account(seen) {
  const keys = new Map();
  const conflicts = [];
  let newest = 0;
  for (const { number, history } of seen) {
    if (number < newest) conflicts.push(`picture of key ${number} after that of key ${newest}`);
    newest = Math.max(newest, number);
    history.forEach((keycode, age) => {
      const which = number - age;
      if (which < 1) {
        if (keycode !== 0) conflicts.push(`key ${which} has keycode ${keycode}`);
        return;
      }
      const known = keys.get(which) ?? keycode;
      if (known !== keycode) conflicts.push(`key ${which} was ${known}, then ${keycode}`);
      keys.set(which, keycode);
    });
  }
  return { keys, conflicts };
}
