import { asDroverError, DroverError, isKind } from '#shared/errors.ts';
import type { FoundSnapshot, VolumeDriver } from '../volumes/volume-driver.ts';
import type { InstanceRecord } from './record.ts';
import { type FoundSet, gatherSets } from './snapshot-note.ts';
import type { Workshop } from './tools.ts';
import { claimOf, partsOf } from './volume-parts.ts';

type Parts = Pick<Workshop, 'pools' | 'abilities' | 'heldRecords'>;

/** All snapshots of a node, as far as its pools answer. */
export interface SnapshotSets {
  /** Oldest first. */
  readonly sets: readonly FoundSet[];
  /** Pools that do not answer, and why: what they hold is neither there nor gone. */
  readonly away: ReadonlyMap<VolumeDriver, DroverError>;
}

export async function readSets(shop: Parts, signal: AbortSignal): Promise<SnapshotSets> {
  const found: FoundSnapshot[] = [];
  const away = new Map<VolumeDriver, DroverError>();
  for (const pool of shop.pools.all) {
    try {
      if (!(await shop.abilities.pool(pool)).has('snapshots')) continue;
      found.push(...(await pool.snapshots(undefined, signal)));
    } catch (error) {
      signal.throwIfAborted();
      if (!isKind(error, 'unavailable', 'deadline-exceeded')) throw error;
      away.set(pool, asDroverError(error));
    }
  }
  return { sets: gatherSets(found, (volumeId) => claimOf(shop.heldRecords(), volumeId) ?? volumeId), away };
}

/** unavailable: a pool of the instance does not answer, so that its snapshots are not known. */
export function requireAnswers(shop: Parts, record: InstanceRecord, { away }: SnapshotSets): void {
  for (const { pool } of partsOf(record)) {
    const error = away.get(shop.pools.of(pool));
    if (error !== undefined) throw error;
  }
}

/** unavailable: one pool or another does not answer, so what looks like half a set may be a whole one. */
export function requireAll({ away }: SnapshotSets): void {
  for (const error of away.values()) throw error;
}
