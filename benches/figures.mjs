// Percentiles, the machine, and the file that each bench leaves in target/bench.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { seeded } from '../tests/system/wait.mjs';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const OUT = path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target'), 'bench');

/** Resamples for the interval of a percentile. */
const RESAMPLES = 1_000;
/** With more samples than that the interval is narrow, and its reckoning takes minutes. */
const RESAMPLED_MAX = 5_000;

function percentile(sorted, part) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}

/** 95 % interval of a percentile by bootstrap, from a fixed seed. */
function interval(samples, part) {
  const random = seeded(1);
  const found = [];
  for (let round = 0; round < RESAMPLES; round += 1) {
    const again = samples.map(() => samples[Math.floor(random() * samples.length)]);
    found.push(percentile(again.sort((a, b) => a - b), part));
  }
  found.sort((a, b) => a - b);
  return [percentile(found, 0.025), percentile(found, 0.975)];
}

/**
 * One line of a result.
 *
 * @param {string} name
 * @param {string} unit
 * @param {number[]} samples
 * @param {{name: string, samples: number[]}} [beside] measured in the same run
 */
export function figure(name, unit, samples, beside) {
  const round = (value) => Math.round(value * 1000) / 1000;
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (part) => round(percentile(sorted, part));
  const line = { name, unit, n: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
  line.max = round(sorted.at(-1));
  if (sorted.length >= 20 && sorted.length <= RESAMPLED_MAX) {
    line.p50_interval = interval(sorted, 0.5).map(round);
    line.p99_interval = interval(sorted, 0.99).map(round);
  }
  if (beside) {
    const { p50, p99 } = figure(beside.name, unit, beside.samples);
    line.beside = { name: beside.name, p50, p99 };
  }
  return line;
}

/** A line of one value. */
export function one(name, unit, value) {
  const rounded = Math.round(value * 1000) / 1000;
  return { name, unit, n: 1, p50: rounded, p95: rounded, p99: rounded, max: rounded };
}

function machine() {
  let gpu = 'none';
  try {
    const args = ['--query-gpu=name', '--format=csv,noheader'];
    gpu = execFileSync('nvidia-smi', args, { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    // No NVIDIA driver, no GPU that matters here.
  }
  return { cpu: os.cpus()[0].model, cores: os.cpus().length, kernel: os.release(), gpu };
}

/** The commit measured, "+" where the tree differs from it. */
function commit() {
  const git = (...args) => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();
  const isChanged = git('status', '--porcelain', '--untracked-files=no') !== '';
  return git('rev-parse', '--short=12', 'HEAD') + (isChanged ? '+' : '');
}

/** Prints the table and writes target/bench/NAME.json. */
export function report(bench, results, notes = {}) {
  fs.mkdirSync(OUT, { recursive: true });
  const build = path.basename(process.env.SANDBOX_BUILD ?? 'debug');
  const whole = { bench, commit: commit(), build, machine: machine(), ...notes, results };
  const file = path.join(OUT, `${bench}.json`);
  fs.writeFileSync(file, `${JSON.stringify(whole, null, 1)}\n`);
  console.log(`\n${bench} at ${whole.commit}, ${build} build`);
  console.table(
    results.map(({ name, unit, n, p50, p95, p99, max, beside }) => ({
      name, unit, n, p50, p95, p99, max,
      beside: beside ? `${beside.name} ${beside.p50}/${beside.p99}` : '',
    })),
  );
  for (const [name, note] of Object.entries(notes)) console.log(`${name}: ${JSON.stringify(note)}`);
  console.log(path.relative(ROOT, file));
}

/** All results that lie in target/bench. */
export function results() {
  if (!fs.existsSync(OUT)) return [];
  return fs
    .readdirSync(OUT)
    .filter((it) => it.endsWith('.json'))
    .sort()
    .map((it) => JSON.parse(fs.readFileSync(path.join(OUT, it), 'utf8')));
}
