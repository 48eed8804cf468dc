/** How clusters and their guests look. */
import type {
  Adoption,
  Cluster,
  ClusterRight,
  ClusterStatus,
  Guest,
  Release,
} from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { DrainProgress } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { formatMib, formatTime } from '#shared/units.ts';
import type { Column } from './command.ts';
import { ageOf } from './views.ts';

const stateOf = (status: ClusterStatus | undefined): string => {
  if (status === undefined) return 'unknown';
  if (!status.connected) return 'away';
  return status.quorate ? 'ready' : 'no-quorum';
};

const nameOf = ({ metadata }: Cluster): string => metadata?.name ?? '';

export const clusterColumns = (nowMs: number): Column<Cluster>[] => [
  { title: 'NAME', value: nameOf },
  { title: 'STATE', value: ({ status }) => stateOf(status) },
  { title: 'VERSION', value: ({ status }) => status?.version ?? '' },
  { title: 'NODES', value: ({ status }) => `${status?.nodes.length ?? 0}` },
  { title: 'GUESTS', value: ({ status }) => `${status?.guests ?? 0}` },
  { title: 'OURS', value: ({ status }) => `${status?.ownGuests ?? 0}` },
  { title: 'IDENTITY', value: ({ identity }) => identity, wide: true },
  { title: 'ENDPOINTS', value: ({ endpoints }) => endpoints.join(','), wide: true },
  { title: 'AGE', value: ({ metadata }) => ageOf(metadata?.createdAtMs, nowMs) },
  { title: 'MESSAGE', value: ({ status }) => status?.message ?? '' },
];

export const guestColumns: Column<Guest>[] = [
  { title: 'CLUSTER', value: ({ cluster }) => cluster },
  { title: 'VMID', value: ({ vmid }) => `${vmid}` },
  { title: 'KIND', value: ({ kind, template }) => (template ? `${kind},template` : kind) },
  { title: 'NAME', value: ({ name }) => name },
  { title: 'NODE', value: ({ node }) => node },
  {
    title: 'STATUS',
    value: ({ status, message }) => (message === '' ? status : `${status}: ${message}`),
  },
  { title: 'INSTANCE', value: ({ instance }) => instance },
  { title: 'CPU', value: ({ cpuCount }) => `${cpuCount}` },
  { title: 'MEMORY', value: ({ memoryMib }) => formatMib(memoryMib) },
  { title: 'DISK', value: ({ diskMib }) => formatMib(diskMib) },
  { title: 'HA', value: ({ haState }) => haState, wide: true },
  { title: 'TAGS', value: ({ tags }) => tags.join(','), wide: true },
];

/** "lab/105", as adopt takes it. */
export const guestName = (guest: Guest | undefined): string =>
  guest === undefined ? '' : `${guest.cluster}/${guest.vmid}`;

export const adoptionColumns: Column<Adoption>[] = [
  { title: 'GUEST', value: ({ guest }) => guestName(guest) },
  { title: 'NAME', value: ({ guest }) => guest?.name ?? '' },
  { title: 'ADOPTED', value: ({ adopted }) => (adopted ? 'yes' : 'no') },
  { title: 'WORKLOAD', value: ({ adopted, document }) => (adopted ? (document?.metadata?.name ?? '') : '') },
  { title: 'INSTANCE', value: ({ instance }) => instance },
  { title: 'WHY NOT', value: ({ skipped }) => skipped },
  { title: 'STAYS AS IT IS', value: ({ notes }) => notes.join('; '), wide: true },
];

export const releaseColumns: Column<Release>[] = [
  { title: 'INSTANCE', value: ({ instance }) => instance },
  { title: 'GUEST', value: ({ cluster, vmid }) => (vmid === 0 ? '' : `${cluster}/${vmid}`) },
  { title: 'NODE', value: ({ node }) => node },
  { title: 'RELEASED', value: ({ error }) => (error === '' ? 'yes' : 'no') },
  { title: 'WHY NOT', value: ({ error }) => error },
];

const ways: Readonly<Record<string, string>> = {
  live: 'live',
  restarted: 'stopped and started again',
  stopped: 'while stopped',
  replaced: 'replaced',
};

/** How it moves. A newer word is told as it came. */
export const wayText = ({ way }: DrainProgress): string => ways[way] ?? way;

export const drainColumns = (isDryRun: boolean): Column<DrainProgress>[] => [
  { title: 'INSTANCE', value: ({ instance }) => instance },
  { title: 'STATE', value: ({ state }) => state.replace('-', ' ') },
  { title: 'TO', value: ({ target }) => target },
  ...(isDryRun ? [{ title: 'HOW', value: wayText }] : []),
  { title: 'MESSAGE', value: ({ message }) => message },
];

/** The parts of a description, but for the guests. */
export function statusFields(status: ClusterStatus | undefined): [string, string][] {
  if (status === undefined)
    return [['State', 'unknown: nothing was heard of it since the control plane started']];
  return [
    ['State', stateOf(status)],
    ['Message', status.message],
    ['Calls itself', status.clusterName],
    ['Version', status.version],
    ['Quorum', status.quorate ? 'yes' : 'no'],
    [
      'Endpoints',
      status.endpoints.map(({ address, problem }) => `${address}  ${problem || 'ok'}`).join('\n'),
    ],
    ['Nodes', status.nodes.join('\n')],
    ['Guests', `${status.guests}, ${status.ownGuests} of them ours`],
    ['Last seen', status.lastSeenAtMs === 0n ? '' : formatTime(Number(status.lastSeenAtMs))],
    ['Rights', rightsText(status)],
  ];
}

function rightsText({ rights }: ClusterStatus): string {
  if (rights.length === 0) return '';
  const missing = rights
    .filter(({ granted, optional }) => !granted && !optional)
    .map(({ privilege, path, neededFor }) => `lacks ${privilege} on ${path}, for ${neededFor}`);
  const all = missing.length === 0 ? ['all that are needed'] : missing;
  return [...all, ...withoutText(rights)].join('\n');
}

/** What a part of Drover would need besides; what it is for is not there without. */
const withoutText = (rights: readonly ClusterRight[]): string[] =>
  rights
    .filter(({ granted, optional }) => !granted && optional)
    .map(({ privilege, path, neededFor }) => `without ${privilege} on ${path}: no ${neededFor}`);
