/**
 * The life of an instance (create, running, removed) through the agent's gRPC interface, as a share of what
 * the same host tools take when a bare program spawns them with the same arguments. Image on the node already.
 */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { passableDirectory } from '../passable-directory.ts';
import { type Figure, median } from './parts/figure.ts';
import { openProcess } from './parts/instance-child.ts';
import { openHost } from './parts/instance-host.ts';
import { readCrunSample } from './parts/instance-sample.ts';
import { type Bare, percentile, ratioFigures, round2, takeTurns } from './parts/instance-turns.ts';

const parallel = 32;
const goal = 1.5;

export async function run(): Promise<readonly Figure[]> {
  await using folder = await passableDirectory('bench');
  await using host = await openHost(folder.path);
  await host.live(); // The first one compiles the system call filter.
  const file = path.join(folder.path, 'baseline.json');
  const sample = await host.sample((guest) => readCrunSample(guest, path.join(folder.path, 'bare')));
  await writeFile(file, JSON.stringify(sample));
  const bare: Bare = openProcess('./instance-baseline.ts', file);
  try {
    const turns = await takeTurns(host, bare, {
      title: '',
      serialLives: 20,
      rounds: 3,
      parallel,
      looks: true,
    });
    const { serial, crowd, inspectsMs } = turns;
    return [
      ...ratioFigures('serial-p50', serial, goal),
      ...ratioFigures(`parallel${parallel}`, crowd, goal),
      {
        name: 'inspect-p99-ms',
        value: round2(percentile(inspectsMs, 0.99)),
        unit: 'ms',
        goal: { atMost: 50 },
      },
      { name: 'inspect-p50-ms', value: round2(median(inspectsMs)), unit: 'ms' },
      { name: 'inspects', value: inspectsMs.length, unit: 'calls' },
    ];
  } finally {
    await bare.end();
  }
}
