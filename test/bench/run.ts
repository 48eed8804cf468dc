/** `npm run bench -- NAME`: a table for people, and one JSON object in the last line for programs. */
import { globSync } from 'node:fs';
import path from 'node:path';
import Table from 'cli-table3';
import { prepareHost } from '../../scripts/host.ts';
import { type Benchmark, type Figure, formatGoal, isMet } from './parts/figure.ts';

const names = globSync('*.ts', { cwd: import.meta.dirname })
  .map((file) => path.basename(file, '.ts'))
  .filter((name) => name !== 'run')
  .toSorted();

const met = (figure: Figure): string => {
  const answer = isMet(figure);
  return answer === undefined ? '' : answer ? 'met' : 'NOT MET';
};

function printTable(figures: readonly Figure[]): void {
  const table = new Table({ head: ['figure', 'value', 'unit', 'goal', ''], style: { head: [], border: [] } });
  for (const figure of figures) {
    table.push([
      figure.name,
      figure.value.toLocaleString('en-US'),
      figure.unit,
      formatGoal(figure),
      met(figure),
    ]);
  }
  process.stdout.write(`${table.toString()}\n`);
}

const name = process.argv[2] ?? '';
if (names.includes(name)) {
  const { run } = (await import(`./${name}.ts`)) as Benchmark;
  const undo = process.getuid?.() === 0 ? prepareHost((line) => console.error(line)) : () => {};
  const figures = await run().finally(undo);
  printTable(figures);
  const line = figures.map((figure) => ({ ...figure, goal: formatGoal(figure) }));
  process.stdout.write(`${JSON.stringify({ bench: name, figures: line })}\n`);
} else {
  process.stderr.write(`which benchmark? wanted one of ${names.join(', ')}: npm run bench -- NAME\n`);
  process.exitCode = 2;
}
