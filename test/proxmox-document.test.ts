/** What docs/proxmox.md says must be so: the privileges, every command, every specification. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { commands } from '../clients/cli/commands/index.ts';
import { readDocuments } from '../clients/cli/spec/read-files.ts';
import { rightsOf } from '../control-plane/backends/proxmox/observe/rights.ts';
import { parseApplyDocuments } from '#shared/wire/apply-documents.ts';

const text = readFileSync(path.resolve(import.meta.dirname, '../docs/proxmox.md'), 'utf8');
const blocks = (language: string): string[] =>
  [...text.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].flatMap(([, kind, body = '']) =>
    kind === language ? [body] : [],
  );

const droverLines = blocks('sh')
  .flatMap((block) => block.split('\n'))
  .map((line) => line.replace(/ {2,}#.*$/, '').trim())
  .filter((line) => line.startsWith('drover '));

/** Words as a shell would part them; the document needs no more of it. */
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, bare]) => single ?? double ?? bare ?? '',
  );

describe('docs/proxmox.md', () => {
  it('gives the role just the privileges that are asked for', () => {
    const told = /role add Drover --privs "([^"]+)"/.exec(text)?.[1]?.split(' ') ?? [];
    expect(told.toSorted()).toEqual(
      rightsOf({})
        .map(({ privilege }) => privilege)
        .toSorted(),
    );
  });

  it.each(droverLines.map((line) => [line]))('%s is a command with such options', (line) => {
    const [, ...words] = wordsOf(line);
    const found = commands
      .filter(({ name }) => name.split(' ').every((word, place) => words[place] === word))
      .toSorted((a, b) => b.name.length - a.name.length)[0];
    expect(found?.name).toBeDefined();
    const rest = words.slice(found?.name.split(' ').length);
    const known = new Map(
      (found?.options ?? []).map(({ flags }) => [/--[a-z-]+/.exec(flags)?.[0] ?? '', flags]),
    );
    const global = ['--yes', '--wait'];
    const options = rest.filter((word) => word.startsWith('--'));
    expect(options.filter((option) => !known.has(option) && !global.includes(option))).toEqual([]);
    const takesValue = (word: string | undefined): boolean =>
      word !== undefined && (word === '-f' || (known.get(word)?.includes('<') ?? false));
    const positionals = rest.filter((word, place) => !word.startsWith('-') && !takesValue(rest[place - 1]));
    const needed = (found?.arguments ?? []).filter(({ name }) => name.startsWith('<')).length;
    expect(positionals.length).toBeGreaterThanOrEqual(needed);
    expect(positionals.length).toBeLessThanOrEqual((found?.arguments ?? []).length);
  });

  it.each(blocks('yaml').map((block) => [block]))('%s can be applied', async (block) => {
    const documents = await readDocuments(['-'], Readable.from([block]) as unknown as NodeJS.ReadStream);
    const { messages, networks } = documents;
    expect(() => parseApplyDocuments({ documents: [...messages], networks: [...networks] })).not.toThrow();
  });
});
