/** The reference, the examples and the schema say the same. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseApplyDocuments } from '#shared/wire/apply-documents.ts';
import { readSpec } from './parse-spec.ts';
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
  const shown = ['docs/spec.md', 'docs/networks.md', 'docs/virtual-machines.md'].flatMap((file) =>
    [...readFileSync(path.join(root, file), 'utf8').matchAll(/```yaml\n(?=(?:#.*\n)?kind:)([^]*?)```/g)].map(
      ([, text = '']): [string, string] => [file, text],
    ),
  );

  it.each([...texts, ...shown])('%s is a good spec', (file, text) => {
    const { documents, networks, faults } = readSpec(text, file);
    expect(faults).toEqual([]);
    const messages = documents.map(({ document }) => document);
    parseApplyDocuments({ documents: messages, networks: networks.map(({ document }) => document) });
  });
});
