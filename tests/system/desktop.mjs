// A server with one user whose desktop shows the barcode program: what most tests start from.

import fs from 'node:fs';
import path from 'node:path';

import { BARCODE, discardAll, Server } from './server.mjs';
import { openBrowser, openDesktop, openPage, signIn } from './browser.mjs';
import { until } from './wait.mjs';
import { waitForNumber, watch } from './barcode.mjs';

export const PASSWORD = 'correct horse battery staple';

/** The line that starts the barcode program, in the form the window manager wants it. */
export const SHOW_BARCODE = '"$HOME"/bin/sandbox-barcode --log "$HOME"/keys.log &\n';

/** A running server and its users, each with what `furnish` puts into the home. */
export async function serverWith(names, autostart = SHOW_BARCODE, files = {}, changes = {}) {
  const server = await Server.start(changes);
  for (const name of names) {
    server.addUser(name, PASSWORD);
    const token = await server.login(name, PASSWORD);
    const all = { 'sandbox-barcode': { from: BARCODE }, ...files };
    await server.furnish(token, name, all, autostart);
  }
  return server;
}

/**
 * Removes everything that the tests of a file opened, in any state they left it.
 *
 * @param {import('playwright-core').Browser | undefined} browser
 */
export async function close(browser) {
  await browser?.close();
  await discardAll();
}

/** Signs a user in, opens the desktop and waits until the barcode program shows itself. */
export async function openBarcode(browser, server, name, viewport) {
  const page = await openPage(browser, viewport);
  await signIn(page, server.url, name, PASSWORD);
  await openDesktop(page);
  await watch(page);
  await waitForNumber(page, 0);
  return page;
}

/**
 * Types a command into the desktop's own terminal, which has the keyboard while nothing else runs.
 *
 * @param {string} mark a file that the command makes in the home; where it is, the command runs
 */
export async function runInTerminal(page, server, name, command, mark) {
  const isThere = (file) => () => fs.existsSync(path.join(server.homeOf(name).home, file));
  if (isThere(mark)()) return;
  // Until the window manager has given the terminal the keyboard, keys go nowhere: a line whose
  // beginning may be missing goes first, and does no harm then.
  await until('the terminal to have the keyboard', async () => {
    await page.keyboard.type('\ntouch .has-keyboard\n');
    const patience = { patience: 2_000 };
    return until('its file', isThere('.has-keyboard'), patience).catch(() => false);
  });
  fs.rmSync(path.join(server.homeOf(name).home, '.has-keyboard'));
  await page.keyboard.type(`${command}\n`);
  await until(`the terminal to run ${command}`, isThere(mark));
}

/** The only session of a user, from the API. */
export async function onlySession(server, token) {
  return until('the session to be listed', async () => {
    const { body } = await server.request('GET', '/api/sessions', { token });
    const sessions = Array.isArray(body) ? body : body.sessions;
    return sessions.find((it) => it.state !== 'ended');
  });
}

export { openBrowser };
