declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** UUIDv7, lower case. */
export type InstanceId = Branded<'InstanceId'>;
/** UUIDv7 of a data volume; a root has the id of its instance. */
export type VolumeId = string & { readonly [brand]: 'InstanceId' | 'VolumeId' };
/** UUIDv7, or UUIDv8 where it is derived from a request. */
export type SnapshotId = Branded<'SnapshotId'>;
/** Name of a node: 1 to 40 of [a-z0-9-], beginning and ending with a letter or digit. */
export type NodeName = Branded<'NodeName'>;
/** "sha256:" and 64 hex digits. */
export type Digest = Branded<'Digest'>;
