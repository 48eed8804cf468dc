import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { isKind } from '#shared/errors.ts';
import { parseWorkloadDocument } from '#shared/wire/workload.ts';
import { parseSpec } from './parse-spec.ts';
import { workloadSchema } from './schema.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const base = 'kind: Workload\nname: web\nimage: registry.example/web:1\n';

function faultsOf(text: string): string {
  try {
    parseSpec(text, 'web.yaml');
  } catch (error) {
    if (isKind(error, 'invalid-argument')) return error.message;
    throw error;
  }
  return '';
}

describe('parseSpec', () => {
  it('reads every field of the example, with its units', () => {
    const file = path.join(root, 'examples/web.yaml');
    const [first] = parseSpec(readFileSync(file, 'utf8'), file);
    const { name, spec } = parseWorkloadDocument(first?.document as never) as never as Record<string, never>;
    expect(name).toBe('web');
    expect(spec).toMatchObject({
      image: 'registry.example/web:1.4',
      replicas: 3,
      command: ['/bin/httpd', '-f'],
      env: { MODE: 'production' },
      resources: { cpuMillicores: 500, memoryMib: 256, diskMib: 2048, pids: 512 },
      restart: { policy: 'on-failure', maxAttempts: 5 },
      placement: { require: ['zone in (a, b)'], strategy: 'spread' },
      update: { readyAfterMs: 5000 },
      stopGraceMs: 10_000,
    });
  });

  const rows: readonly (readonly [string, string, RegExp])[] = [
    [
      'a key of the wrong name',
      `${base}replica: 3\n`,
      /web\.yaml:4:1 replica: .*did you mean "replicas"\?\n {4}replica: 3\n {4}\^/,
    ],
    [
      'a nested key of the wrong name',
      `${base}resources:\n  memroy: 1GiB\n`,
      /web\.yaml:5:3 .*did you mean "memory"/,
    ],
    [
      'a value that is not a size',
      `${base}resources:\n  memory: 4 GB\n`,
      /web\.yaml:5:3 .*did you mean "4GiB"/,
    ],
    [
      'a value that is not a share of cores',
      `${base}resources: { cpu: lots }\n`,
      /web\.yaml:4:14 .*"lots" is not a share/,
    ],
    ['a value that is not one of the words', `${base}network: hots\n`, /web\.yaml:4:1 .*did you mean "host"/],
    ['a missing key', 'kind: Workload\nname: web\n', /"image" is missing/],
    ['a key that is there twice', `${base}name: other\n`, /web\.yaml:4:1 .*unique/i],
    ['broken YAML', `${base}env: {\n`, /web\.yaml:\d+:\d+ /],
    ['an item of a list', `${base}placement:\n  require: [3]\n`, /web\.yaml:5:13 placement\.require\[0\]/],
    ['a file without a document', '# nothing\n', /holds no document/],
    ['a document that is no map', '- a\n', /not a document of keys and values/],
    ['a number out of its range', `${base}replicas: 1001\n`, /web\.yaml:4:1 replicas: is 1001/],
  ];
  it.each(rows)('places %s', (_name, text, wanted) => {
    expect(faultsOf(text)).toMatch(wanted);
  });

  it('tells every fault of every document at once', () => {
    const found = faultsOf(`${base}replica: 1\nnetwork: x\n---\n${base}stop: { grace: soon }\n`);
    expect(found.match(/^web\.yaml:\d+:\d+/gm)).toEqual(['web.yaml:4:1', 'web.yaml:5:1', 'web.yaml:10:9']);
  });

  it('reads what YAML takes for numbers as text in an environment', () => {
    const [first] = parseSpec(`${base}env: { PORT: 80, ON: true }\n`, 'web.yaml');
    expect(first?.document.spec?.env).toEqual({ PORT: '80', ON: 'true' });
  });

  it('refuses a bomb of aliases quickly', () => {
    const levels = Array.from(
      { length: 12 },
      (_, n) => `a${n + 1}: &a${n + 1} [*a${n}, *a${n}, *a${n}, *a${n}, *a${n}]`,
    );
    expect(faultsOf(`${base}labels:\n  a0: &a0 x\n${levels.join('\n')}\n`)).not.toBe('');
  });

  it('publishes the schema that it checks by', () => {
    const published = readFileSync(path.join(root, 'docs/workload.schema.json'), 'utf8');
    expect(JSON.parse(published)).toEqual(workloadSchema);
  });
});
