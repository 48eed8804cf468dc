/** Lives of instances, the agent's and bare ones in turn. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Figure, median } from './figure.ts';
import type { BenchProcess } from './instance-child.ts';
import type { BenchHost } from './instance-host.ts';

export type Spawns = Readonly<Record<string, number>>;

/** What a bare program says after some lives at once. */
export interface BareAnswer {
  readonly wallMs: number;
  readonly spawns: Spawns;
}
export type Bare = BenchProcess<BareAnswer>;

export interface Pair {
  readonly agentMs: number;
  readonly bareMs: number;
}

export interface Turns {
  readonly serial: readonly Pair[];
  readonly crowd: readonly Pair[];
  /** How long somebody waited who looked at one instance after another in a crowd. */
  readonly inspectsMs: readonly number[];
}

export interface TurnsOptions {
  /** Before the numbers of spawns. */
  readonly title: string;
  readonly serialLives: number;
  readonly rounds: number;
  readonly parallel: number;
  /** Whether somebody looks at one instance after another in a crowd. */
  readonly looks: boolean;
}

const inspectEveryMs = 10;
const warmUps = 4;
const warmUpLives = 16;

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

/** Per life cycle: "conmon 1, crun 2, mount 1, umount 1". */
function printSpawns(who: string, before: Spawns, after: Spawns, lives: number): void {
  const counts = Object.entries(after)
    .map(([tool, count]) => [tool, (count - (before[tool] ?? 0)) / lives] as const)
    .filter(([, count]) => count > 0)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([tool, count]) => `${tool} ${round2(count)}`);
  process.stdout.write(`spawns per life cycle, ${who}: ${counts.join(', ')}\n`);
}

/** One life after another, and then many at once. */
export async function takeTurns(host: BenchHost, bare: Bare, options: TurnsOptions): Promise<Turns> {
  const { title, serialLives, rounds, parallel, looks } = options;
  const bareMs = async (lives: number): Promise<number> => (await bare.ask(lives)).wallMs;
  // An agent runs for months; a fresh process is slow in its first calls.
  await compare(
    warmUps,
    () => measure(host, warmUpLives),
    () => bareMs(warmUpLives),
  );
  const before = [await host.spawns(), { ...(await bare.ask(0)).spawns }] as const;
  const serial = await compare(
    serialLives,
    () => measure(host, 1),
    () => bareMs(1),
  );
  const inspectsMs: number[] = [];
  const crowd = await compare(
    rounds,
    () => (looks ? measureWatched(host, parallel, inspectsMs) : measure(host, parallel)),
    () => bareMs(parallel),
  );
  const lives = serialLives + rounds * parallel;
  printSpawns(`${title}agent`, before[0], await host.spawns(), lives);
  printSpawns(`${title}bare`, before[1], (await bare.ask(0)).spawns, lives);
  return { serial, crowd, inspectsMs };
}

/** The medians of both, and the goal of one as a share of the other. */
export function ratioFigures(name: string, pairs: readonly Pair[], atMost?: number): Figure[] {
  const agentMs = median(pairs.map((pair) => pair.agentMs));
  const bareMs = median(pairs.map((pair) => pair.bareMs));
  const ratio = { name: `${name}-ratio`, value: round2(agentMs / bareMs), unit: 'agent/bare' };
  return [
    atMost === undefined ? ratio : { ...ratio, goal: { atMost } },
    { name: `${name}-agent`, value: round2(agentMs), unit: 'ms' },
    { name: `${name}-bare`, value: round2(bareMs), unit: 'ms' },
  ];
}

export const round2 = (value: number): number => Math.round(value * 100) / 100;

export const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? Number.NaN;
