import { DroverError } from '#shared/errors.ts';
import type {
  GuestStats as WireGuestStats,
  Snapshot as WireSnapshot,
  Volume as WireVolume,
} from '#shared/gen/drover/model/v1/model.ts';
import type {
  GuestStats,
  InstanceId,
  NodeVolume,
  Snapshot,
  SnapshotId,
  SnapshotKind,
  VolumeId,
} from '#shared/model.ts';
import {
  checkCount,
  checkLine,
  checkName,
  checkUuid,
  collectFaults,
  optionalPool,
  parseInstanceId,
  parseOne,
} from '#shared/wire/checks.ts';

const kinds: readonly SnapshotKind[] = ['manual', 'hourly', 'daily', 'weekly', 'before-update'];

/** invalid-argument. */
export const parseSnapshotId = (text: string): SnapshotId =>
  parseOne('snapshot id', (faults) => checkUuid(text, 'snapshotId', faults) as SnapshotId);

/** invalid-argument. */
export const parseVolumeId = (text: string): VolumeId =>
  parseOne('volume id', (faults) => checkUuid(text, 'volumeId', faults) as VolumeId);

/** invalid-argument. */
export function parseSnapshot(message: WireSnapshot | undefined): Snapshot {
  if (message === undefined) throw new DroverError('invalid-argument', 'snapshot is missing');
  const faults = collectFaults();
  const kind = kinds.find((each) => each === message.kind);
  if (kind === undefined) faults.add('kind', 'is not known here');
  const snapshot: Snapshot = {
    id: checkUuid(message.id, 'id', faults) as SnapshotId,
    name: checkName(message.name, 'name', faults),
    instanceId: parseInstanceId(message.instanceId),
    kind: kind ?? 'manual',
    createdAtMs: checkCount(message.createdAtMs, 'createdAtMs', faults),
    volumes: message.volumes.slice(0, 64).map(({ volumeId, name, bytes }) => ({
      volumeId: checkUuid(volumeId, 'volumes.volumeId', faults) as VolumeId,
      name: checkName(name, 'volumes.name', faults),
      bytes: checkCount(bytes, 'volumes.bytes', faults),
    })),
    crashInconsistent: message.crashInconsistent,
    pauseMs: message.pauseMs,
    generation: checkCount(message.generation, 'generation', faults),
  };
  faults.throwIfAny('snapshot');
  return snapshot;
}

export const formatSnapshot = (snapshot: Snapshot): WireSnapshot => ({
  ...snapshot,
  createdAtMs: BigInt(Math.round(snapshot.createdAtMs)),
  volumes: snapshot.volumes.map((one) => ({ ...one, bytes: BigInt(Math.round(one.bytes)) })),
  pauseMs: Math.ceil(snapshot.pauseMs),
  generation: BigInt(snapshot.generation),
});

/** invalid-argument. */
export function parseNodeVolume(message: WireVolume): NodeVolume {
  const faults = collectFaults();
  const { instanceId } = message;
  const volume: NodeVolume = {
    id: checkUuid(message.id, 'id', faults) as VolumeId,
    pool: optionalPool(message.pool, 'pool', faults),
    sizeMib: message.sizeMib,
    usedBytes: checkCount(message.usedBytes, 'usedBytes', faults),
    instanceId: instanceId === '' ? undefined : (checkUuid(instanceId, 'instanceId', faults) as InstanceId),
  };
  faults.throwIfAny('volume');
  return volume;
}

export const formatNodeVolume = (volume: NodeVolume): WireVolume => ({
  ...volume,
  usedBytes: BigInt(Math.round(volume.usedBytes)),
  instanceId: volume.instanceId ?? '',
});

/** invalid-argument. */
export function parseGuestStats(message: WireGuestStats): GuestStats {
  const faults = collectFaults();
  checkLine(message.displayName, 64, 'displayName', faults);
  const stats: GuestStats = {
    instanceId: parseInstanceId(message.instanceId),
    atMs: checkCount(message.atMs, 'atMs', faults),
    cpuUs: checkCount(message.cpuUs, 'cpuUs', faults),
    memoryBytes: checkCount(message.memoryBytes, 'memoryBytes', faults),
    pids: message.pids,
    receivedBytes: checkCount(message.receivedBytes, 'receivedBytes', faults),
    sentBytes: checkCount(message.sentBytes, 'sentBytes', faults),
  };
  faults.throwIfAny('statistics');
  return stats;
}

export const formatGuestStats = (stats: GuestStats, displayName = ''): WireGuestStats => ({
  ...stats,
  displayName,
  atMs: BigInt(Math.round(stats.atMs)),
  cpuUs: BigInt(Math.round(stats.cpuUs)),
  memoryBytes: BigInt(Math.round(stats.memoryBytes)),
  receivedBytes: BigInt(Math.round(stats.receivedBytes)),
  sentBytes: BigInt(Math.round(stats.sentBytes)),
});
