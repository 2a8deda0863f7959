// A proxy that ends TLS and passes the rest on, as far as it is told to.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';

/** Between two portions of what is slowed down. */
const TICK_MS = 10;

export class Proxy {
  #server;
  #serverPort = 0;
  #pairs = new Set();
  /** Bytes towards viewers in one tick; all that there are where it is infinite. */
  #portion = Infinity;
  #ticks;
  /** Connections that were opened. */
  opened = 0;
  /** Bytes that have passed towards viewers. */
  bytes = 0;

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

  /**
   * What the server sends passes no faster from here on.
   *
   * @param {number} bytesPerSecond infinite: as it comes
   */
  limit(bytesPerSecond) {
    clearInterval(this.#ticks);
    this.#portion = (bytesPerSecond * TICK_MS) / 1_000;
    const pass = () => this.#pairs.forEach((it) => this.#pass(it));
    if (Number.isFinite(this.#portion)) this.#ticks = setInterval(pass, TICK_MS);
    else pass();
  }

  close() {
    clearInterval(this.#ticks);
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
    back.on('readable', () => {
      if (!Number.isFinite(this.#portion)) this.#pass(pair);
    });
    for (const [one, other] of [[front, back], [back, front]]) {
      one.setNoDelay(true);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.#pairs.delete(pair);
        other.destroy();
      });
    }
  }

  #pass({ front, back }) {
    const length = Math.min(this.#portion, back.readableLength);
    const bytes = length > 0 ? back.read(length) : null;
    if (bytes === null) return;
    this.bytes += bytes.length;
    front.write(bytes);
  }
}
