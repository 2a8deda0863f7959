// Holds target/bench against SPECIFICATION.md; fails where a promise is not kept or not shown.

import fs from 'node:fs';
import path from 'node:path';

import { results, ROOT } from './figures.mjs';

const text = fs.readFileSync(path.join(ROOT, 'SPECIFICATION.md'), 'utf8');
const rows = text
  .split('\n')
  .filter((it) => it.startsWith('|') && !it.startsWith('|---'))
  .map((it) => it.slice(1, -1).split('|').map((cell) => cell.trim()));
const released = results().filter((it) => it.build === 'release');
const measured = new Map(released.map((it) => [it.bench, it]));

const table = [];
let missed = 0;
for (const [promise, bench, name, field, goal] of rows.filter((it) => it.length === 5)) {
  if (bench === 'bench') continue;
  const limit = /^≤ ([\d.]+)(.*)$/.exec(goal);
  if (!limit) throw new Error(`SPECIFICATION.md: the goal “${goal}” of “${promise}” is not “≤ N”`);
  const figure = measured.get(bench)?.results.find((it) => it.name === name)?.[field];
  const verdict = figure === undefined ? 'not measured' : figure <= Number(limit[1]);
  if (verdict !== true) missed += 1;
  const is = typeof verdict === 'string' ? verdict : verdict ? 'met' : 'NOT MET';
  const { commit } = measured.get(bench) ?? { commit: '' };
  table.push({ promise, goal, figure: figure ?? '', is, commit });
}
console.table(table);

for (const [promise, test] of rows.filter((it) => it.length === 2)) {
  const named = /^`(.+?)`: (.+)$/.exec(test);
  if (!named) continue;
  const [, file, title] = named;
  const source = path.join(ROOT, file);
  if (!fs.existsSync(source) || !titles(source).some((it) => it.test(title))) {
    console.error(`“${promise}”: ${file} has no test “${title}”`);
    missed += 1;
  }
}
console.log(missed === 0 ? 'spec: all met' : `spec: ${missed} not met or not shown`);
process.exitCode = missed === 0 ? 0 : 1;

/** What the tests of a file are called; a part that is computed stands for any words. */
function titles(file) {
  const text = fs.readFileSync(file, 'utf8');
  return Array.from(text.matchAll(/\btest\((['`])(.+?)\1,/g), ([, , title]) => {
    const parts = title.split(/\$\{.+?\}/).map((it) => it.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
    return new RegExp(`^${parts.join('.+')}$`);
  });
}
