import type { Condition, NodeFacts, PoolFacts, RuntimeFacts } from '#shared/model.ts';
import { parseEndpoint } from '../api/addresses.ts';
import { rowOf, rowsOf } from '../api/answer-rows.ts';
import { type ClusterMemory, type NodeDetails, type NodeMemory, versionOf } from '../cluster-memory.ts';
import { contentOf, guestStorages } from './storages.ts';
import type { GuestKind } from '../guests/guest-kind.ts';
import { textOf } from '../guests/properties.ts';
import type { StorageRow } from './listings.ts';
import { missingRights, rightsMessage } from './rights.ts';

const mib = (bytes: number): number => Math.floor(bytes / 1024 ** 2);

/** Storages that can take a snapshot of a guest's disk by themselves. */
const snapshotting: ReadonlySet<string> = new Set(['zfspool', 'lvmthin', 'rbd', 'btrfs', 'cephfs']);

const architectures: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };

/** The answers of `GET /nodes/{node}/status` and of its list of bridges. */
export function parseDetails(status: unknown, bridges: unknown): NodeDetails {
  const kernel = rowOf(rowOf(status)['current-kernel']);
  const machine = textOf(kernel['machine']);
  const rows = rowsOf(bridges);
  return {
    architecture: architectures[machine] ?? machine,
    kernel: textOf(kernel['release']),
    bridges: rows
      .map((row) => textOf(row['iface']))
      .filter((name) => name !== '')
      .toSorted(),
  };
}

/** A node of a cluster as one of the fleet. */
export function factsOf(
  node: NodeMemory,
  memory: ClusterMemory,
  kinds: readonly GuestKind[],
  allowsPrivileged: boolean,
): NodeFacts {
  const { row, details, storages, name, facts: before } = node;
  const pools = guestStorages(storages).map(poolOf);
  return {
    name,
    architecture: details?.architecture ?? before?.architecture ?? '',
    os: 'linux',
    kernel: details?.kernel ?? before?.kernel ?? '',
    cgroups: 'v2',
    cpuCount: row?.cpuCount || (before?.cpuCount ?? 0),
    memoryMib: mib(row?.memoryBytes ?? 0) || (before?.memoryMib ?? 0),
    diskMib: pools[0]?.sizeMib ?? 0,
    runtimes: kinds.map((kind) => runtimeOf(kind, node, memory)),
    labels: {},
    agentVersion: `Proxmox VE ${memory.version}`,
    extra: { 'proxmox.version': memory.version, ...(row?.haState && { 'proxmox.ha': row.haState }) },
    pools,
    allowedDevices: [],
    allowsPrivileged,
    bridges: details?.bridges ?? before?.bridges ?? [],
  };
}

/** What its images are brought as. */
const imageContents = { lxc: ['vztmpl'], qemu: ['import', 'iso'] } as const;

/** Without a storage for its roots nothing can be made of a kind. */
function runtimeOf(kind: GuestKind, { storages }: NodeMemory, memory: ClusterMemory): RuntimeFacts {
  const healthy = guestStorages(storages, kind.kind).length > 0;
  return {
    name: kind.runtime,
    version: memory.version,
    healthy,
    detail: healthy ? '' : `no storage of its node takes "${contentOf[kind.kind]}"`,
    capabilities: [
      ...kind.capabilities(versionOf(memory)),
      ...imageContents[kind.kind].filter((each) => storages.some(({ content }) => content.includes(each))),
    ],
  };
}

const poolOf = ({ storage, plugin, shared, available, content, sizeBytes }: StorageRow): PoolFacts => ({
  name: storage,
  driver: plugin,
  version: '',
  healthy: available,
  detail: available ? '' : 'its node cannot reach it',
  capabilities: [
    ...Object.values(contentOf).filter((each) => content.includes(each)),
    ...(shared ? ['shared'] : []),
    ...(snapshotting.has(plugin) ? ['snapshots'] : []),
  ],
  sizeMib: mib(sizeBytes),
});

/** What keeps a node or its cluster from being as it should be. `nowMs`: since when, where it is new. */
export function conditionsOf(
  { node, row, address }: NodeMemory,
  memory: ClusterMemory,
  endpoints: readonly { readonly address: string; readonly problem: string }[],
  nowMs: number,
): Condition[] {
  const condition = (type: string, reason: string, message: string): Condition => ({
    type,
    holds: message !== '',
    reason,
    message,
    sinceMs: nowMs,
  });
  const isResting = row?.haState === 'maintenance' || row?.haState === 'fence';
  const problem = endpoints.find((each) => parseEndpoint(each.address).host === address)?.problem ?? '';
  const copies = memory.copies.filter((copy) => copy.node === node).map(({ vmid }) => vmid);
  const halfMade = memory.halfMade.filter((each) => each.node === node);
  return [
    condition(
      'ClusterNoQuorum',
      'no-quorum',
      memory.quorate ? '' : 'its cluster has no quorum: nothing can be made, started or changed',
    ),
    condition(
      'ClusterHeldByNewerFleet',
      'stale-epoch',
      memory.heldBy === undefined
        ? ''
        : `a newer control plane of this fleet has its cluster: guest ${memory.heldBy.vmid} bears epoch ` +
            `${memory.heldBy.epoch}. Nothing is written there`,
    ),
    condition('NodeInMaintenance', row?.haState ?? '', isResting ? `HA has it in ${row?.haState}` : ''),
    condition('EndpointUnusable', 'endpoint', problem),
    condition(
      'RightsMissing',
      missingRights(memory.rights)
        .map(({ privilege }) => privilege)
        .join(','),
      rightsMessage(memory.rights),
    ),
    condition(
      'CopyFound',
      copies.join(','),
      copies.length === 0
        ? ''
        : `guests ${copies.join(', ')} bear the mark of instances and are copies: they are left alone`,
    ),
    condition(
      'HalfMadeGuest',
      halfMade.map(({ vmid }) => vmid).join(','),
      halfMade.map(({ message }) => message).join('; '),
    ),
  ];
}
