import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type {
  InstanceId,
  InstanceSpec,
  NodeVolume,
  Snapshot,
  SnapshotId,
  SnapshotKind,
  VolumeId,
} from '#shared/model.ts';

/** Volumes and snapshots of a fake node. */
export interface NodeStorage {
  /** Data volumes of an instance are made where they are missing, and given to it; what it had more is free. */
  take(id: InstanceId, spec: InstanceSpec): void;
  /** The instance is gone; its data volumes stay, its snapshots too where a data volume is in them. */
  leave(id: InstanceId): void;
  readonly volumes: ReadonlyMap<VolumeId, NodeVolume>;
  snapshots(id: InstanceId | undefined): Snapshot[];
  snapshot(
    id: InstanceId,
    of: {
      readonly id: SnapshotId;
      readonly name: string;
      readonly generation: number;
      readonly kind?: SnapshotKind;
    },
  ): Snapshot;
  /** Later ones go. */
  rollback(id: InstanceId, snapshot: SnapshotId): void;
  removeSnapshot(id: InstanceId, snapshot: SnapshotId): void;
  removeVolume(id: VolumeId): void;
}

export function createNodeStorage(clock: Clock): NodeStorage {
  const volumes = new Map<VolumeId, NodeVolume>();
  const taken = new Map<InstanceId, Snapshot[]>();
  const specs = new Map<InstanceId, InstanceSpec>();

  const find = (id: InstanceId, snapshot: SnapshotId): number => {
    const place = taken.get(id)?.findIndex((each) => each.id === snapshot) ?? -1;
    if (place < 0) throw new DroverError('not-found', `no snapshot ${snapshot} of ${id}`);
    return place;
  };

  return {
    volumes,
    take(id, spec) {
      specs.set(id, spec);
      for (const claim of spec.volumes) {
        const volumeId = spec.assigned.volumes.find(({ name }) => name === claim.name)?.volumeId;
        if (volumeId === undefined) throw new DroverError('invalid-argument', `no volume for ${claim.name}`);
        const other = volumes.get(volumeId)?.instanceId;
        if (other !== undefined && other !== id)
          throw new DroverError('failed-precondition', `${volumeId} is in use by ${other}`);
        const { pool, sizeMib } = claim;
        volumes.set(volumeId, { id: volumeId, pool: pool || 'local', sizeMib, usedBytes: 0, instanceId: id });
      }
      const own = new Set<string>(spec.assigned.volumes.map(({ volumeId }) => volumeId));
      for (const volume of volumes.values())
        if (volume.instanceId === id && !own.has(volume.id))
          volumes.set(volume.id, { ...volume, instanceId: undefined });
    },
    leave(id) {
      specs.delete(id);
      taken.delete(id);
      for (const volume of volumes.values())
        if (volume.instanceId === id) volumes.set(volume.id, { ...volume, instanceId: undefined });
    },
    snapshots: (id) =>
      [...taken].filter(([owner]) => id === undefined || owner === id).flatMap(([, all]) => all),
    snapshot(id, { id: snapshotId, name, generation, kind = 'manual' }) {
      const all = taken.get(id) ?? [];
      const known = all.find((each) => each.id === snapshotId);
      if (known !== undefined) return known;
      if (all.some((each) => each.name === name))
        throw new DroverError('already-exists', `${id} has a snapshot ${name}`);
      const data = specs.get(id)?.assigned.volumes ?? [];
      const snapshot: Snapshot = {
        id: snapshotId,
        name,
        instanceId: id,
        kind,
        createdAtMs: clock.nowMs(),
        volumes: [{ volumeId: id, name: 'root' }, ...data].map((one) => ({ ...one, bytes: 0 })),
        crashInconsistent: false,
        pauseMs: 0,
        generation,
      };
      taken.set(id, [...all, snapshot]);
      return snapshot;
    },
    rollback(id, snapshot) {
      const place = find(id, snapshot);
      taken.set(id, (taken.get(id) ?? []).slice(0, place + 1));
    },
    removeSnapshot(id, snapshot) {
      taken.set(
        id,
        (taken.get(id) ?? []).filter((each) => each.id !== snapshot),
      );
    },
    removeVolume(id) {
      const owner = volumes.get(id)?.instanceId;
      if (owner !== undefined) throw new DroverError('failed-precondition', `${owner} has ${id}`);
      volumes.delete(id);
    },
  };
}
