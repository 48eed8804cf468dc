import type { ClusterRight } from '#shared/model.ts';
import { type Row, rowOf } from '../api/answer-rows.ts';
import { isOn, parseProperties } from '../guests/properties.ts';

type Wanted = Pick<ClusterRight, 'privilege' | 'path' | 'neededFor'>;

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

const vms = '/vms';
const privileged = { privilege: 'Sys.Modify', path: '/', neededFor: 'privileged containers' };
const removal = {
  privilege: 'Datastore.Allocate',
  path: '/storage',
  neededFor: 'removing images that Drover brought',
};

/** What a part of Drover asks for besides, by the version: all else works without. */
const besides: Readonly<Record<string, readonly Wanted[]>> = {
  8: [
    {
      privilege: 'VM.Monitor',
      path: vms,
      neededFor: 'exec and freeze in virtual machines, and their addresses',
    },
    privileged,
    removal,
  ],
  9: [
    { privilege: 'VM.GuestAgent.Unrestricted', path: vms, neededFor: 'exec in virtual machines' },
    { privilege: 'VM.GuestAgent.FileSystemMgmt', path: vms, neededFor: 'freeze of virtual machines' },
    { privilege: 'VM.GuestAgent.Audit', path: vms, neededFor: 'addresses as virtual machines see them' },
    privileged,
    removal,
  ],
};

/** It includes what the others of its kind allow. */
const agentsAll = 'VM.GuestAgent.Unrestricted';

/** Without these nothing works at all. */
const vital: ReadonlySet<string> = new Set(['Sys.Audit', 'VM.Audit', 'Datastore.Audit', 'Sys.Modify']);

/** Wanted where the datacenter's `user-tag-access` keeps its users from tags of their own. */
const tagging: Wanted = {
  privilege: 'Sys.Modify',
  path: '/',
  neededFor: 'the tags that guests are known by, since "user-tag-access" of the datacenter is not "free"',
};

/**
 * The answers of `GET /access/permissions`, which has privileges by path, each with whether it goes on below
 * it, and of `GET /cluster/options`.
 */
export function rightsOf(answer: unknown, version = '', options?: unknown): ClusterRight[] {
  const granted = rowOf(answer);
  const isGranted = ({ privilege, path }: Wanted): boolean =>
    has(granted, privilege, path) ||
    (privilege.startsWith('VM.GuestAgent.') && has(granted, agentsAll, path));
  const all = areTagsFree(options) ? wanted : [...wanted, tagging];
  const more = besides[version.split('.')[0] ?? ''] ?? [];
  return [
    ...all.map((right) => ({ ...right, granted: isGranted(right), optional: false })),
    ...more.map((right) => ({ ...right, granted: isGranted(right), optional: true })),
  ];
}

/** What is not told is as it is where nobody set it. */
function areTagsFree(options: unknown): boolean {
  const access = rowOf(options)['user-tag-access'];
  const allowed =
    typeof access === 'string' ? parseProperties(access).get('user-allow') : rowOf(access)['user-allow'];
  return (allowed ?? 'free') === 'free';
}

/** Storages and bridges may be allowed one by one: those that are not are not seen, or refused by name. */
const oneByOne: ReadonlySet<string> = new Set(['/storage', '/sdn']);

function has(granted: Row, privilege: string, path: string): boolean {
  const below = oneByOne.has(path) ? Object.keys(granted).filter((each) => each.startsWith(`${path}/`)) : [];
  const all = [granted[path] ?? granted['/'], ...below.map((each) => granted[each])];
  // At a path of its own a right need reach no further.
  return all.some((at, place) => (place === 0 ? isOn : isThere)(rowOf(at)[privilege]));
}

const isThere = (value: unknown): boolean => value !== undefined && value !== null;

export const missingRights = (rights: readonly ClusterRight[]): ClusterRight[] =>
  rights.filter(({ granted, optional }) => !granted && !optional);

/** What to tell people of the rights that are missing; empty: all are there. */
export function rightsMessage(rights: readonly ClusterRight[]): string {
  const missing = missingRights(rights);
  if (missing.length === 0) return '';
  const words = missing.map(({ privilege, path, neededFor }) => `${privilege} on ${path} (${neededFor})`);
  const all = missing.some(({ privilege }) => vital.has(privilege)) ? 'cannot work without ' : 'lacks ';
  return `its credential ${all}${words.join(', ')}`;
}

/** Whether a container may be privileged, which is a right over the node itself. Only 9.x asks for it. */
export const mayBePrivileged = (answer: unknown): boolean => has(rowOf(answer), 'Sys.Modify', '/');
