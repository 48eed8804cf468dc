/** Decisions per second of the scheduler: an exact scan of every node, on fleets of three sizes. */
import type { NodeView } from '../../control-plane/scheduler/plugin.ts';
import { schedule } from '../../control-plane/scheduler/schedule.ts';
import { demand, nodeView, pool } from '../fakes/scheduling.ts';
import { type Figure, median } from './parts/figure.ts';

const roundMs = 400;
const rounds = 7;
const digest = `sha256:${'a'.repeat(64)}`;

/**
 * Half full and uneven, with labels, images and copies; one in ten is cordoned and one in four has no room
 * left.
 */
function fleet(size: number): NodeView[] {
  return Array.from({ length: size }, (_, place) =>
    nodeView(`node-${String(place).padStart(5, '0')}`, {
      cordoned: place % 10 === 3,
      labels: { zone: `z${place % 5}`, rack: `r${place % 40}`, disk: place % 3 === 0 ? 'ssd' : 'hdd' },
      cpuFreeMillicores: (place * 37) % 4000,
      memoryFreeMib: (place * 101) % 8192,
      pools: [pool({ freeMib: 20_000 + ((place * 997) % 80_000) }), pool({ name: 'tank' })],
      copies: new Map([
        ['web', place % 7],
        ['db', place % 3],
      ]),
      images: new Set(place % 4 === 0 ? [digest] : []),
    }),
  );
}

const demands = (['spread', 'bin-pack'] as const).flatMap((strategy) =>
  [[], ['zone in (z1, z2, z3)', 'disk = ssd']].map((require) =>
    demand({
      image: `registry.example/web@${digest}`,
      resources: { cpuMillicores: 500, memoryMib: 512, diskMib: 2048, pids: 4096 },
      storage: [
        { pool: '', mib: 2048, isNew: true },
        { pool: 'tank', mib: 512, isNew: true },
      ],
      placement: { require, strategy },
    }),
  ),
);

function decisionsPerSecond(nodes: readonly NodeView[]): number {
  const startMs = performance.now();
  let decisions = 0;
  let endMs = startMs;
  while (endMs - startMs < roundMs) {
    for (const each of demands) if (schedule(each, nodes).node === undefined) throw new Error('nothing fits');
    decisions += demands.length;
    endMs = performance.now();
  }
  return (decisions * 1000) / (endMs - startMs);
}

function figure(size: number, atLeast: number): Figure {
  const nodes = fleet(size);
  decisionsPerSecond(nodes);
  const value = Math.round(median(Array.from({ length: rounds }, () => decisionsPerSecond(nodes))));
  return { name: `decisions-per-s-${size}`, value, unit: '1/s', goal: { atLeast } };
}

export async function run(): Promise<readonly Figure[]> {
  return [figure(50, 30_000), figure(500, 10_000), figure(5_000, 1_000)];
}
