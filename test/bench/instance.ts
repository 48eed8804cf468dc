/**
 * The life of an instance (create, running, removed) through the agent's gRPC interface, as a share of what
 * the same host tools take when a bare program spawns them with the same arguments. Image on the node already.
 */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { passableDirectory } from '../passable-directory.ts';
import { type Figure, median } from './figure.ts';
import type { BaselineAnswer } from './instance-baseline.ts';
import { type BenchProcess, openProcess } from './instance-child.ts';
import { type BenchHost, openHost } from './instance-host.ts';

const serialLives = 20;
const rounds = 3;
const parallel = 32;
const inspectEveryMs = 10;

type Spawns = Readonly<Record<string, number>>;
type Bare = BenchProcess<BaselineAnswer>;

interface Pair {
  readonly agentMs: number;
  readonly bareMs: number;
}

/** Both in turn, so that a host that changes its pace changes it for both. */
async function compare(
  count: number,
  agent: () => Promise<number>,
  bare: () => Promise<number>,
): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let round = 0; round < count; round++) {
    const isAgentFirst = round % 2 === 0;
    const early = isAgentFirst ? await agent() : await bare();
    const late = isAgentFirst ? await bare() : await agent();
    pairs.push({ agentMs: isAgentFirst ? early : late, bareMs: isAgentFirst ? late : early });
  }
  return pairs;
}

async function measure(host: BenchHost, lives: number): Promise<number> {
  const startMs = performance.now();
  await Promise.all(Array.from({ length: lives }, () => host.live()));
  return performance.now() - startMs;
}

/** The same, while somebody looks at one instance after another. */
async function measureWatched(host: BenchHost, lives: number, answersMs: number[]): Promise<number> {
  let isOver = false;
  const looking = (async () => {
    while (!isOver) {
      const tookMs = await host.inspect();
      if (tookMs !== undefined) answersMs.push(tookMs);
      await sleep(inspectEveryMs);
    }
  })();
  const wallMs = await measure(host, lives).finally(() => (isOver = true));
  await looking;
  return wallMs;
}

async function measureBare(bare: Bare, lives: number): Promise<number> {
  return (await bare.ask(lives)).wallMs;
}

const round2 = (value: number): number => Math.round(value * 100) / 100;
const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? Number.NaN;

function ratioFigures(name: string, unit: string, pairs: readonly Pair[]): Figure[] {
  const agentMs = median(pairs.map((pair) => pair.agentMs));
  const bareMs = median(pairs.map((pair) => pair.bareMs));
  return [
    { name: `${name}-ratio`, value: round2(agentMs / bareMs), unit: 'agent/bare', goal: { atMost: 1.5 } },
    { name: `${name}-agent`, value: round2(agentMs), unit },
    { name: `${name}-bare`, value: round2(bareMs), unit },
  ];
}

/** Per life cycle: "conmon 1, crun 2, mount 1, umount 1". */
function printSpawns(who: string, before: Spawns, after: Spawns, lives: number): void {
  const counts = Object.entries(after)
    .map(([tool, count]) => [tool, (count - (before[tool] ?? 0)) / lives] as const)
    .filter(([, count]) => count > 0)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([tool, count]) => `${tool} ${round2(count)}`);
  process.stdout.write(`spawns per life cycle, ${who}: ${counts.join(', ')}\n`);
}

async function compareAll(host: BenchHost, bare: Bare): Promise<readonly Figure[]> {
  for (let each = 0; each < 3; each++)
    await compare(
      1,
      () => measure(host, 4),
      () => measureBare(bare, 4),
    );
  const before = [await host.spawns(), { ...(await bare.ask(0)).spawns }] as const;
  const serial = await compare(
    serialLives,
    () => measure(host, 1),
    () => measureBare(bare, 1),
  );
  const answersMs: number[] = [];
  const crowd = await compare(
    rounds,
    () => measureWatched(host, parallel, answersMs),
    () => measureBare(bare, parallel),
  );
  const lives = serialLives + rounds * parallel;
  printSpawns('agent', before[0], await host.spawns(), lives);
  printSpawns('bare', before[1], (await bare.ask(0)).spawns, lives);
  return [
    ...ratioFigures('serial-p50', 'ms', serial),
    ...ratioFigures(`parallel${parallel}`, 'ms', crowd),
    { name: 'inspect-p99-ms', value: round2(percentile(answersMs, 0.99)), unit: 'ms', goal: { atMost: 50 } },
    { name: 'inspect-p50-ms', value: round2(median(answersMs)), unit: 'ms' },
    { name: 'inspects', value: answersMs.length, unit: 'calls' },
  ];
}

export async function run(): Promise<readonly Figure[]> {
  await using folder = await passableDirectory('bench');
  await using host = await openHost(folder.path);
  await host.live(); // The first one compiles the system call filter.
  const file = path.join(folder.path, 'baseline.json');
  await writeFile(file, JSON.stringify(await host.sample()));
  const bare: Bare = openProcess('./instance-baseline.ts', file);
  try {
    return await compareAll(host, bare);
  } finally {
    await bare.end();
  }
}
