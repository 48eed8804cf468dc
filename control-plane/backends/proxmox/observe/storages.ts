import { DroverError } from '#shared/errors.ts';
import { type ClusterMemory, versionOf } from '../cluster-memory.ts';
import type { GuestPlace, SpecContext } from '../guests/guest-kind.ts';
import type { StorageRow } from './listings.ts';

type Memory = Pick<ClusterMemory, 'nodes'>;

/** Undefined: its node has none of that name. */
export const storageOn = (memory: Memory, node: string, storage: string): StorageRow | undefined =>
  memory.nodes.get(node)?.storages.find((each) => each.storage === storage);

/** What can hold roots and data volumes, as storages name it. */
export const contentOf = { lxc: 'rootdir', qemu: 'images' } as const;

/** Those first that take snapshots and clones cheaply. What is not named comes between them and files. */
const order: Readonly<Record<string, number>> = {
  zfspool: 0,
  lvmthin: 1,
  rbd: 2,
  btrfs: 3,
  lvm: 5,
  dir: 6,
  nfs: 7,
  cifs: 8,
};

/**
 * Storages of one node that can hold guests; the first is its default: local ones before shared ones of the
 * same kind, then by name; those that its node does not reach now come last.
 */
export function guestStorages(rows: readonly StorageRow[], kind?: keyof typeof contentOf): StorageRow[] {
  const rank = ({ plugin, shared, available }: StorageRow): number =>
    2 * (order[plugin] ?? 4) + Number(shared) + (available ? 0 : 100);
  const wanted = kind === undefined ? Object.values(contentOf) : [contentOf[kind]];
  return rows
    .filter(({ content }) => wanted.some((each) => content.includes(each)))
    .toSorted((a, b) => rank(a) - rank(b) || (a.storage < b.storage ? -1 : 1));
}

/** The storage that a pool's name stands for on a node. failed-precondition where there is none. */
export function storageChooser(memory: Memory, node: string, kind: keyof typeof contentOf) {
  const storages = guestStorages(memory.nodes.get(node)?.storages ?? [], kind);
  return (pool: string): string => {
    const found = pool === '' ? storages[0] : storages.find(({ storage }) => storage === pool);
    if (found !== undefined) return found.storage;
    const wanted = pool === '' ? 'a storage' : `storage ${pool}`;
    const there = storages.map(({ storage }) => storage).join(', ') || 'none';
    throw new DroverError(
      'failed-precondition',
      `wanted ${wanted} for "${contentOf[kind]}" on ${node}, found ${there}`,
      { subject: { node }, nextStep: 'see the pools in `drover describe node`' },
    );
  };
}

/** Where disks are files, a machine's have a format of their own, for the sake of its snapshots. */
const asFiles: ReadonlySet<string> = new Set(['dir', 'nfs', 'cifs', 'glusterfs']);

function diskFormatOf(memory: Memory, node: string, storage: string): string {
  const row = storageOn(memory, node, storage);
  return row !== undefined && asFiles.has(row.plugin) ? 'qcow2' : '';
}

/** Storages of one name are one where they are shared. */
export const storageKey = (memory: Memory, node: string, storage: string): string =>
  storageOn(memory, node, storage)?.shared === true ? storage : `${node}/${storage}`;

/** What a spec for a guest there is read by. */
export const specContext = (
  memory: Memory & Pick<ClusterMemory, 'version'>,
  place: GuestPlace,
  kind: keyof typeof contentOf,
): SpecContext => ({
  ...place,
  version: versionOf(memory),
  storageOf: storageChooser(memory, place.node, kind),
  diskFormat: (storage) => diskFormatOf(memory, place.node, storage),
});
