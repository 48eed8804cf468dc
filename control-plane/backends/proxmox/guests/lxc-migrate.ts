import type { StorageRow } from '../observe/listings.ts';
import { storageOfVolume } from './disks.ts';
import { isOn, parseProperties, textOf } from './properties.ts';
import type { Configuration } from './guest-kind.ts';

/** Kinds of storages whose volumes are copied to another node with their snapshots. */
const keepingSnapshots: ReadonlySet<string> = new Set(['zfspool', 'btrfs']);

/**
 * Why a container cannot go to another node, which its cluster finds out only after it has stopped it.
 * `storageCalled`: of its node. For people.
 */
export function lxcObstacles(
  config: Configuration,
  storageCalled: (name: string) => Pick<StorageRow, 'shared' | 'plugin'> | undefined,
): string[] {
  const hasSnapshots = textOf(config['parent']) !== '';
  return Object.entries(config)
    .filter(([key]) => /^(?:rootfs|mp\d+|unused\d+)$/.test(key))
    .flatMap(([key, value]) => {
      const properties = parseProperties(value, 'volume');
      const volume = properties.get('volume') ?? '';
      const name = storageOfVolume(volume);
      if (name === '') return isOn(properties.get('shared')) ? [] : [`${key} is ${volume} of its node`];
      const storage = storageCalled(name);
      if (storage === undefined || storage.shared) return [];
      if (/[:/]base(?:vol)?-\d+-[^/]*\//.test(volume)) return [`${key} is a linked clone on ${name}`];
      return hasSnapshots && !keepingSnapshots.has(storage.plugin)
        ? [`it has snapshots, which cannot leave ${name} of its node`]
        : [];
    });
}
