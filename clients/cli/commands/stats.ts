import type { GuestStats } from '#shared/gen/drover/model/v1/model.ts';
import { formatBytes } from '#shared/units.ts';
import { type Column, type CommandContext, command } from '../command.ts';
import { listResult } from '../output.ts';

/** Thousandths of one core that were used between two readings. */
const usedMillicores = (now: GuestStats, before: GuestStats | undefined): number | undefined => {
  if (before === undefined || now.atMs <= before.atMs || now.cpuUs < before.cpuUs) return undefined;
  return Math.round(Number(now.cpuUs - before.cpuUs) / Number(now.atMs - before.atMs));
};

const columns = (before: ReadonlyMap<string, GuestStats>): Column<GuestStats>[] => [
  { title: 'INSTANCE', value: ({ displayName, instanceId }) => displayName || instanceId },
  {
    title: 'CPU',
    value: (now) => {
      const used = usedMillicores(now, before.get(now.instanceId));
      return used === undefined ? '-' : `${used}m`;
    },
  },
  { title: 'MEMORY', value: ({ memoryBytes }) => formatBytes(memoryBytes) },
  { title: 'PIDS', value: ({ pids }) => `${pids}` },
  { title: 'RECEIVED', value: ({ receivedBytes }) => formatBytes(receivedBytes) },
  { title: 'SENT', value: ({ sentBytes }) => formatBytes(sentBytes) },
];

const secondMs = 1000;

export const stats = command({
  name: 'stats',
  summary: 'Show what instances use: processor, memory, processes and network',
  arguments: [
    { name: '[target]', help: 'an instance, or a workload; all where left out', completes: 'instance' },
  ],
  examples: ['stats', 'stats web', 'stats web-x7k2p -o json'],
  async run({ args: [target = ''] }, context) {
    // Here and not above: the help of the command line must not load generated code.
    const { GuestStats: GuestStatsMessage } = await import('#shared/gen/drover/model/v1/model.ts');
    const first = await read(target, context);
    // Processor time is told as a sum: how fast it grows is seen between two readings.
    await context.clock.sleep(secondMs, context.signal);
    const rows = await read(target, context);
    return listResult({
      rows,
      columns: columns(new Map(first.map((each) => [each.instanceId, each]))),
      json: GuestStatsMessage.toJSON,
      name: ({ displayName }) => displayName,
      empty: 'nothing runs',
    });
  },
});

async function read(target: string, context: CommandContext): Promise<GuestStats[]> {
  const { fleet } = await context.connect();
  const { project } = context.global;
  const rows = await Array.fromAsync(
    fleet.streamStats({ project, target, intervalMs: 0 }, { deadlineMs: 30_000 }),
  );
  return rows.toSorted((a, b) => (a.displayName < b.displayName ? -1 : 1));
}
