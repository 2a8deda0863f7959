// Viewers with German, French and US keyboards type what others find hard, and a program reads it.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, test } from 'node:test';

import { close, openBrowser, PASSWORD, runInTerminal, serverWith } from './desktop.mjs';
import { openDesktop, openPage, signIn } from './browser.mjs';
import { readOr } from './host.mjs';
import { until } from './wait.mjs';

const SHIFT = { key: 'Shift', code: 'ShiftLeft', location: 1, windowsVirtualKeyCode: 16 };
const CONTROL = { key: 'Control', code: 'ControlLeft', location: 1, windowsVirtualKeyCode: 17 };
const ALT_GR = { key: 'AltGraph', code: 'AltRight', location: 2, windowsVirtualKeyCode: 18 };
const OPTION = { key: 'Alt', code: 'AltLeft', location: 1, windowsVirtualKeyCode: 18 };
const ENTER = { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13 };
const MODIFIER_BITS = new Map([[CONTROL, 2], [OPTION, 1], [SHIFT, 8]]);

/** What each keyboard does for a character: the modifiers held, the key's place, its meaning. */
const KEYBOARDS = {
  German: [
    [[], 'KeyZ', 'y'], [[SHIFT], 'KeyY', 'Z'], [[], 'Minus', 'ß'], [[ALT_GR], 'KeyQ', '@'],
    [[ALT_GR], 'Digit7', '{'], [[ALT_GR], 'KeyE', '€'], [[ALT_GR], 'BracketRight', '~'],
    [[], 'Equal', 'Dead'], [[], 'KeyE', 'é'], [[ALT_GR], 'Minus', '\\'], [[], 'Semicolon', 'ö'],
    [[SHIFT], 'Slash', '_'], [[ALT_GR], 'IntlBackslash', '|'], [[SHIFT], 'Digit2', '"'],
  ],
  // Windows shows AltGr as two keys.
  'German on Windows': [
    [[CONTROL, ALT_GR], 'KeyQ', '@'], [[CONTROL, ALT_GR], 'Digit7', '{'],
    [[CONTROL, ALT_GR], 'KeyE', '€'], [[CONTROL, ALT_GR], 'BracketRight', '~'], [[], 'Minus', 'ß'],
  ],
  'German on macOS': [
    [[OPTION], 'KeyL', '@'], [[OPTION], 'Digit8', '{'], [[OPTION], 'KeyE', '€'],
    [[OPTION], 'KeyN', '~'], [[], 'Minus', 'ß'],
  ],
  French: [
    [[], 'KeyQ', 'a'], [[], 'Digit2', 'é'], [[SHIFT], 'Digit2', '2'], [[ALT_GR], 'Digit0', '@'],
    [[ALT_GR], 'Digit4', '{'], [[ALT_GR], 'KeyE', '€'], [[ALT_GR], 'Digit2', '~'],
    [[], 'Semicolon', 'm'], [[], 'Digit9', 'ç'], [[SHIFT], 'Comma', '?'], [[], 'Slash', '!'],
  ],
  US: [
    [[], 'KeyY', 'y'], [[SHIFT], 'Digit2', '@'], [[SHIFT], 'BracketLeft', '{'],
    [[SHIFT], 'Backquote', '~'], [[SHIFT], 'KeyZ', 'Z'], [[], 'Slash', '/'], [[], 'Quote', "'"],
  ],
};
const SYSTEMS = {
  'German on Windows': 'Mozilla/5.0 (Windows NT 10.0; Win64; x64)',
  'German on macOS': 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)',
};

/** What the desktop's autostart says for each layout. */
const DESKTOPS = { US: '', German: 'setxkbmap de\n', French: 'setxkbmap fr\n' };

let server;
let browser;
after(() => close(browser));

for (const [layout, setLayout] of Object.entries(DESKTOPS)) {
  test(`every keyboard types its characters into a desktop of ${layout} layout`, async (t) => {
    browser ??= await openBrowser();
    server = await serverWith(['ada'], setLayout);
    for (const [keyboard, strokes] of Object.entries(KEYBOARDS)) {
      const page = await openTerminal(SYSTEMS[keyboard]);
      const typist = await page.context().newCDPSession(page);
      const before = typed().length;
      for (const [held, code, key] of strokes) await stroke(typist, held, { code, key });
      await stroke(typist, [], ENTER);
      const wanted = strokes.map(([, , key]) => (key === 'Dead' ? '' : key)).join('');
      const read = await until(`what the ${keyboard} keyboard typed`, () => {
        const line = typed().slice(before);
        return line.endsWith('\n') && line.trimEnd();
      }).catch((error) => {
        throw new Error(`${error.message}: ${JSON.stringify(typed())}\n${server.log}`);
      });
      assert.equal(read, wanted, `${keyboard} keyboard, ${layout} desktop`);
      assert.deepEqual(page.faults, []);
      await page.context().close();
    }
    t.diagnostic(JSON.stringify(typed()));
    await server.stop();
  });
}

async function openTerminal(userAgent) {
  const page = await openPage(browser);
  if (userAgent) {
    const session = await page.context().newCDPSession(page);
    await session.send('Emulation.setUserAgentOverride', { userAgent });
  }
  await signIn(page, server.url, 'ada', PASSWORD);
  await openDesktop(page);
  await runInTerminal(page, server, 'ada', 'cat > typed', 'typed');
  return page;
}

function typed() {
  return readOr(path.join(server.homeOf('ada').home, 'typed'));
}

/** Presses and releases one key with modifiers held, as the browser's system would tell of it. */
async function stroke(typist, held, key) {
  const told = (it, type, down) => ({
    type,
    modifiers: down.reduce((bits, one) => bits | (MODIFIER_BITS.get(one) ?? 0), 0),
    ...it,
  });
  const send = (event) => typist.send('Input.dispatchKeyEvent', event);
  const down = [];
  for (const it of held) {
    down.push(it);
    await send(told(it, 'rawKeyDown', down));
  }
  await send(told(key, 'rawKeyDown', down));
  await send(told(key, 'keyUp', down));
  while (down.length > 0) await send(told(down.pop(), 'keyUp', down));
}
