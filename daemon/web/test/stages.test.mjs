// Latency by stage from two clocks.

import assert from 'node:assert/strict';
import test from 'node:test';

import { quantile, ServerClock, Stages, STAGES } from '../stages.js';

test('the quickest ping maps the server’s clock, and says how wrong it may be', () => {
  const clock = new ServerClock();
  assert.equal(clock.mapping, null);
  clock.handlePong(140, { at: 100, server_us: 5_110_000 });
  clock.handlePong(204, { at: 200, server_us: 5_202_000 });
  assert.deepEqual(clock.mapping, { offset: 5000, errorMs: 2, roundTripMs: 4 });
});

test('old pings are forgotten, or a drift would stay for ever', () => {
  const clock = new ServerClock();
  clock.handlePong(1, { at: 1, server_us: 0 });
  for (let at = 0; at < 30; at += 1) clock.handlePong(at + 8, { at, server_us: at * 1000 });
  assert.equal(clock.mapping?.roundTripMs, 8);
});

const stamps = (fields) => ({
  rtp: 7, input_seq: 3, injected: 5_010_000, damaged: 5_011_000, captured: 5_011_500,
  encoded: 5_016_000, sent: 5_016_200, qp: 20, bytes: 900, target_kbps: 8000, ...fields,
});

test('a frame that answers an event has a figure for each stage', () => {
  const stages = new Stages();
  stages.handleStamps(stamps({}), (seq) => (seq === 3 ? 8 : null));
  stages.handlePresented(7, { receivedAt: 17.2, presentedAt: 22.2 });
  const figures = stages.latencies({ offset: 5000 }).map(({ ms }) => Number(ms[0].toFixed(3)));
  assert.deepEqual(figures, [2, 1, 0.5, 4.5, 0.2, 1, 5, 14.2]);
  assert.equal(figures.length, STAGES.length);
});

test('only the first frame after an event answers it', () => {
  const stages = new Stages();
  for (const rtp of [7, 8]) {
    stages.handleStamps(stamps({ rtp }), () => 8);
    stages.handlePresented(rtp, { receivedAt: 17, presentedAt: 22 });
  }
  const counts = stages.latencies({ offset: 5000 }).map(({ ms }) => ms.length);
  assert.deepEqual(counts, [1, 1, 2, 2, 2, 2, 2, 1]);
});

test('without a clock mapping the stages of one machine remain', () => {
  const stages = new Stages();
  stages.handleStamps(stamps({}), () => 8);
  const counts = stages.latencies(null).map(({ ms }) => ms.length);
  assert.deepEqual(counts, [0, 1, 1, 1, 1, 0, 0, 0]);
});

test('quantiles are samples, and nothing has none', () => {
  assert.equal(quantile([], 0.5), null);
  assert.equal(quantile([3, 1, 2], 0.5), 2);
  assert.equal(quantile([1, 2, 3, 4], 0.95), 4);
});
