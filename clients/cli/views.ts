/** How each kind of object looks in a table. */
import type {
  Event,
  Instance,
  Network,
  Node,
  NodeImage,
  Operation,
  OperationState,
  Volume,
  Workload,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { ExitStatus, Phase } from '#shared/gen/drover/model/v1/model.ts';
import { formatBytes, formatCpu, formatDuration, formatMib, formatTime } from '#shared/units.ts';
import type { Column } from './command.ts';

const minuteMs = 60_000;

/** "12s", "3m", "5h", "9d". */
export function ageOf(sinceMs: bigint | undefined, nowMs: number): string {
  if (sinceMs === undefined || sinceMs === 0n) return '';
  const ms = Math.max(0, nowMs - Number(sinceMs));
  if (ms < 2 * minuteMs) return `${Math.floor(ms / 1000)}s`;
  if (ms < 120 * minuteMs) return `${Math.floor(ms / minuteMs)}m`;
  return ms < 48 * 60 * minuteMs
    ? `${Math.floor(ms / (60 * minuteMs))}h`
    : `${Math.floor(ms / (24 * 60 * minuteMs))}d`;
}

/** Literals, so that listing commands do not load the generated code for their help. */
const phaseNames: Readonly<Record<Phase, string>> = {
  0: 'unknown',
  1: 'preparing',
  2: 'running',
  3: 'exited',
  4: 'backing-off',
  5: 'stopped',
  6: 'stopping',
  7: 'failed',
  8: 'unknown',
  9: 'paused',
};

export const phaseNameOf = (phase: Phase): string => phaseNames[phase] ?? `phase ${phase}`;

export function exitText(exit: ExitStatus | undefined): string {
  if (exit === undefined) return '';
  if (exit.unknown) return 'code unknown';
  return exit.outOfMemory ? `${exit.code} (out of memory)` : `${exit.code}`;
}

export function phaseText({ observed, stale, node }: Instance): string {
  if (node === '') return 'unplaced';
  const phase = observed === undefined ? 'pending' : phaseNameOf(observed.phase);
  return stale ? `unknown (was ${phase})` : phase;
}

export const volumeColumns = (nowMs: number): Column<Volume>[] => [
  { title: 'NAME', value: ({ metadata }) => metadata?.name ?? '' },
  { title: 'INSTANCE', value: ({ instance, removing }) => (removing ? '(being removed)' : instance) },
  { title: 'NODE', value: ({ node }) => node },
  { title: 'POOL', value: ({ pool }) => pool || '(default)' },
  { title: 'SIZE', value: ({ sizeMib }) => (sizeMib === 0 ? 'no quota' : formatMib(sizeMib)) },
  { title: 'KEEP', value: ({ keep }) => (keep ? 'yes' : 'no') },
  { title: 'AGE', value: ({ metadata }) => ageOf(metadata?.createdAtMs, nowMs) },
  { title: 'WORKLOAD', value: ({ workload }) => workload, wide: true },
  { title: 'CLAIM', value: ({ claim }) => claim, wide: true },
  { title: 'ID', value: ({ metadata }) => metadata?.id ?? '', wide: true },
];

const clusterColumn: Column<Node> = { title: 'CLUSTER', value: ({ cluster }) => cluster };

export const nodeState = ({ ready, connected, cordoned }: Node): string =>
  `${ready ? 'ready' : connected ? 'not-ready' : 'away'}${cordoned ? ',cordoned' : ''}`;

/** Of a node that answers. */
const usedText = (amount: number | undefined, format: (amount: number) => string): string =>
  amount === undefined ? '' : format(amount);

const memoryUsedMib = ({ capacity, facts }: Node): number | undefined =>
  capacity && facts && Math.max(0, facts.memoryMib - capacity.memoryAvailableMib);

/** The column of clusters is there where one of these nodes is of one. */
export const nodeColumns = (nowMs: number, nodes: readonly Node[]): Column<Node>[] => [
  { title: 'NAME', value: ({ metadata }) => metadata?.name ?? '' },
  ...(nodes.some(({ cluster }) => cluster !== '') ? [clusterColumn] : []),
  { title: 'STATE', value: nodeState },
  { title: 'INSTANCES', value: ({ instances }) => `${instances}` },
  {
    title: 'CPU',
    value: (node) => `${formatCpu(node.reserved?.cpuMillicores ?? 0)}/${node.facts?.cpuCount ?? 0}`,
  },
  {
    title: 'MEMORY',
    value: (node) => `${formatMib(node.reserved?.memoryMib ?? 0)}/${formatMib(node.facts?.memoryMib ?? 0)}`,
  },
  {
    title: 'RUNTIMES',
    value: ({ facts }) =>
      facts?.runtimes
        .filter((one) => one.healthy)
        .map((one) => one.name)
        .join(',') ?? '',
  },
  { title: 'CONDITIONS', value: ({ conditions }) => conditions.map(({ type }) => type).join(',') },
  {
    title: 'CPU USED',
    wide: true,
    value: ({ capacity }) => usedText(capacity?.cpuUsedMillicores, formatCpu),
  },
  { title: 'MEMORY USED', wide: true, value: (node) => usedText(memoryUsedMib(node), formatMib) },
  { title: 'LABELS', wide: true, value: ({ metadata }) => labelsText(metadata?.labels) },
  { title: 'KERNEL', wide: true, value: ({ facts }) => facts?.kernel ?? '' },
  { title: 'CGROUPS', wide: true, value: ({ facts }) => facts?.cgroups ?? '' },
  { title: 'AGENT', wide: true, value: ({ facts }) => facts?.agentVersion ?? '' },
  { title: 'AGE', value: ({ metadata }) => ageOf(metadata?.createdAtMs, nowMs) },
];

export const labelsText = (labels: Readonly<Record<string, string>> | undefined): string =>
  Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(',');

export const workloadColumns = (nowMs: number): Column<Workload>[] => [
  { title: 'NAME', value: ({ metadata }) => metadata?.name ?? '' },
  { title: 'STATE', value: ({ status }) => status?.state ?? '' },
  { title: 'READY', value: ({ status }) => `${status?.ready ?? 0}/${status?.wanted ?? 0}` },
  { title: 'RUNTIME', value: ({ status }) => status?.runtime ?? '' },
  { title: 'IMAGE', value: ({ spec }) => spec?.image ?? '' },
  { title: 'DIGEST', wide: true, value: ({ status }) => status?.imageDigest.slice(0, 19) ?? '' },
  { title: 'GENERATION', wide: true, value: ({ metadata }) => `${metadata?.generation ?? 0}` },
  { title: 'AGE', value: ({ metadata }) => ageOf(metadata?.createdAtMs, nowMs) },
  { title: 'MESSAGE', value: ({ status }) => status?.message ?? '' },
];

/** As seen; until then, as given out, without prefix lengths. */
export function addressesOf({ observed, assigned }: Instance): readonly string[] {
  if (observed !== undefined && observed.addresses.length > 0) return observed.addresses;
  const given = assigned?.attachments.flatMap(({ addresses }) => addresses) ?? [];
  return given.map((address) => address.replace(/\/.*/, ''));
}

/** As given out: "eth0 in lan: 10.20.0.5/24, 02:a1:b2:c3:d4:e5, bridge drv-lan". */
export const interfacesText = ({ assigned }: Instance): string =>
  (assigned?.attachments ?? [])
    .map((one) => {
      const address = one.nodePrivateSubnet
        ? `of ${one.nodePrivateSubnet}, by its node`
        : one.addresses.join(', ');
      const parts = [address, one.mac, `bridge ${one.bridge}`].filter(Boolean);
      return `${one.interface} in ${one.network}: ${parts.join(', ')}`;
    })
    .join('\n');

/** "8080 to 80/tcp". */
export const portsText = ({ assigned }: Instance): string =>
  (assigned?.ports ?? [])
    .map(({ hostAddress, hostPort, guestPort, protocol }) => {
      const host = hostAddress.includes(':') ? `[${hostAddress}]:` : hostAddress && `${hostAddress}:`;
      return `${host}${hostPort} to ${guestPort}/${protocol}`;
    })
    .join('\n');

export const networkColumns = (nowMs: number): Column<Network>[] => [
  { title: 'NAME', value: ({ metadata }) => metadata?.name ?? '' },
  { title: 'BRIDGE', value: ({ spec }) => spec?.bridge || '(made by Drover)' },
  { title: 'SUBNETS', value: ({ spec }) => spec?.subnets.map(({ cidr }) => cidr).join(', ') ?? '' },
  { title: 'HELD', value: ({ heldCount }) => `${heldCount}` },
  { title: 'FREE', value: ({ spec, free }) => (spec?.nodePrivate ? 'by node' : `${free}`) },
  { title: 'VLAN', wide: true, value: ({ spec }) => (spec?.vlan ? `${spec.vlan}` : '') },
  { title: 'MTU', wide: true, value: ({ spec }) => (spec?.mtu ? `${spec.mtu}` : '') },
  { title: 'MASQUERADE', wide: true, value: ({ spec }) => (spec?.masquerade ? 'yes' : 'no') },
  { title: 'AGE', value: ({ metadata }) => ageOf(metadata?.createdAtMs, nowMs) },
];

export const instanceColumns = (nowMs: number): Column<Instance>[] => [
  { title: 'NAME', value: ({ metadata }) => metadata?.name ?? '' },
  { title: 'WORKLOAD', value: ({ workload }) => workload },
  { title: 'NODE', value: ({ node }) => node },
  { title: 'STATE', value: phaseText },
  { title: 'RESTARTS', value: ({ observed }) => `${observed?.restarts ?? 0}` },
  { title: 'EXIT', value: ({ observed }) => exitText(observed?.exit) },
  { title: 'UP', value: ({ observed }) => ageOf(observed?.startedAtMs, nowMs) },
  { title: 'ADDRESS', wide: true, value: (row) => addressesOf(row).join(', ') },
  { title: 'PID', wide: true, value: ({ observed }) => (observed?.pid ? `${observed.pid}` : '') },
  { title: 'WHY THERE', wide: true, value: ({ placedBecause }) => placedBecause },
  { title: 'MESSAGE', value: ({ message, observed }) => message || (observed?.message ?? '') },
];

const operationStates: Readonly<Record<OperationState, string>> = {
  0: 'unknown',
  1: 'running',
  2: 'succeeded',
  3: 'superseded',
};

export const operationColumns = (nowMs: number): Column<Operation>[] => [
  { title: 'ID', value: ({ id }) => id },
  { title: 'KIND', value: ({ kind }) => kind },
  { title: 'WORKLOAD', value: ({ workload }) => workload },
  {
    title: 'STATE',
    value: ({ state, blocked }) => (blocked ? 'blocked' : (operationStates[state] ?? `${state}`)),
  },
  { title: 'DONE', value: ({ done, total }) => `${done}/${total}` },
  { title: 'BY', wide: true, value: ({ caller }) => caller },
  { title: 'AGE', value: ({ createdAtMs }) => ageOf(createdAtMs, nowMs) },
  {
    title: 'TOOK',
    wide: true,
    value: ({ createdAtMs, endedAtMs }) => (endedAtMs ? formatDuration(Number(endedAtMs - createdAtMs)) : ''),
  },
  { title: 'MESSAGE', value: ({ message }) => message },
];

export const imageColumns = (nowMs: number): Column<NodeImage>[] => [
  { title: 'NODE', value: ({ node }) => node },
  { title: 'DIGEST', value: ({ image }) => image?.digest.slice(0, 19) ?? '' },
  { title: 'REFERENCE', value: ({ image }) => image?.references[0]?.replace(/@sha256:.*/, '') ?? '' },
  {
    title: 'SIZE',
    value: ({ image }) => (image ? formatBytes(image.sizeBytes) : ''),
  },
  { title: 'READY', value: ({ image }) => (image?.ready ? 'yes' : 'no') },
  { title: 'INSTANCES', value: ({ image }) => (image ? `${image.usedBy}` : '') },
  { title: 'USED', wide: true, value: ({ image }) => ageOf(image?.lastUsedAtMs, nowMs) },
  { title: 'PINNED', wide: true, value: ({ image }) => (image?.pinned ? 'yes' : '') },
  { title: 'MESSAGE', value: ({ unreachable }) => unreachable },
];

/** The narrowest of what it is about; a message that names it by itself needs no other word. */
export const eventLine = ({ atMs, severity, type, message, revision, subject }: Event): string => {
  const mark = severity === 'warning' ? '!' : ' ';
  const who = ['instance', 'workload', 'network', 'node'].map((kind) => subject[kind]).find(Boolean) ?? '';
  const text = message.includes(who) ? message : `${who}: ${message}`;
  return `${formatTime(Number(atMs))} ${mark} ${`${revision}`.padStart(6)}  ${type.padEnd(22)} ${text}`;
};
