import { DroverError } from '#shared/errors.ts';
import type { Node, WorkloadStatus } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Resources } from '#shared/gen/drover/model/v1/model.ts';
import { formatCpu, formatMib, formatTime } from '#shared/units.ts';
import { type CommandContext, type Result, command } from '../command.ts';
import { describeText } from '../output.ts';
import { claimsText, poolsText, rootText } from '../storage-views.ts';
import { exitText, interfacesText, labelsText, nodeState, phaseText, portsText } from '../views.ts';
import { describeCluster } from './cluster.ts';
import { kindOf } from './get.ts';
import { networkText } from './network.ts';

const timeText = (ms: bigint | undefined): string => (ms ? formatTime(Number(ms)) : '');

async function workloadText(name: string, context: CommandContext): Promise<Result> {
  const { fleet, messages } = await context.connect();
  const { project } = context.global;
  const { workload } = await fleet.getWorkload({ project, name }, { deadlineMs: 10_000 });
  const { metadata, spec, status } = workload ?? {};
  const copies = await Array.fromAsync(fleet.listInstances({ project, workload: name, node: '' }), (one) =>
    [one.metadata?.name ?? '', one.node || '(not placed)', phaseText(one), one.message].join('  ').trimEnd(),
  );
  const { ready = 0, wanted = 0, running = 0, outdated = 0, unplaced = 0 } = status ?? {};
  return {
    data: workload === undefined ? null : messages.Workload.toJSON(workload),
    names: [metadata?.name ?? name],
    text: () =>
      describeText([
        ['Name', metadata?.name ?? name],
        ['State', status?.state ?? ''],
        ['Message', status?.message ?? ''],
        [
          'Copies',
          `${ready} ready of ${wanted}; ${running} running, ${outdated} outdated, ${unplaced} unplaced`,
        ],
        ['Image', spec?.image ?? ''],
        ['Digest', status?.imageDigest ?? ''],
        ['Runtime', runtimeText(status)],
        ['Command', spec?.command.length ? JSON.stringify(spec.command) : "(the image's own)"],
        ['Limits', limitsText(spec?.resources)],
        ['Networks', spec?.guest?.networks.map(({ network }) => network).join(', ') ?? ''],
        ['Volumes', claimsText(spec?.guest)],
        ['Placement', spec?.placement?.require.join('; ') ?? ''],
        ['Labels', labelsText(metadata?.labels)],
        ['Generation', `${metadata?.generation ?? 0}`],
        ['Created', timeText(metadata?.createdAtMs)],
        ['Instances', copies.join('\n')],
      ]),
  };
}

function runtimeText(status: WorkloadStatus | undefined): string {
  const { runtime = '', runtimeBecause = '' } = status ?? {};
  return runtimeBecause === '' ? runtime : `${runtime} (${runtimeBecause})`;
}

type Limits = Pick<Resources, 'cpuMillicores' | 'memoryMib' | 'pids'>;

/** Of the guest's processes: the size of its root is the pool's to hold. */
const guestLimitsText = ({ cpuMillicores, memoryMib, pids }: Limits): string =>
  [
    `cpu ${cpuMillicores ? formatCpu(cpuMillicores) : 'unlimited'}`,
    `memory ${memoryMib ? formatMib(memoryMib) : 'unlimited'}`,
    `pids ${pids}`,
  ].join(', ');

const limitsText = (one: (Limits & { readonly diskMib: number }) | undefined): string =>
  one === undefined
    ? ''
    : `${guestLimitsText(one)}, disk ${one.diskMib ? formatMib(one.diskMib) : 'unlimited'}`;

async function instanceText(name: string, context: CommandContext): Promise<Result> {
  const { fleet, messages } = await context.connect();
  const { project } = context.global;
  const { instance } = await fleet.getInstance({ project, instance: name }, { deadlineMs: 10_000 });
  if (instance === undefined) throw new DroverError('not-found', `no instance ${name}`);
  const { metadata, observed, spec } = instance;
  return {
    data: messages.Instance.toJSON(instance),
    names: [metadata?.name ?? name],
    text: () =>
      describeText([
        ['Name', metadata?.name ?? name],
        ['Id', metadata?.id ?? ''],
        ['Workload', instance.workload],
        ['Node', instance.node || '(not placed)'],
        ['State', phaseText(instance)],
        ['Message', instance.message || (observed?.message ?? '')],
        ['Why there', instance.placedBecause],
        ['Rules', observed?.bonds.map(({ because }) => because).join('\n') ?? ''],
        ['Interfaces', interfacesText(instance)],
        ['Addresses', observed?.addresses.join(', ') ?? ''],
        ['Ports', portsText(instance)],
        ['Process', observed?.pid ? `${observed.pid}` : ''],
        ['Started', timeText(observed?.startedAtMs)],
        ['Last exit', exitText(observed?.exit)],
        ['Restarts', `${observed?.restarts ?? 0}`],
        [
          'Limits',
          observed?.limits
            ? `${guestLimitsText(observed.limits)} (read back from the host)`
            : limitsText(spec?.resources),
        ],
        ['Root', rootText(instance)],
        ['Volumes', claimsText(spec?.guest)],
        ['Not enforced', observed?.notEnforced.join(', ') ?? ''],
        ['Image', spec?.image ?? ''],
      ]),
  };
}

/** What is reserved, which may be nothing: no limits. */
const amountsText = ({ cpuMillicores, memoryMib, diskMib }: Resources): string =>
  `cpu ${formatCpu(cpuMillicores)}, memory ${formatMib(memoryMib)}, disk ${formatMib(diskMib)}`;

const processorsText = ({ facts, capacity }: Node): string =>
  [
    `${facts?.cpuCount ?? 0}`,
    ...(capacity === undefined ? [] : [`${formatCpu(capacity.cpuUsedMillicores)} in use`]),
  ].join(', ');

function memoryText({ facts, capacity, reserved }: Node): string {
  const allMib = facts?.memoryMib ?? 0;
  const othersMib = capacity?.othersMemoryMib;
  const freeMib = Math.max(0, allMib - (othersMib ?? 0) - (reserved?.memoryMib ?? 0));
  return [
    formatMib(allMib),
    `${formatMib(capacity?.memoryAvailableMib ?? 0)} available`,
    ...(othersMib === undefined
      ? []
      : [`${formatMib(othersMib)} used or claimed by others`, `${formatMib(freeMib)} free for instances`]),
  ].join(', ');
}

async function nodeText(name: string, context: CommandContext): Promise<Result> {
  const { nodes, messages } = await context.connect();
  const { node } = await nodes.getNode({ name }, { deadlineMs: 10_000 });
  if (node === undefined) throw new DroverError('not-found', `no node ${name}`);
  const { metadata, facts, capacity, conditions, reserved } = node;
  const runtimes = facts?.runtimes.map((one) =>
    `${one.name} ${one.version} ${one.healthy ? '' : one.detail}`.trimEnd(),
  );
  return {
    data: messages.Node.toJSON(node),
    names: [metadata?.name ?? name],
    text: () =>
      describeText([
        ['Name', metadata?.name ?? name],
        ['State', nodeState(node)],
        ['Cluster', node.cluster],
        ['Conditions', conditions.map((one) => `${one.type}: ${one.message}`).join('\n')],
        ['Labels', labelsText(metadata?.labels)],
        ['Instances', `${node.instances}`],
        ['Reserved', reserved === undefined ? '' : amountsText(reserved)],
        ['Processors', processorsText(node)],
        ['Memory', memoryText(node)],
        ['Disk', `${formatMib(facts?.diskMib ?? 0)}, ${formatMib(capacity?.diskFreeMib ?? 0)} free`],
        ['Runtimes', runtimes?.join('\n') ?? ''],
        ['Pools', poolsText(node)],
        ['Bridges', facts?.bridges.join(', ') ?? ''],
        ['Kernel', `${facts?.kernel ?? ''} ${facts?.architecture ?? ''}`],
        ['Cgroups', facts?.cgroups ?? ''],
        [node.cluster === '' ? 'Agent' : 'Version', facts?.agentVersion ?? ''],
        [
          'Facts',
          Object.entries(facts?.extra ?? {})
            .map(([key, value]) => `${key}: ${value}`)
            .join('\n'),
        ],
        ['Last seen', timeText(node.lastSeenAtMs)],
      ]),
  };
}

async function operationText(id: string, context: CommandContext): Promise<Result> {
  const { operations, messages } = await context.connect();
  const { operation } = await operations.getOperation({ id }, { deadlineMs: 10_000 });
  if (operation === undefined) throw new DroverError('not-found', `no operation ${id}`);
  return {
    data: messages.Operation.toJSON(operation),
    names: [operation.id],
    text: () =>
      describeText([
        ['Id', operation.id],
        ['What', `${operation.kind} ${operation.workload}, generation ${operation.generation}`],
        ['Done', `${operation.done}/${operation.total}`],
        ['Message', operation.message],
        ['By', operation.caller],
        ['Created', timeText(operation.createdAtMs)],
        ['Ended', timeText(operation.endedAtMs)],
        ['Steps', operation.steps.map(({ atMs, message }) => `${timeText(atMs)}  ${message}`).join('\n')],
      ]),
  };
}

export const describe = command({
  name: 'describe',
  summary: 'Everything about one workload, instance, node, network, cluster or operation',
  arguments: [
    { name: '<kind>', help: 'workload, instance, node, network, cluster or operation', completes: 'kind' },
    { name: '<name>', help: 'its name', completes: 'name' },
  ],
  examples: ['describe workload web', 'describe instance web-x7k2p', 'describe node h1'],
  run({ args: [word = '', name = ''] }, context) {
    switch (kindOf(word)) {
      case 'workloads':
        return workloadText(name, context);
      case 'instances':
        return instanceText(name, context);
      case 'nodes':
        return nodeText(name, context);
      case 'operations':
        return operationText(name, context);
      case 'networks':
        return networkText(name, context);
      case 'clusters':
        return describeCluster(name, context);
      default:
        throw new DroverError(
          'invalid-argument',
          `"${word}" cannot be described; wanted workload, instance, node, network, cluster or operation`,
        );
    }
  },
});
