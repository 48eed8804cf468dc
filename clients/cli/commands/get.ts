import { closest } from 'fastest-levenshtein';
import { DroverError } from '#shared/errors.ts';
import type {
  Instance,
  Network,
  Node,
  NodeImage,
  Volume,
  Workload,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import {
  type CommandContext,
  type OptionValues,
  type Result,
  command,
  manyOption,
  textOption,
} from '../command.ts';

import { clusterColumns, guestColumns, guestName } from '../cluster-views.ts';
import { readEnvironment } from '../config.ts';
import { rememberNames } from '../known-names.ts';
import { type ListKind, listKinds } from '../list-kinds.ts';
import { listResult } from '../output.ts';
import {
  imageColumns,
  instanceColumns,
  networkColumns,
  nodeColumns,
  operationColumns,
  volumeColumns,
  workloadColumns,
} from '../views.ts';

type List = (context: CommandContext, options: OptionValues) => Promise<Result>;

const lists: Readonly<Record<ListKind, List>> = {
  nodes: async (context, options) => {
    const { nodes, messages } = await context.connect();
    const rows = await Array.fromAsync(nodes.listNodes({ selectors: [...manyOption(options, 'selector')] }));
    const columns = nodeColumns(context.clock.nowMs(), rows);
    const name = (row: Node): string => row.metadata?.name ?? '';
    return listResult({
      rows,
      columns,
      json: messages.Node.toJSON,
      name,
      empty: 'no nodes; next: drover node token NAME',
    });
  },
  workloads: async (context, options) => {
    const { fleet, messages } = await context.connect();
    const { project } = context.global;
    const rows = await Array.fromAsync(
      fleet.listWorkloads({ project, selectors: [...manyOption(options, 'selector')] }),
    );
    const columns = workloadColumns(context.clock.nowMs());
    const name = (row: Workload): string => row.metadata?.name ?? '';
    return listResult({
      rows,
      columns,
      json: messages.Workload.toJSON,
      name,
      empty: 'no workloads; next: drover apply -f FILE',
    });
  },
  instances: async (context, options) => {
    const { fleet, messages } = await context.connect();
    const workload = textOption(options, 'workload') ?? '';
    const node = textOption(options, 'node') ?? '';
    const rows = await Array.fromAsync(
      fleet.listInstances({ project: context.global.project, workload, node }),
    );
    const columns = instanceColumns(context.clock.nowMs());
    const name = (row: Instance): string => row.metadata?.name ?? '';
    return listResult({ rows, columns, json: messages.Instance.toJSON, name, empty: 'no instances' });
  },
  images: async (context, options) => {
    const { nodes, messages } = await context.connect();
    const rows = await Array.fromAsync(nodes.listImages({ node: textOption(options, 'node') ?? '' }));
    const columns = imageColumns(context.clock.nowMs());
    const name = (row: NodeImage): string => row.image?.digest ?? '';
    return listResult({ rows, columns, json: messages.NodeImage.toJSON, name, empty: 'no images' });
  },
  volumes: async (context, options) => {
    const { fleet, messages } = await context.connect();
    const workload = textOption(options, 'workload') ?? '';
    const rows = await Array.fromAsync(fleet.listVolumes({ project: context.global.project, workload }));
    const columns = volumeColumns(context.clock.nowMs());
    const name = (row: Volume): string => row.metadata?.name ?? '';
    return listResult({ rows, columns, json: messages.Volume.toJSON, name, empty: 'no data volumes' });
  },
  operations: async (context, options) => {
    const { operations, messages } = await context.connect();
    const workload = textOption(options, 'workload') ?? '';
    const rows = await Array.fromAsync(
      operations.listOperations({ project: context.global.project, workload }),
    );
    const columns = operationColumns(context.clock.nowMs());
    return listResult({
      rows,
      columns,
      json: messages.Operation.toJSON,
      name: ({ id }) => id,
      empty: 'no operations',
    });
  },
  networks: async (context) => {
    const { fleet, messages } = await context.connect();
    const rows = await Array.fromAsync(fleet.listNetworks({ project: context.global.project }));
    const columns = networkColumns(context.clock.nowMs());
    const name = (row: Network): string => row.metadata?.name ?? '';
    return listResult({
      rows,
      columns,
      json: messages.Network.toJSON,
      name,
      empty: 'no networks; next: drover apply -f FILE with a document of kind Network',
    });
  },
  clusters: listClusters,
  guests: listGuests,
};

async function listClusters(context: CommandContext): Promise<Result> {
  const { clusters, clusterMessages } = await context.connect();
  const rows = await Array.fromAsync(clusters.listClusters({}));
  return listResult({
    rows,
    columns: clusterColumns(context.clock.nowMs()),
    json: clusterMessages.Cluster.toJSON,
    name: ({ metadata }) => metadata?.name ?? '',
    empty: 'no clusters; next: drover cluster add NAME --endpoint HOST --token-id ID',
  });
}

async function listGuests(context: CommandContext, options: OptionValues): Promise<Result> {
  const { clusters, clusterMessages } = await context.connect();
  const rows = await Array.fromAsync(clusters.listGuests({ cluster: textOption(options, 'cluster') ?? '' }));
  return listResult({
    rows,
    columns: guestColumns,
    json: clusterMessages.Guest.toJSON,
    name: guestName,
    empty: 'no guests in any cluster',
  });
}

/** "node", "nodes" and "no" all mean nodes, as long as they mean one thing. */
export function kindOf(word: string): ListKind {
  const found = listKinds.filter((kind) => word !== '' && kind.startsWith(word));
  const [first] = found;
  if (first !== undefined && found.length === 1) return first;
  const nextStep = `did you mean "${closest(word, [...listKinds])}"?`;
  throw new DroverError('invalid-argument', `there is no list of "${word}"; wanted ${listKinds.join(', ')}`, {
    nextStep,
  });
}

export const get = command({
  name: 'get',
  summary: 'List nodes, workloads, instances, images, volumes, networks, operations, clusters or guests',
  arguments: [{ name: '<kind>', help: listKinds.join(', '), completes: 'kind' }],
  options: [
    { flags: '-l, --selector <selector>', help: 'only with such labels: "zone in (a, b)"', many: true },
    { flags: '-w, --workload <name>', help: 'only of this workload' },
    { flags: '-n, --node <name>', help: 'only on this node' },
    { flags: '--cluster <name>', help: 'only guests of this cluster' },
  ],
  examples: [
    'get nodes',
    'get instances -o wide',
    'get workloads -o json',
    'get nodes -l "zone = a"',
    'get guests --cluster lab',
  ],
  async run({ args: [word = ''], options }, context) {
    const kind = kindOf(word);
    const result = await lists[kind](context, options);
    const { name } = (await context.connect()).context;
    await rememberNames(readEnvironment(), name, kind, result.names);
    return result;
  },
});
