/** Storages and the volumes on them. */

import type { RegistryImage } from './internet.ts';

export interface Volume {
  /** "local:vztmpl/alpine.tar.gz", "btr:101/subvol-101-disk-0.subvol". */
  readonly volid: string;
  /** rootdir, images, vztmpl, iso, backup, import or snippets. */
  readonly content: string;
  readonly format: string;
  sizeBytes: number;
  usedBytes?: number;
  /** What a disk made of it has room for, where the image says. */
  readonly virtualBytes?: number;
  readonly vmid?: number;
  /** Linked clones name what they hang on. */
  readonly parent?: string;
  /** Seconds since 1970. */
  readonly createdAt?: number;
  notes?: string;
  protected?: boolean;
  /** Of what was uploaded or downloaded. */
  readonly sha256?: string;
  /** Pulled from a registry. */
  readonly image?: RegistryImage;
  /** What a backup holds, for restores. */
  readonly backupOf?: { readonly kind: 'lxc' | 'qemu'; readonly config: Readonly<Record<string, string>> };
}

export interface StorageDefinition {
  readonly id: string;
  /** dir, btrfs, lvmthin, zfspool, nfs, … */
  readonly type: string;
  content: string[];
  readonly shared: boolean;
  path: string | undefined;
  /** Undefined: all of them. */
  nodes: Set<string> | undefined;
  enabled: boolean;
  totalBytes: number;
  /** Used by what is not a volume of ours. */
  otherBytes: number;
  /** More keys as given: prune-backups, … */
  readonly fields: Record<string, string>;
}

export interface Storages {
  readonly definitions: Map<string, StorageDefinition>;
  add(
    definition: Partial<StorageDefinition> & Pick<StorageDefinition, 'id' | 'type' | 'content'>,
  ): StorageDefinition;
  /** Whether a node has it. */
  isOn(definition: StorageDefinition, node: string): boolean;
  /** The volumes by volid, of one node, or of all where it is shared. Changing the map changes the storage. */
  volumes(storage: string, node: string): Map<string, Volume>;
  find(volid: string, node: string): Volume | undefined;
  usedBytes(definition: StorageDefinition, node: string): number;
}

export function createStorages(): Storages {
  const definitions = new Map<string, StorageDefinition>();
  const maps = new Map<string, Map<string, Volume>>();

  function volumes(storage: string, node: string): Map<string, Volume> {
    const key = definitions.get(storage)?.shared === true ? storage : `${storage} ${node}`;
    const found = maps.get(key) ?? new Map<string, Volume>();
    maps.set(key, found);
    return found;
  }
  return {
    definitions,
    add(given) {
      const definition: StorageDefinition = {
        shared: false,
        path: undefined,
        nodes: undefined,
        enabled: true,
        totalBytes: 270_553_174_016,
        otherBytes: 36 * 1024 ** 3,
        fields: {},
        ...given,
      };
      definitions.set(definition.id, definition);
      return definition;
    },
    isOn: (definition, node) => definition.nodes?.has(node) ?? true,
    volumes,
    find: (volid, node) => volumes(volid.slice(0, volid.indexOf(':')), node).get(volid),
    usedBytes(definition, node) {
      let used = definition.otherBytes;
      for (const volume of volumes(definition.id, node).values())
        used += volume.usedBytes ?? volume.sizeBytes;
      return used;
    },
  };
}
