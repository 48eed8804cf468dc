import type { Digest, InstanceId, PoolFacts, SnapshotId, VolumeId } from '#shared/model.ts';

/** A host id range that roots are shifted into: container id 0 is host id `base`. */
export interface IdRange {
  readonly base: number;
  readonly size: number;
}

/** A root or a data volume, mounted. */
export interface MountedVolume {
  /** Absolute; every directory above it lets others pass (o+x). */
  readonly path: string;
  /** Whether the quota that was asked for is enforced. */
  readonly quotaEnforced: boolean;
}

export interface Usage {
  /** Bytes that removing the volume would free. */
  readonly bytes: number;
}

/** An image's root file system, unpacked. Never written to. */
export interface UnpackedImage {
  readonly digest: Digest;
  readonly rootfs: string;
  /** The host ids that its files have; a base of 0: the image's own. */
  readonly range: IdRange;
}

export interface RootRequest {
  readonly id: InstanceId;
  readonly image: UnpackedImage;
  /** The host ids that the root gets. Where the image has others, the driver shifts: by mount or by copy. */
  readonly range: IdRange;
  /** Zero: no quota. */
  readonly diskMib: number;
}

export interface DataRequest {
  readonly id: VolumeId;
  /** Whose ids the volume's files have from now on: they are shifted when it had others. */
  readonly range: IdRange;
  /** Zero: no quota. */
  readonly diskMib: number;
}

/** What a volume is, as the driver finds it on the host. */
export interface FoundVolume {
  readonly id: VolumeId;
  readonly kind: 'root' | 'data';
  /** Undefined: only half of it is there. */
  readonly range: IdRange | undefined;
  /** Zero: no quota. */
  readonly diskMib: number;
}

/**
 * Text that goes with a snapshot and comes back with it, also through send and receive. At most 900 bytes.
 */
export type SnapshotNote = string;

export interface FoundSnapshot {
  readonly id: SnapshotId;
  readonly volumeId: VolumeId;
  readonly createdAtMs: number;
  readonly note: SnapshotNote;
  /** Bytes that removing it would free. */
  readonly bytes: number;
}

/**
 * 'quota': sizes are enforced. 'snapshots': snapshot, snapshots, rollback, removeSnapshot and clone.
 * 'instant-snapshots': each volume by itself at one moment. 'atomic-snapshots': several volumes at one
 * moment. 'send': send and receive. 'incremental': send from an older snapshot. 'idmap': roots are shifted by
 * the mount, without a copy. 'cheap-clones': a root costs the same whatever the image's size.
 */
export type VolumeCapability =
  | 'quota'
  | 'snapshots'
  | 'atomic-snapshots'
  | 'instant-snapshots'
  | 'send'
  | 'incremental'
  | 'idmap'
  | 'cheap-clones';

/**
 * VolumeDriver keeps one pool: roots made from unpacked images, and data volumes.
 *
 * Every call may be repeated, also after a crash of the agent in the middle of it: prepare finds the volume
 * or makes it, and keeps what the guest wrote; remove succeeds when there is nothing left. Nothing that the
 * driver did not make is ever touched: what is foreign, or stands on something of ours, makes a removal fail
 * with failed-precondition naming it. What a driver cannot do is not among its capabilities and throws
 * unimplemented. Further kinds: not-found, already-exists, resource-exhausted (no room, or above the quota),
 * unavailable (the store of the volumes does not answer), deadline-exceeded (unknown outcome), data-loss (a
 * stream that is cut or damaged). test/conformance/volume-driver.ts holds every driver to this.
 */
export interface VolumeDriver {
  /** "directory", "zfs". */
  readonly name: string;
  /** As the agent's configuration calls the pool. */
  readonly pool: string;
  /**
   * Never throws: what is wrong is an answer the scheduler reads. Tries a write where reads do not tell.
   * A full pool is well, with 0 free, and may not know all its capabilities until it has room.
   */
  fingerprint(signal: AbortSignal): Promise<PoolFacts & { readonly freeMib: number }>;

  /** A mounted root over the image. Found again with what the guest wrote; the quota is set anew. */
  prepare(root: RootRequest, signal: AbortSignal): Promise<MountedVolume>;
  /** A mounted data volume, empty at first. Found again with what is in it; the quota is set anew. */
  prepareData(volume: DataRequest, signal: AbortSignal): Promise<MountedVolume>;
  /** Unmounts, keeping what the guest wrote. Succeeds when it is not mounted or not there. */
  release(id: VolumeId, signal: AbortSignal): Promise<void>;
  /** Unmounts and removes it with its snapshots. failed-precondition: something was cloned from one. */
  remove(id: VolumeId, signal: AbortSignal): Promise<void>;
  /** not-found. failed-precondition: below what is used. Zero: no quota. */
  setQuota(id: VolumeId, diskMib: number, signal: AbortSignal): Promise<void>;
  /** not-found. */
  usage(id: VolumeId, signal: AbortSignal): Promise<Usage>;
  /** All that it holds, mounted or not. */
  list(signal: AbortSignal): Promise<FoundVolume[]>;

  /**
   * A snapshot of each volume under one id; all or none. At one moment where 'atomic-snapshots' is declared,
   * else one after the other. already-exists where a volume has the id with another note; not-found.
   */
  snapshot(
    ids: readonly VolumeId[],
    snapshot: SnapshotId,
    note: SnapshotNote,
    signal: AbortSignal,
  ): Promise<void>;
  /** Oldest first; of one volume or of all. not-found. */
  snapshots(id: VolumeId | undefined, signal: AbortSignal): Promise<FoundSnapshot[]>;
  /**
   * Sets the volume back. It must be released; later snapshots of ours go with it. not-found;
   * failed-precondition: it is mounted, or something stands on a later snapshot.
   */
  rollback(id: VolumeId, snapshot: SnapshotId, signal: AbortSignal): Promise<void>;
  /** Succeeds when there is none. failed-precondition: something was cloned from it. */
  removeSnapshot(id: VolumeId, snapshot: SnapshotId, signal: AbortSignal): Promise<void>;
  /** A new data volume, or a root, with what the snapshot holds; not mounted. already-exists; not-found. */
  clone(from: VolumeId, snapshot: SnapshotId, to: VolumeId, signal: AbortSignal): Promise<void>;

  /**
   * The snapshot as a stream, or what changed since an older one. not-found. Ends with an error when the tool
   * fails: a stream that ended well is whole.
   */
  send(
    id: VolumeId,
    snapshot: SnapshotId,
    options: { readonly since?: SnapshotId },
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array>;
  /**
   * Makes the volume from a whole stream, or brings it up to date with a later one. Nothing is left of a
   * stream that is cut or damaged: data-loss. already-exists: a whole stream for a volume that is there.
   * aborted: the volume is not at the snapshot that the stream goes on from.
   */
  receive(id: VolumeId, stream: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;

  /** Images that roots are made from here and what they cost; for the collection of images. */
  listImages(signal: AbortSignal): Promise<{ readonly digest: Digest; readonly bytes: number }[]>;
  /** Succeeds when there is none. failed-precondition while a root is made from it. */
  removeImage(digest: Digest, signal: AbortSignal): Promise<void>;
  /** Stops its own watching; volumes stay as they are. */
  close(): Promise<void>;
}
