// A proxy that ends TLS and passes the rest on, as far as it is told to.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';

export class Proxy {
  #server;
  #serverPort = 0;
  #pairs = new Set();
  #isStalled = false;
  /** Connections that were opened. */
  opened = 0;

  /** Takes a free port; its certificate is written to a folder. @returns {Promise<Proxy>} */
  static async open(folder) {
    const [key, cert] = ['key.pem', 'cert.pem'].map((it) => path.join(folder, it));
    const made = spawnSync('openssl', [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
      '-subj', '/CN=proxy.invalid', '-days', '1', '-keyout', key, '-out', cert,
    ]);
    if (made.status !== 0) throw new Error(`cannot make a certificate: ${made.stderr}`);
    const proxy = new Proxy();
    const identity = { key: fs.readFileSync(key), cert: fs.readFileSync(cert) };
    proxy.#server = tls.createServer(identity, (front) => proxy.#accept(front));
    proxy.#server.on('tlsClientError', () => {});
    proxy.#server.listen(0, '127.0.0.1');
    await new Promise((resolve) => proxy.#server.once('listening', resolve));
    return proxy;
  }

  get url() {
    return `https://localhost:${this.#server.address().port}`;
  }

  /** @param {number} port of the server's HTTP port */
  connect(port) {
    this.#serverPort = port;
  }

  /** What the server sends is no longer read. */
  stall() {
    this.#isStalled = true;
    for (const { back } of this.#pairs) back.pause();
  }

  /** It is read again. */
  resume() {
    this.#isStalled = false;
    for (const { back } of this.#pairs) back.resume();
  }

  /** The ports of the proxy's connections to the server. */
  get ports() {
    return [...this.#pairs].map((it) => it.back.localPort);
  }

  close() {
    for (const { front, back } of this.#pairs) {
      front.destroy();
      back.destroy();
    }
    this.#server.close();
  }

  #accept(front) {
    this.opened += 1;
    const back = net.connect(this.#serverPort, '127.0.0.1');
    const pair = { front, back };
    this.#pairs.add(pair);
    front.on('data', (bytes) => back.write(bytes));
    back.on('data', (bytes) => front.write(bytes));
    if (this.#isStalled) back.pause();
    for (const [one, other] of [[front, back], [back, front]]) {
      one.setNoDelay(true);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.#pairs.delete(pair);
        other.destroy();
      });
    }
  }
}
