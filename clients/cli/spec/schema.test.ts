/** The reference, the examples and the schema say the same. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseWorkloadDocuments } from '#shared/wire/workload.ts';
import { parseSpec } from './parse-spec.ts';
import { workloadSchema } from './schema.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const reference = readFileSync(path.join(root, 'docs/spec.md'), 'utf8');

const fields = Object.entries(workloadSchema.properties).flatMap(([name, field]) =>
  'properties' in field ? Object.keys(field.properties ?? {}).map((key) => `${name}.${key}`) : [name],
);

describe('docs/spec.md', () => {
  it.each(fields)('has a row for %s', (field) => {
    expect(reference).toContain(`\n| \`${field}\` |`);
  });

  it('has no row for what is not a field', () => {
    const rows = [...reference.matchAll(/^\| `([A-Za-z.]+)` \|.*\|.*\|$/gm)].map(([, name]) => name);
    // A selector of one word looks like a field.
    expect(new Set(rows.filter((name) => name !== 'gpu'))).toEqual(new Set(fields));
  });
});

describe('what we show to people', () => {
  const texts = globSync('examples/*.yaml', { cwd: root }).map((file): [string, string] => [
    file,
    readFileSync(path.join(root, file), 'utf8'),
  ]);
  const shown = [...reference.matchAll(/```yaml\n([^]*?)```/g)].map(([, text = '']): [string, string] => [
    'docs/spec.md',
    text,
  ]);

  it.each([...texts, ...shown])('%s is a good spec', (file, text) => {
    expect(parseWorkloadDocuments(parseSpec(text, file).map(({ document }) => document))).not.toEqual([]);
  });
});
