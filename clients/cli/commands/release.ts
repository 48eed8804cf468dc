import type { Release } from '#shared/gen/drover/fleet/v1/cluster.ts';
import { command } from '../command.ts';
import { releaseColumns } from '../cluster-views.ts';
import { exitCode } from '../exit-code.ts';
import { table } from '../output.ts';

export const release = command({
  name: 'release',
  summary: 'Give up guests of a cluster: they run on as they are, and Drover forgets them',
  arguments: [
    {
      name: '<target>',
      help: 'an instance, or a workload: then each of its instances',
      completes: 'instance',
    },
  ],
  examples: ['release shop', 'release shop-x7k2p'],
  async run({ args: [target = ''] }, context) {
    const { clusters, clusterMessages } = await context.connect();
    const { project } = context.global;
    const rows: Release[] = [];
    for await (const row of clusters.releaseInstances({ project, target }, { signal: context.signal })) {
      rows.push(row);
      const guest = `${row.cluster}/${row.vmid}`;
      context.terminal.note(
        row.error === ''
          ? `${row.instance}: released; ${guest} runs on`
          : `${row.instance}: failed: ${row.error}`,
      );
    }
    const failed = rows.filter(({ error }) => error !== '').length;
    return {
      data: rows.map((row) => clusterMessages.Release.toJSON(row)),
      names: rows.filter(({ error }) => error === '').map(({ instance }) => instance),
      text: ({ wide }) => table(rows, releaseColumns, wide),
      exitCode: failed === 0 ? exitCode.done : failed < rows.length ? exitCode.partly : exitCode.failed,
    };
  },
});
