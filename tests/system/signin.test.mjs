// A browser stays signed in over reloads; TLS without anything in front.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { openDesktop, openPage, signIn, stateOf, untilState } from './browser.mjs';
import { close, openBrowser, PASSWORD } from './desktop.mjs';
import { runToEnd, Server } from './server.mjs';
import { until } from './wait.mjs';

let server;
let browser;
before(async () => {
  browser = await openBrowser();
  server = await Server.start();
  server.addUser('ada', PASSWORD);
});
after(() => close(browser));

const sessionOf = (page) => page.evaluate(() => document.documentElement.dataset.session);

test('a reload leads back to the desktop, and signing out ends that', async () => {
  const page = await openPage(browser);
  await signIn(page, server.url, 'ada', PASSWORD);
  await page.reload();
  await untilState(page, 'home');
  assert.equal(await page.evaluate(() => document.cookie), '', 'no script sees the cookie');
  await openDesktop(page);
  const session = await sessionOf(page);
  await page.reload();
  await untilState(page, 'streaming');
  assert.equal(await sessionOf(page), session);

  const other = await page.context().newPage();
  await other.goto(server.url);
  await untilState(other, 'home');
  await other.click('#signout');
  await untilState(other, 'signin');
  await untilState(page, 'signin');
  await page.reload();
  await untilState(page, 'signin');
  assert.equal(await stateOf(other), 'signin');
  await page.context().close();
});

test('a new password detaches the page within five seconds and leaves the desktop', async () => {
  const page = await openPage(browser);
  await signIn(page, server.url, 'ada', PASSWORD);
  await openDesktop(page);
  const session = await sessionOf(page);
  const began = performance.now();
  const args = ['user', 'passwd', 'ada', '--password-stdin'];
  const changed = runToEnd(args, server.variables, `${PASSWORD}2\n`);
  assert.equal(changed.status, 0, changed.stderr);
  await untilState(page, 'signin');
  const lasted = performance.now() - began;
  assert.ok(lasted < 5_000, `${lasted} ms`);
  const token = await server.login('ada', `${PASSWORD}2`);
  await until('the desktop to be detached', async () => {
    const { body } = await server.session(token, session);
    return body.state === 'detached';
  });
  await page.context().close();
});

test('a certificate of the server’s own carries page, sign-in and desktop', async () => {
  // For this file’s own requests; the browser is told by openPage.
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  const secure = await Server.start({ TLS_SELF_SIGNED: 'true' });
  assert.match(secure.log, /sha256="([0-9A-F]{2}:){31}[0-9A-F]{2}"/);
  secure.addUser('ada', PASSWORD);
  const page = await openPage(browser);
  await signIn(page, secure.url, 'ada', PASSWORD);
  await openDesktop(page);
  const [cookie, ...others] = await page.context().cookies(`${secure.url}/api/auth/refresh`);
  assert.deepEqual(others, []);
  assert.match(cookie.name, /^__Secure-sandbox_refresh_/);
  const { httpOnly, path, sameSite, secure: isSecure } = cookie;
  assert.deepEqual(
    { httpOnly, path, sameSite, isSecure },
    { httpOnly: true, path: '/api/auth', sameSite: 'Strict', isSecure: true },
  );
  await page.reload();
  await untilState(page, 'streaming');
  assert.equal(await page.evaluate(() => isSecureContext), true);
  await page.context().close();
  await secure.stop();
});
