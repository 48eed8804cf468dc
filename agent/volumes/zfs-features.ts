/**
 * What the ZFS of this host can do. zfs-fuse 0.7 and OpenZFS 2 share what the driver needs; of OpenZFS more
 * is used. Pure: how each is called is here, and in a test.
 */
export interface ZfsFeatures {
  readonly flavour: 'zfs-fuse' | 'openzfs';
  /** "zfs-2.1.11-1"; empty where it tells none. */
  readonly version: string;
  /** Properties of what is made below. */
  readonly groupProperties: readonly string[];
  /** Whether one call takes several snapshots at one moment. */
  readonly takesAtomicSnapshots: boolean;
}

/** From what `zfs version` answered. */
export function parseFeatures(answer: { readonly stdout: string }): ZfsFeatures {
  const version = /^zfs-\d[\w.~+-]*/m.exec(answer.stdout)?.[0];
  // It fails where the module is not loaded, and says its own version all the same.
  if (version !== undefined) {
    const groupProperties = ['atime=off', 'compression=lz4', 'xattr=sa', 'acltype=posixacl'];
    return { flavour: 'openzfs', version, groupProperties, takesAtomicSnapshots: true };
  }
  const groupProperties = ['atime=off', 'compression=on'];
  return { flavour: 'zfs-fuse', version: '', groupProperties, takesAtomicSnapshots: false };
}

const properties = (pairs: readonly string[]): string[] => pairs.flatMap((pair) => ['-o', pair]);

export const createArgs = (name: string, pairs: readonly string[]): string[] => [
  'create',
  ...properties(pairs),
  name,
];

export const cloneArgs = (from: string, name: string, pairs: readonly string[]): string[] => [
  'clone',
  ...properties(pairs),
  from,
  name,
];

export const snapshotArgs = (names: readonly string[], pairs: readonly string[]): string[] => [
  'snapshot',
  ...properties(pairs),
  ...names,
];

/** Blocks go as they lie on the disk where that is known: large, embedded, compressed. Without properties. */
export const sendArgs = (features: ZfsFeatures, name: string, since: string | undefined): string[] => [
  'send',
  ...(features.flavour === 'openzfs' ? ['-L', '-e', '-c'] : []),
  ...(since === undefined ? [] : ['-i', since]),
  name,
];

/** Not mounted on arrival; zfs-fuse knows no -u, and mounts nothing below what has no mount point. */
export const receiveArgs = (features: ZfsFeatures, name: string): string[] => [
  'recv',
  ...(features.flavour === 'openzfs' ? ['-u'] : []),
  name,
];

export const destroyArgs = (name: string): string[] => ['destroy', name];
