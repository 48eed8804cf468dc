/** Help is an interface: test/golden/cli holds it. DROVER_GOLDEN=write makes the files anew. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { commands } from './commands/index.ts';
import { buildProgram } from './main.ts';

const folder = path.resolve(import.meta.dirname, '../../test/golden/cli');
const write = process.env['DROVER_GOLDEN'] === 'write';

function helpOf(words: readonly string[]): string {
  let found: Command | undefined = buildProgram(async () => {});
  for (const word of words) found = found?.commands.find((one) => one.name() === word);
  let text = '';
  found?.configureOutput({
    writeOut: (part) => (text += part),
    getOutHelpWidth: () => 100,
    getOutHasColors: () => false,
  });
  found?.outputHelp();
  return text;
}

describe('help', () => {
  it.each(
    ['', ...commands.map(({ name }) => name), 'node', 'cluster', 'image', 'network', 'context'].map(
      (name) => [name],
    ),
  )('of "%s"', (name) => {
    const words = name === '' ? [] : name.split(' ');
    const file = path.join(folder, `${['drover', ...words].join('-')}.txt`);
    const text = helpOf(words);
    if (write) {
      mkdirSync(folder, { recursive: true });
      writeFileSync(file, text);
    }
    expect(text).toBe(readFileSync(file, 'utf8'));
  });

  it.each(commands.map((one) => [one.name, one] as const))(
    '%s shows an example that begins with it',
    (name, { examples }) => {
      expect(examples.filter((example) => example.startsWith(name))).not.toEqual([]);
    },
  );
});
