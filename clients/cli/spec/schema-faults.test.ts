import { describe, expect, it } from 'vitest';
import { isKind } from '#shared/errors.ts';
import { parseWorkloadDocuments } from '#shared/wire/workload.ts';
import { parseSpec } from './parse-spec.ts';

const head = 'kind: Workload\nname: web\nimage: reg.example/web\n';

/** What the control plane makes of a text. */
const read = (text: string) => parseWorkloadDocuments(parseSpec(text, 'web.yaml').map((one) => one.document));

/** The faults of a text, without the lines and carets that show them. */
function placesOf(text: string): string[] {
  try {
    parseSpec(text, 'web.yaml');
  } catch (error) {
    if (!isKind(error, 'invalid-argument')) throw error;
    const [, ...lines] = error.message.split('\n');
    return lines.filter((line) => !line.startsWith('    '));
  }
  return [];
}

describe('a good spec', () => {
  it('has defaults for all but three keys', () => {
    expect(read(head)[0]?.spec).toMatchObject({
      replicas: 1,
      network: 'none',
      restart: { policy: 'always', maxAttempts: 0 },
      placement: { require: [], strategy: 'spread' },
      update: { readyAfterMs: 1000 },
      stopGraceMs: 10_000,
      resources: { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 4096 },
    });
  });

  it('may be several documents, with empty ones between', () => {
    const text = `${head}---\n---\n# nothing\n---\n${head.replaceAll('web', 'db')}`;
    expect(read(text).map(({ name }) => name)).toEqual(['web', 'db']);
  });

  it('may be JSON', () => {
    const text = JSON.stringify({ kind: 'Workload', name: 'web', image: 'reg.example/web', replicas: 0 });
    expect(read(text)[0]?.spec.replicas).toBe(0);
  });

  it.each([
    ['PORT: 80', { PORT: '80' }],
    ['VERSION: 1.10', { VERSION: '1.10' }],
    ['MODE: 0755', { MODE: '0755' }],
    ['HEX: 0x10', { HEX: '0x10' }],
    ['BIG: 12345678901234567890', { BIG: '12345678901234567890' }],
    ['ON: true', { ON: 'true' }],
    ['NO: no', { NO: 'no' }],
    ['EMPTY: ""', { EMPTY: '' }],
  ])('keeps what is written in an environment: %s', (entry, env) => {
    expect({ ...read(`${head}env: { ${entry} }\n`)[0]?.spec.env }).toEqual(env);
  });

  it('takes numbers in a command as text', () => {
    expect(read(`${head}command: [sleep, 1.50]\n`)[0]?.spec.command).toEqual(['sleep', '1.50']);
  });

  it.each([
    ['cpu: 2', { cpuMillicores: 2000 }],
    ['cpu: 0.5', { cpuMillicores: 500 }],
    ['memory: 1GiB', { memoryMib: 1024 }],
    ['memory: 512M', { memoryMib: 489 }],
  ])('reads quantities: %s', (entry, resources) => {
    expect(read(`${head}resources: { ${entry} }\n`)[0]?.spec.resources).toMatchObject(resources);
  });

  it('may use anchors', () => {
    expect({ ...read(`${head}env: &e { A: x }\nlabels: *e\n`)[0]?.labels }).toEqual({ A: 'x' });
  });
});

describe('a bad spec', () => {
  it.each<[string, string[]]>([
    [
      `${head}resources: { cpu: 1, memory: 4 GB }\n`,
      ['web.yaml:4:22 resources.memory: "4 GB" is not a size; did you mean "4GiB"?'],
    ],
    [
      `${head}resources:\n  memry: 4MiB\n`,
      ['web.yaml:5:3 resources.memry: is not a key here; did you mean "memory"?'],
    ],
    [
      `${head}restart: { policy: on-fail }\n`,
      [
        'web.yaml:4:12 restart.policy: is "on-fail"; wanted "never" or "on-failure" or "always";' +
          ' did you mean "on-failure"?',
      ],
    ],
    ['kind: Workload\nname: web\n', ['web.yaml:1:1 "image" is missing']],
    [head.replace('Workload', 'Job'), ['web.yaml:1:1 kind: is "Job"; wanted "Workload" or "Network"']],
    [
      head.replace('web\n', 'Web\n'),
      [
        'web.yaml:2:1 name: is "Web"; wanted 1 to 40 of a-z, 0-9 and "-", neither first nor last "-";' +
          ' unique in its project',
      ],
    ],
    [`${head}replicas: -1\n`, ['web.yaml:4:1 replicas: is -1; wanted at least 0']],
    [`${head}replicas: 1001\n`, ['web.yaml:4:1 replicas: is 1001; wanted at most 1000']],
    [`${head}replicas: "3"\n`, ['web.yaml:4:1 replicas: is "3"; wanted a whole number']],
    [`${head}command: ls\n`, ['web.yaml:4:1 command: is "ls"; wanted a list such as ["/bin/httpd","-f"]']],
    [
      `${head}command: [ls, [a]]\n`,
      ['web.yaml:4:15 command[1]: is ["a"]; wanted text or a number or true or false'],
    ],
    [
      `${head}resources: { memory: 512 }\n`,
      ['web.yaml:4:14 resources.memory: is 512; wanted text such as "256MiB"'],
    ],
    [
      `${head}stop: { grace: 10 s }\n`,
      ['web.yaml:4:9 stop.grace: "10 s" is not a duration; wanted such as "10s" or "1h30m"'],
    ],
    [
      `${head}labels: { example.com/zone: [a] }\n`,
      ['web.yaml:4:11 labels.example.com/zone: is ["a"]; wanted text or a number or true or false'],
    ],
    [`${head}env:\n`, ['web.yaml:4:1 env: is null; wanted keys and values']],
    ['just words\n', ['web.yaml:1:1 is not a document of keys and values']],
    ['', ['web.yaml: holds no document']],
  ])('%j', (text, faults) => expect(placesOf(text)).toEqual(faults));

  it('tells everything at once, in the order of the lines, over all documents', () => {
    const text =
      'kind: Workload\nnme: web\nimage: x\nresources: { memory: 4 GB, cpu: lots }\nstop: { grace: soon }\n' +
      `---\n${head}replica: 2\n---\n${head}`;
    expect(placesOf(text).map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      'web.yaml:1:1 "name"',
      'web.yaml:2:1 nme:',
      'web.yaml:4:14 resources.memory:',
      'web.yaml:4:28 resources.cpu:',
      'web.yaml:5:9 stop.grace:',
      'web.yaml:10:1 replica:',
    ]);
  });

  it.each([
    ['a missing bracket', `${head}command: [ls\n`, /^web\.yaml:5:1 .*\]/],
    ['a tab', `${head}env:\n\tA: b\n`, /^web\.yaml:5:1 /],
    ['two colons', `${head}env: a: b\n`, /^web\.yaml:4:\d+ Nested mappings/],
    ['an alias to nothing', `${head}env: *gone\n`, /^web\.yaml:4:6 there is no anchor "gone" before here/],
    ['a broken second document', `${head}---\nname: [\n`, /^web\.yaml:6:1 /],
  ])('shows where the YAML is broken: %s', (_what, text, first) => {
    expect(placesOf(text)[0]).toMatch(first);
  });

  it('shows only what is around the place in a long line', () => {
    const text = JSON.stringify({ kind: 'Workload', annotations: { a: 'x'.repeat(5000) }, bad: 1 });
    let lines: string[] = [];
    try {
      parseSpec(text, 'web.yaml');
    } catch (error) {
      lines = (error as Error).message.split('\n');
    }
    for (const line of lines) expect(line.length).toBeLessThan(200);
    const [, row = '', caret = ''] = lines.slice(-3);
    expect(row.slice(caret.length - 1)).toMatch(/^"bad"/);
  });
});

describe('a hostile spec', () => {
  const nine = (name: string): string => `[${Array.from({ length: 9 }, () => name).join(', ')}]`;
  const bomb = ['b', 'c', 'd', 'e', 'f', 'g', 'h']
    .map((name, place) => `${name}: &${name} ${nine(`*${'abcdefgh'[place]}`)}\n`)
    .join('');

  it.each([
    ['a bomb of aliases', `${head}a: &a ${nine('lol')}\n${bomb}`, /grows out of its aliases; at most 100/],
    ['an alias inside itself', `${head}env: &a [*a]\n`, /^web\.yaml:4:10 "a" holds itself/],
    ['deep nesting', `a: ${'['.repeat(100_000)}`, /nested too deeply|Flow sequence/],
    ['__proto__', `${head}__proto__: { polluted: yes }\n`, /__proto__: is not a key here/],
    ['constructor', `${head}constructor: 1\n`, /constructor: is not a key here/],
    ['merge keys', `${head}<<: { replicas: 3 }\n`, /<<: is not a key here/],
    ['a tag for code', `${head}env: !!js/function "x"\n`, /env: is "x"; wanted keys and values/],
    ['too much', `# ${'x'.repeat(1024 * 1024)}`, /holds 1048578 characters; at most 1048576/],
    ['too many', `${head}---\n`.repeat(31), /holds 31 documents; at most 30/],
    ['NUL', `${head}\0: 1\n`, /^web\.yaml:4:1 /],
  ])('is refused: %s', (_what, text, message) => {
    const lines = placesOf(text);
    expect(lines.join('\n')).toMatch(message);
    expect(lines.length).toBeLessThan(60);
  });

  it('never tells more than fifty faults', () => {
    const text = `${head}${Array.from({ length: 80 }, (_, place) => `bad${place}: 1\n`).join('')}`;
    expect(placesOf(text)).toHaveLength(51);
    expect(placesOf(text).at(-1)).toBe('… and 30 more');
  });
});
