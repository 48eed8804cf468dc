/** The house rules as a test: who imports whom, one door per library, no clocks where none may be, sizes. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';
import { describe, expect, it } from 'vitest';
import { version } from '#shared/version.ts';

const root = path.resolve(import.meta.dirname, '..');
const files = globSync('{shared,agent,control-plane,clients,scripts,test}/**/*.ts', { cwd: root })
  .filter((file) => !/^(shared|control-plane\/backends\/proxmox\/schema)\/gen\//.test(file))
  .concat('drover.ts')
  .sort();
const isTest = (file: string): boolean => file.endsWith('.test.ts') || file.startsWith('test/');
const product = files.filter((file) => !isTest(file) && !file.startsWith('scripts/'));
const texts = new Map(files.map((file) => [file, readFileSync(path.join(root, file), 'utf8')]));
const parsed = new Map(files.map((file) => [file, parseSync(file, texts.get(file) ?? '')]));

/** Paths from the root for our own modules, names for libraries. */
function importsOf(file: string): string[] {
  const { module } = parsed.get(file) ?? {};
  const fixed = module?.staticImports.map((one) => one.moduleRequest.value) ?? [];
  const again = module?.staticExports.flatMap((one) =>
    one.entries.flatMap((entry) => entry.moduleRequest?.value ?? []),
  );
  const late = [...(texts.get(file) ?? '').matchAll(/\bimport\('([^']+)'\)/g)].map((match) => match[1] ?? '');
  return [...new Set([...fixed, ...(again ?? []), ...late])].map((name) => {
    if (name.startsWith('#shared/')) return name.slice(1);
    return name.startsWith('.') ? path.join(path.dirname(file), name) : name;
  });
}

/** First matching prefix → the prefixes it may import from, itself and shared/ always included. */
const arrows: readonly (readonly [string, readonly string[]])[] = [
  ['shared/', []],
  ['agent/main.ts', ['agent/']],
  ['agent/host/', []],
  ['agent/drivers/', ['agent/host/', 'agent/images/image-source.ts', 'agent/volumes/volume-driver.ts']],
  ['agent/volumes/', ['agent/host/']],
  ['agent/images/', ['agent/host/', 'agent/volumes/volume-driver.ts']],
  [
    'agent/instances',
    [
      'agent/instances',
      'agent/drivers/driver.ts',
      'agent/volumes/volume-driver.ts',
      'agent/volumes/pools.ts',
      'agent/network/guest-network.ts',
      'agent/images/image-source.ts',
      'agent/host/',
    ],
  ],
  [
    'agent/api/',
    ['agent/instances', 'agent/drivers/driver.ts', 'agent/images/image-source.ts', 'agent/host/'],
  ],
  ['agent/', ['agent/']],
  ['control-plane/main.ts', ['control-plane/']],
  ['control-plane/scheduler/', []],
  ['control-plane/store/', []],
  [
    'control-plane/backends/',
    ['control-plane/store/', 'control-plane/identity/', 'control-plane/listener.ts'],
  ],
  [
    'control-plane/planner/',
    [
      'control-plane/scheduler/',
      'control-plane/reconciler/rollout.ts',
      'control-plane/reconciler/plan.ts',
      'control-plane/store/',
      'control-plane/node-views.ts',
      'control-plane/demand.ts',
      'control-plane/placement.ts',
      'control-plane/rollout-world.ts',
      'control-plane/fleet-view.ts',
      'control-plane/status.ts',
    ],
  ],
  ['control-plane/', ['control-plane/']],
  ['clients/', ['clients/']],
  ['drover.ts', ['agent/', 'control-plane/', 'clients/']],
];

function mayImport(file: string, target: string): boolean {
  if (target.startsWith('shared/')) return true;
  const [prefix, allowed] = arrows.find(([start]) => file.startsWith(start)) ?? ['', []];
  return [prefix, ...allowed].some((start) => target.startsWith(start));
}

const doors: Readonly<Record<string, RegExp>> = {
  execa: /^agent\/host\/command\.ts$/,
  undici: /^control-plane\/backends\/proxmox\/client\.ts$/,
  pino: /^shared\/log\.ts$/,
  'node:sqlite': /^control-plane\/store\/sqlite[a-z-]*\.ts$/,
  'node:child_process': /^clients\/cli\/run-beside\.ts$/,
};

const clocks =
  /\bnew Date\b|\bDate\.now\b|\bperformance\.now\b|(?<![.\w])set(?:Timeout|Interval|Immediate)\(|\bAbortSignal\.timeout\b|\bMath\.random\b|\brandom(?:Bytes|UUID|UUIDv7|Int|FillSync)\(|\bgetRandomValues\b|\bprocess\.env\b/;
const mayTellTime = /(^|\/)(clock|random|config|main)\.ts$|^drover\.ts$/;

const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');

/** Lines of each function, less the lines of the functions inside it. */
function longFunctions(file: string): string[] {
  const text = texts.get(file) ?? '';
  const lineOf = (offset: number): number => text.slice(0, offset).split('\n').length;
  const spans: [number, number][] = [];
  const note = (node: { start: number; end: number }): void =>
    void spans.push([lineOf(node.start), lineOf(node.end)]);
  const program = parsed.get(file)?.program;
  if (program === undefined) return [];
  new Visitor({ FunctionDeclaration: note, FunctionExpression: note, ArrowFunctionExpression: note }).visit(
    program,
  );
  return spans.flatMap(([first, last]) => {
    const inner = spans.filter(([from, to]) => from >= first && to <= last && (from > first || to < last));
    const covered = new Set(
      inner.flatMap(([from, to]) => Array.from({ length: Math.max(0, to - from) }, (_, n) => from + n)),
    );
    const own = last - first + 1 - covered.size;
    return own > 60 ? [`${file}:${first} has ${own} lines of its own`] : [];
  });
}

describe('the house', () => {
  it('imports along the arrows only', () => {
    const wrong = product.flatMap((file) =>
      importsOf(file)
        .filter((target) => /^(shared|agent|control-plane|clients|test|scripts)\//.test(target))
        .filter((target) => !mayImport(file, target))
        .map((target) => `${file} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('names contracts, not implementations, outside main.ts', () => {
    const lists = /^(agent\/(drivers|volumes|images)|control-plane\/backends)\/index\.ts$/;
    const wrong = product.flatMap((file) =>
      path.basename(file) === 'main.ts'
        ? []
        : importsOf(file)
            .filter((target) => lists.test(target))
            .map((target) => `${file} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('opens each outside library through one door', () => {
    const wrong = product.flatMap((file) =>
      importsOf(file)
        .filter((target) => Object.hasOwn(doors, target) && !doors[target]?.test(file))
        .map((target) => `${file} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('has no import cycle', () => {
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file))
        return void cycles.push([...trail.slice(trail.indexOf(file)), file].join(' → '));
      if (done.has(file)) return;
      done.add(file);
      for (const target of importsOf(file)) if (texts.has(target)) visit(target, [...trail, file]);
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it('reads clocks, chance and environment only where a simulation can own them', () => {
    const wrong = product
      .filter((file) => !mayTellTime.test(file))
      .flatMap((file) => {
        const found = clocks.exec(withoutComments(texts.get(file) ?? ''));
        return found ? [`${file}: ${found[0]}`] : [];
      });
    expect(wrong).toEqual([]);
  });

  it('keeps files and lines short', () => {
    const wrong = files.flatMap((file) => {
      const lines = (texts.get(file) ?? '').split('\n');
      const long = lines.findIndex((line) => line.length > 110);
      return [
        ...(lines.length > 301 && !isTest(file) ? [`${file} has ${lines.length - 1} lines`] : []),
        ...(long >= 0 && !isTest(file) ? [`${file}:${long + 1} has ${lines[long]?.length} characters`] : []),
      ];
    });
    expect(wrong).toEqual([]);
  });

  it('keeps functions short', () => {
    expect(product.flatMap(longFunctions)).toEqual([]);
  });

  it('has no drawer for odds and ends', () => {
    expect(files.filter((file) => /(^|\/)(utils?|helpers?|common|lib|types)(\.ts|\/)/.test(file))).toEqual(
      [],
    );
  });

  it('tells one version', () => {
    const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
    expect(version).toBe(manifest.version);
  });
});
