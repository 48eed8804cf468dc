import type { ClusterRight } from '#shared/model.ts';
import { isOn } from './guests/properties.ts';

type Wanted = Omit<ClusterRight, 'granted'>;

/** The privileges that a credential needs, and what each is for. docs/proxmox.md tells how to give them. */
const wanted: readonly Wanted[] = [
  { privilege: 'Sys.Audit', path: '/', neededFor: 'seeing the state of nodes, the cluster and HA' },
  { privilege: 'Sys.AccessNetwork', path: '/nodes', neededFor: 'images that nodes download' },
  { privilege: 'VM.Audit', path: '/vms', neededFor: 'seeing guests' },
  { privilege: 'VM.Allocate', path: '/vms', neededFor: 'making and removing guests' },
  { privilege: 'VM.Clone', path: '/vms', neededFor: 'guests made from a template' },
  { privilege: 'VM.PowerMgmt', path: '/vms', neededFor: 'starting and stopping guests' },
  { privilege: 'VM.Config.CPU', path: '/vms', neededFor: 'limits of processors' },
  { privilege: 'VM.Config.Memory', path: '/vms', neededFor: 'limits of memory' },
  { privilege: 'VM.Config.Disk', path: '/vms', neededFor: 'roots and data volumes' },
  { privilege: 'VM.Config.Network', path: '/vms', neededFor: 'interfaces and addresses' },
  { privilege: 'VM.Config.Options', path: '/vms', neededFor: 'the mark that tells that a guest is ours' },
  { privilege: 'VM.Config.HWType', path: '/vms', neededFor: 'kinds of machines' },
  { privilege: 'VM.Config.CDROM', path: '/vms', neededFor: 'machines made from an ISO' },
  { privilege: 'VM.Config.Cloudinit', path: '/vms', neededFor: 'cloud-init' },
  { privilege: 'VM.Snapshot', path: '/vms', neededFor: 'taking and removing snapshots' },
  { privilege: 'VM.Snapshot.Rollback', path: '/vms', neededFor: 'going back to a snapshot' },
  { privilege: 'VM.Migrate', path: '/vms', neededFor: 'moving guests between nodes' },
  { privilege: 'VM.Console', path: '/vms', neededFor: 'consoles' },
  { privilege: 'Datastore.Audit', path: '/storage', neededFor: 'seeing storages' },
  { privilege: 'Datastore.AllocateSpace', path: '/storage', neededFor: 'roots and data volumes' },
  { privilege: 'Datastore.AllocateTemplate', path: '/storage', neededFor: 'bringing images to storages' },
  { privilege: 'SDN.Use', path: '/sdn', neededFor: 'interfaces on bridges' },
];

/** Without these nothing works at all. */
const vital: ReadonlySet<string> = new Set(['Sys.Audit', 'VM.Audit', 'Datastore.Audit']);

/** The answer of `GET /access/permissions`: by path, privileges with whether they go on below it. */
export function rightsOf(answer: unknown): ClusterRight[] {
  const granted = (typeof answer === 'object' && answer !== null ? answer : {}) as Record<string, unknown>;
  return wanted.map((right) => ({ ...right, granted: has(granted, right.privilege, right.path) }));
}

function has(granted: Readonly<Record<string, unknown>>, privilege: string, path: string): boolean {
  const at = granted[path] ?? granted['/'];
  return typeof at === 'object' && at !== null && isOn((at as Record<string, unknown>)[privilege]);
}

export const missingRights = (rights: readonly ClusterRight[]): ClusterRight[] =>
  rights.filter(({ granted }) => !granted);

/** What to tell people of the rights that are missing; empty: all are there. */
export function rightsMessage(rights: readonly ClusterRight[]): string {
  const missing = missingRights(rights);
  if (missing.length === 0) return '';
  const words = missing.map(({ privilege, path, neededFor }) => `${privilege} on ${path} (${neededFor})`);
  const all = missing.some(({ privilege }) => vital.has(privilege)) ? 'cannot work without ' : 'lacks ';
  return `its credential ${all}${words.join(', ')}`;
}

/** Whether a container may be privileged: that is a right over the node itself. */
export const mayBePrivileged = (answer: unknown): boolean =>
  has(
    (typeof answer === 'object' && answer !== null ? answer : {}) as Record<string, unknown>,
    'Sys.Modify',
    '/',
  );
