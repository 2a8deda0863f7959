// A server with one user whose desktop shows the barcode program: what most tests start from.

import { BARCODE, Server } from './server.mjs';
import { openBrowser, openDesktop, openPage, signIn } from './browser.mjs';
import { until } from './wait.mjs';
import { waitForNumber, watch } from './barcode.mjs';

export const PASSWORD = 'correct horse battery staple';

/** The line that starts the barcode program, in the form the window manager wants it. */
export const SHOW_BARCODE = '"$HOME"/bin/sandbox-barcode --log "$HOME"/keys.log &\n';

/** A running server and its users, each with what `furnish` puts into the home. */
export async function serverWith(names, autostart = SHOW_BARCODE, files = {}, changes = {}) {
  const server = await Server.start(changes);
  try {
    for (const name of names) {
      server.addUser(name, PASSWORD);
      const token = await server.login(name, PASSWORD);
      const all = { 'sandbox-barcode': { from: BARCODE }, ...files };
      await server.furnish(token, name, all, autostart);
    }
  } catch (error) {
    await server.discard();
    throw error;
  }
  return server;
}

/**
 * Removes everything that the test opened, in any state it left it.
 *
 * @param {import('playwright-core').Browser | undefined} browser
 * @param {Server | undefined} server
 */
export async function close(browser, server) {
  await browser?.close();
  await server?.discard();
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

/** The only session of a user, from the API. */
export async function onlySession(server, token) {
  return until('the session to be listed', async () => {
    const { body } = await server.request('GET', '/api/sessions', { token });
    const sessions = Array.isArray(body) ? body : body.sessions;
    return sessions.find((it) => it.state !== 'ended');
  });
}

export { openBrowser };
