import { DroverError } from '#shared/errors.ts';
import type { PlanCloneRequest, PlanCloneResponse } from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { ClusterGuestView, CopySpec, WorkloadSpec } from '#shared/model.ts';
import { checkName, parseOne } from '#shared/wire/checks.ts';
import { checkNotRemoving } from '../../store/put-cluster.ts';
import type { Snapshot } from '../../store/store.ts';
import type { HandlerContext } from '../handler.ts';
import { parseProject } from '../resolve-name.ts';
import { type ClusterDeps, findCluster } from './deps.ts';
import { checkSnapshotName, refuseAsSource, sourceOf } from './copy-source.ts';
import { guestMessage } from './guests.ts';
import { suggestDocument } from './suggest-document.ts';

/** What a workload that is a copy of a guest would be: an apply of the document makes it. Changes nothing. */
export async function planClone(
  request: PlanCloneRequest,
  { signal }: HandlerContext,
  { store, clusters }: ClusterDeps,
): Promise<PlanCloneResponse> {
  const { name, snapshot: taken } = request;
  const project = parseProject(request.project);
  parseOne('workload name', (faults) => checkName(name, 'name', faults));
  checkSnapshotName(taken);
  const before = store.snapshot();
  if (before.named('workload', name, project) !== undefined)
    throw new DroverError('already-exists', `there is a workload ${name} already`, {
      subject: { workload: name },
      nextStep: 'name it otherwise: --as NAME',
    });
  const { cluster, vmid } = sourceOf(before, request.source, project);
  checkNotRemoving(findCluster(before, cluster));
  const { guest, spec, notes, obstacles } = await clusters.inspectGuest(cluster, vmid, signal);
  refuseAsSource(guest, taken);
  if (taken !== '') await clusters.checkSnapshot(guest, taken, signal);
  const snapshot = store.snapshot();
  const own = specOf(guest, snapshot);
  if (own === undefined && obstacles.length > 0)
    throw new DroverError(
      'failed-precondition',
      `${cluster}/${vmid} cannot be cloned: ${obstacles.join('; ')}`,
      {
        subject: { cluster, vmid: `${vmid}` },
        reason: 'not-clonable',
      },
    );
  const copy = copyOf(own ?? spec, guest, { taken, snapshot });
  return {
    guest: guestMessage(guest, snapshot),
    document: suggestDocument({ project, name }, copy.spec),
    notes: [...copy.notes, ...(own === undefined ? notes.filter((note) => !isOfItAlone.test(note)) : [])],
  };
}

function specOf({ instanceId }: ClusterGuestView, snapshot: Snapshot): WorkloadSpec | undefined {
  const instance = instanceId === undefined ? undefined : snapshot.get('instance', instanceId);
  if (instance === undefined) return undefined;
  return snapshot.named('workload', instance.workload, instance.metadata.project)?.spec;
}

/** What adopting it would leave, and copying does not. */
const isOfItAlone = /hardware address|^it is called /;

interface Copy {
  readonly spec: WorkloadSpec;
  /** For people: what is not taken along. */
  readonly notes: readonly string[];
}

/** Without what one alone can have; its disks stay on the storages that they are on. */
function copyOf(
  spec: WorkloadSpec,
  guest: ClusterGuestView,
  { taken, snapshot }: { readonly taken: string; readonly snapshot: Snapshot },
): Copy {
  const { networks, ports, cluster, vm, volumes, rootPool, placement } = spec;
  const node = snapshot.named('node', guest.node);
  const pools = [rootPool, ...volumes.map(({ pool }) => pool)];
  const isShared = (pool: string): boolean =>
    node?.facts?.pools.find(({ name }) => name === pool)?.capabilities.includes('shared') === true;
  const where = pools.every(isShared)
    ? []
    : [`proxmox.node = ${node?.metadata.labels['proxmox.node'] ?? guest.node}`];
  const fixed = networks.flatMap(({ network, addresses }) =>
    addresses.map((address) => `its address ${address} in ${network} is not taken along`),
  );
  const hosts = ports
    .filter(({ hostPort }) => hostPort !== 0)
    .map(({ hostPort, guestPort }) => `port ${guestPort} is not published at ${hostPort}`);
  const keys = cluster?.sshKeys ?? [];
  return {
    spec: {
      ...spec,
      image: `proxmox:guest/${guest.vmid}${taken === '' ? '' : `@${taken}`}`,
      runtime: guest.kind === 'lxc' ? 'proxmox-lxc' : 'proxmox-vm',
      imageCredential: '',
      replicas: 1,
      // Named, it would be where all disks of the copy go.
      rootPool: pools.every((pool) => pool === rootPool) ? rootPool : '',
      placement: { ...placement, require: withPlace(placement.require, guest.cluster, where) },
      networks: networks.map(({ network }) => ({ network, addresses: [] })),
      ports: ports.map((port) => ({ ...port, hostPort: 0 })),
      ...(cluster !== undefined && { cluster: { ...inFull(cluster), sshKeys: [] } }),
      ...(vm !== undefined && { vm: { ...vm, clone: 'full' } }),
    },
    notes: [
      ...fixed,
      ...hosts,
      ...(networks.length > 0 ? ['its interfaces get hardware addresses of their own'] : []),
      ...(keys.length > 0 ? ['cluster.sshKeys: it has the keys that are inside'] : []),
    ],
  };
}

const inFull = ({ clone: _clone, ...cluster }: NonNullable<CopySpec['cluster']>) => cluster;

const withPlace = (require: readonly string[], cluster: string, where: readonly string[]): string[] => [
  ...require.filter((each) => !/^\s*proxmox\.(?:cluster|node)\b/.test(each)),
  `proxmox.cluster = ${cluster}`,
  ...where,
];
