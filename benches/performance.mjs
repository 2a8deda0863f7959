// Renders PERFORMANCE.md from target/bench; nobody types a figure into it.

import fs from 'node:fs';
import path from 'node:path';

import { results, ROOT } from './figures.mjs';

const all = results().filter((it) => it.build === 'release');
if (all.length === 0) {
  console.error('target/bench holds no results of a release build: run `make bench` first');
  process.exit(1);
}

const machines = new Map(all.map((it) => [JSON.stringify(it.machine), it.machine]));
const lines = [
  '# Performance',
  '',
  'Rendered by `make performance` from what `make bench` measured; the goals are in',
  '[SPECIFICATION.md](SPECIFICATION.md), the definitions in each bench below `benches/`.',
  '',
];
for (const { cpu, cores, kernel, gpu } of machines.values()) {
  lines.push(`Machine: ${cpu}, ${cores} cores, kernel ${kernel}, GPU ${gpu}.`, '');
}
for (const { bench, commit, results: figures, seen, chromium } of all) {
  lines.push(`## ${bench}`, '', `At commit ${commit}.`, '');
  lines.push('| figure | unit | n | p50 | p95 | p99 | max | beside (p50 / p99) |');
  lines.push('|---|---|---|---|---|---|---|---|');
  for (const it of figures) {
    const range = (of) => (of ? ` (${of.join('–')})` : '');
    const beside = it.beside ? `${it.beside.name}: ${it.beside.p50} / ${it.beside.p99}` : '';
    const cells = [
      it.name, it.unit, it.n, it.p50 + range(it.p50_interval), it.p95,
      it.p99 + range(it.p99_interval), it.max, beside,
    ];
    lines.push(`| ${cells.join(' | ')} |`);
  }
  lines.push('');
  if (seen) {
    for (const [name, counts] of Object.entries(seen)) {
      const { lost, doubled, late } = counts;
      lines.push(`${name}: ${lost} keys lost, ${doubled} doubled, ${late} late.`);
    }
    lines.push('');
  }
  if (chromium) lines.push(`Chromium ${chromium.version}: \`${chromium.flags.join(' ')}\``, '');
}
if (all.some((it) => it.results.some((one) => one.p50_interval))) {
  lines.push('In brackets: 95 % interval by bootstrap.', '');
}
fs.writeFileSync(path.join(ROOT, 'PERFORMANCE.md'), lines.join('\n'));
console.log('PERFORMANCE.md');
