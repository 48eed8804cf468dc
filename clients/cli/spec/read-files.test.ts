import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isKind } from '#shared/errors.ts';
import { parseWorkloadDocuments } from '#shared/wire/workload.ts';
import { readDocuments } from './read-files.ts';

const head = 'kind: Workload\nname: web\nimage: reg.example/web\n';
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'drover-spec-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const put = (name: string, text: string): void => writeFileSync(path.join(folder, name), text);

/** What a person is told, without the folder and without the lines that show the place. */
function told(error: unknown): string[] {
  if (!isKind(error, 'invalid-argument')) throw error;
  const [, ...lines] = error.message.replaceAll(`${folder}/`, '').split('\n');
  return lines.filter((line) => !line.startsWith(' '));
}

describe('readDocuments', () => {
  it('reads a directory by name, and only what looks like a spec', async () => {
    put('b.yml', head.replaceAll('web', 'b'));
    put('a.yaml', head.replaceAll('web', 'a'));
    put('c.json', JSON.stringify({ kind: 'Workload', name: 'c', image: 'reg.example/c' }));
    put('notes.txt', 'not: [a spec');
    const { messages } = await readDocuments([folder], process.stdin);
    expect(messages.map(({ metadata }) => metadata?.name)).toEqual(['a', 'b', 'c']);
  });

  it('tells the faults of all files at once', async () => {
    put('a.yaml', `${head}replica: 1\n`);
    put('b.yaml', 'name: [\n');
    put('c.yaml', head);
    const wrong = await readDocuments([folder], process.stdin).catch(told);
    expect((wrong as string[]).map((line) => line.split(' ')[0])).toEqual(['a.yaml:4:1', 'b.yaml:2:1']);
  });

  it.each<[string, readonly string[], RegExp]>([
    ['nothing', [], /which file/],
    ['a file that is not there', ['/nowhere/web.yaml'], /there is no file \/nowhere\/web\.yaml/],
  ])('refuses %s', async (_what, sources, message) => {
    await expect(readDocuments(sources, process.stdin)).rejects.toThrow(message);
  });

  it('refuses a directory without specs', async () => {
    await expect(readDocuments([folder], process.stdin)).rejects.toThrow(/holds no \.yaml/);
  });
});

describe('what the control plane refuses', () => {
  it.each<[string, string, string[]]>([
    ['in one document', `${head}workingDir: relative\n`, ['all.yaml:4:1 workingDir: "relative" is not']],
    [
      'in several documents',
      `${head}---\nkind: Workload\nname: db\nimage: nowhere\nresources:\n  memory: 1MiB\n`,
      ['all.yaml:7:1 image: "nowhere" is not', 'all.yaml:9:3 resources.memory: 1MiB is too'],
    ],
    ['a name twice', `${head}---\n${head}`, ['all.yaml:6:1 name: "web" is there']],
    [
      'an element of a list',
      `${head}placement:\n  require:\n    - zone = a\n    - zone in (\n`,
      ['all.yaml:7:7 placement.require[1]:'],
    ],
    ['a key with dots', `${head}env: { a.b: x, 1x: y }\n`, ['all.yaml:4:16 env.1x: "1x" is not a']],
  ])('is named by its line: %s', async (_what, text, starts) => {
    put('all.yaml', text);
    const { messages, locate } = await readDocuments([path.join(folder, 'all.yaml')], process.stdin);
    let places: string[] = [];
    try {
      parseWorkloadDocuments(messages);
    } catch (error) {
      places = told(locate(error));
    }
    expect(places).toHaveLength(starts.length);
    for (const [place, start] of starts.entries()) expect(places[place]).toContain(start);
  });
});
