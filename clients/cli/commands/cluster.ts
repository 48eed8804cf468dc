import { type CommandContext, type Result, command } from '../command.ts';
import { guestColumns, statusFields } from '../cluster-views.ts';
import { confirm } from '../confirm.ts';
import { describeText, table } from '../output.ts';
import { formatTime } from '#shared/units.ts';
import { get } from './get.ts';

const clusterArgument = { name: '<cluster>', help: 'its name', completes: 'cluster' } as const;

export const clusterList = command({
  name: 'cluster list',
  summary: 'List clusters, as get clusters does',
  examples: ['cluster list'],
  run: ({ options }, context) => get.run({ args: ['clusters'], options }, context),
});

export const clusterDescribe = command({
  name: 'cluster describe',
  summary: 'Everything about a cluster: endpoints, nodes, rights, guests',
  arguments: [clusterArgument],
  examples: ['cluster describe lab'],
  run: ({ args: [name = ''] }, context) => describeCluster(name, context),
});

export async function describeCluster(name: string, context: CommandContext): Promise<Result> {
  const { clusters, clusterMessages } = await context.connect();
  const { cluster } = await clusters.getCluster({ name }, { deadlineMs: 10_000 });
  const guests = await Array.fromAsync(clusters.listGuests({ cluster: name }));
  const { metadata, trust = '', fingerprints = [], identity = '', endpoints = [], status } = cluster ?? {};
  const createdAtMs = Number(metadata?.createdAtMs ?? 0);
  return {
    data: {
      cluster: cluster === undefined ? null : clusterMessages.Cluster.toJSON(cluster),
      guests: guests.map((guest) => clusterMessages.Guest.toJSON(guest)),
    },
    names: [metadata?.name ?? name],
    text: ({ wide }) =>
      describeText([
        ['Name', metadata?.name ?? name],
        ['Given addresses', endpoints.join('\n')],
        ['Identity', identity],
        [
          'Trusted by',
          trust === 'authority' ? 'the authority that signs its certificates' : fingerprints.join('\n'),
        ],
        ['Added', createdAtMs === 0 ? '' : formatTime(createdAtMs)],
        ...statusFields(status),
        ['All guests', guests.length === 0 ? '' : table(guests, guestColumns, wide)],
      ]),
  };
}

export const clusterTest = command({
  name: 'cluster test',
  summary: 'Try addresses, certificate, credential and rights, and change nothing',
  arguments: [clusterArgument],
  examples: ['cluster test lab'],
  async run({ args: [name = ''] }, context) {
    const { clusters, clusterMessages } = await context.connect();
    const response = await clusters.testCluster({ name }, { deadlineMs: 90_000 });
    const isWhole =
      response.status?.connected === true &&
      response.status.rights.every(({ granted, optional }) => granted || optional);
    return {
      data: clusterMessages.TestClusterResponse.toJSON(response),
      names: [name],
      text: () => describeText([['Name', name], ...statusFields(response.status)]),
      exitCode: isWhole ? 0 : 1,
    };
  },
});

export const clusterRemove = command({
  name: 'cluster remove',
  summary: 'Take a cluster out of the fleet; what runs there runs on',
  arguments: [clusterArgument],
  options: [
    { flags: '--release-guests', help: 'give up its instances first: their guests run on, without Drover' },
  ],
  examples: ['cluster remove lab', 'cluster remove lab --release-guests --yes'],
  async run({ args: [name = ''], options }, context) {
    const releaseGuests = options['releaseGuests'] === true;
    const what = releaseGuests
      ? `give up all instances of ${name} and remove it`
      : `remove the cluster ${name}`;
    await confirm(what, name, context);
    const { clusters, clusterMessages } = await context.connect();
    const response = await clusters.removeCluster(
      { name, releaseGuests },
      { deadlineMs: context.global.timeoutMs },
    );
    context.terminal.note(`cluster ${name}: removed, and its nodes ${response.nodes.join(', ') || '(none)'}`);
    return {
      data: clusterMessages.RemoveClusterResponse.toJSON(response),
      names: [...response.released],
      text: () => response.released.map((one) => `${one} is released`).join('\n'),
    };
  },
});
