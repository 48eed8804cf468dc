import { asDroverError } from '#shared/errors.ts';
import type { InstanceId, VolumeId } from '#shared/model.ts';
import type { VolumeDriver } from '../volumes/volume-driver.ts';
import type { KeeperOptions } from './keeper.ts';
import type { InstanceRecord } from './record.ts';
import type { Workshop } from './tools.ts';

export type FoundInstance = Omit<KeeperOptions, 'onChange'>;

/** What drivers and pools hold that has an instance's id. */
interface Finds {
  /** The driver's name. */
  readonly runtimes: ReadonlyMap<InstanceId, string>;
  /** The pool's name. */
  readonly rootPools: ReadonlyMap<InstanceId, string>;
}

/**
 * Every instance that the records, the drivers or both know of. A record that cannot be read hides nothing:
 * its guest is kept and reported. What a tombstone speaks of is cleared away; a guest without either is
 * reported, never removed. A driver or a pool that does not answer keeps nobody of the others waiting.
 */
export async function findInstances(shop: Workshop): Promise<FoundInstance[]> {
  const found = new Map<InstanceId, FoundInstance>();
  const { runtimes, complete } = await listGuests(shop);
  const { rootPools, volumes } = await listVolumes(shop);
  const finds = { runtimes, rootPools };
  const lost = (id: InstanceId, damage: string): void =>
    void found.set(id, { ...placeOf(shop, finds, id), record: undefined, damage });

  for (const entry of await shop.records.readAll()) {
    const id = entry.kind === 'record' ? entry.record.id : entry.id;
    if (entry.kind === 'record') {
      found.set(id, { ...placeOf(shop, finds, id), record: housed(entry.record, rootPools), damage: '' });
    } else if (shop.tombstones.has(id)) await shop.records.remove(id);
    else if (entry.kind === 'damaged') {
      shop.log.error({ event: 'record.damaged', instanceId: id, detail: entry.message });
      lost(id, `its record is damaged: ${entry.message}`);
    } else if (complete && !runtimes.has(id)) await shop.records.remove(id);
  }

  for (const [id, runtime] of runtimes) {
    if (found.has(id)) continue;
    if (shop.tombstones.has(id)) {
      const left = await clear(shop, id, runtime);
      if (left !== '') lost(id, left);
    } else {
      shop.log.error({ event: 'record.lost', instanceId: id });
      lost(id, 'its record is lost');
    }
  }
  for (const { id, record } of found.values()) {
    if (record !== undefined) shop.ranges.hold(id, record.range ?? shop.range);
  }
  await releaseUnnamed(shop, volumes, [...found.values()]);
  return [...found.values()];
}

const placeOf = (shop: Workshop, { runtimes, rootPools }: Finds, id: InstanceId) => ({
  id,
  runtime: runtimes.get(id) ?? shop.drivers[0]?.name ?? '',
  rootPool: rootPools.get(id) ?? '',
});

/** An older agent had one pool and did not say which. */
const housed = (record: InstanceRecord, rootPools: Finds['rootPools']): InstanceRecord =>
  record.rootPool === '' ? { ...record, rootPool: rootPools.get(record.id) ?? '' } : record;

async function listGuests({ drivers, lifetime, log }: Workshop) {
  const runtimes = new Map<InstanceId, string>();
  let complete = true;
  for (const driver of drivers) {
    try {
      for (const { id } of await driver.list(lifetime)) runtimes.set(id, driver.name);
    } catch (error) {
      // Its instances are unknown, as every look at them will say; those of the others are not.
      lifetime.throwIfAborted();
      complete = false;
      log.error({ event: 'guests.unlisted', driver: driver.name, err: asDroverError(error) });
    }
  }
  return { runtimes, complete };
}

interface Held {
  readonly pool: VolumeDriver;
  readonly id: VolumeId;
}

/**
 * Roots hold their ids, too: one whose record is lost may have a guest on it. One that cannot be read must
 * not keep the others waiting; its instance's record has the same range.
 */
async function listVolumes({ pools, ranges, lifetime, log }: Workshop) {
  const rootPools = new Map<InstanceId, string>();
  const volumes: Held[] = [];
  for (const pool of pools.all) {
    const found = await pool.list(lifetime).catch((error: unknown) => {
      lifetime.throwIfAborted();
      log.error({ event: 'volumes.unlisted', pool: pool.pool, err: asDroverError(error) });
      return [];
    });
    volumes.push(...found.filter(({ kind }) => kind === 'data').map(({ id }) => ({ pool, id })));
    for (const { id, range } of found.filter(({ kind }) => kind === 'root')) {
      rootPools.set(id as InstanceId, pool.pool);
      if (range !== undefined) ranges.hold(id as InstanceId, range);
    }
  }
  return { rootPools, volumes };
}

/** Left mounted by a removal that was cut short. A guest whose record is lost may have any of them. */
async function releaseUnnamed(
  shop: Workshop,
  volumes: readonly Held[],
  instances: readonly FoundInstance[],
): Promise<void> {
  if (instances.some(({ record }) => record === undefined)) return;
  const named = new Set(instances.flatMap(({ record }) => record?.volumes.map(({ id }) => id) ?? []));
  for (const { pool, id } of volumes) {
    if (named.has(id)) continue;
    try {
      await pool.release(id, shop.lifetime);
    } catch (error) {
      shop.log.warn({ event: 'volume.unreleased', volumeId: id, err: asDroverError(error) });
    }
  }
}

/**
 * Empty when nothing is left; else why, for people: one that cannot be removed must not keep the others
 * waiting.
 */
async function clear(shop: Workshop, id: InstanceId, runtime: string): Promise<string> {
  const driver = shop.drivers.find(({ name }) => name === runtime);
  try {
    await driver?.remove(id, shop.lifetime);
    for (const pool of shop.pools.all) await pool.remove(id, shop.lifetime);
    return '';
  } catch (error) {
    shop.log.error({ event: 'guest.left', instanceId: id, err: error });
    return `it was removed, and something of it stays: ${asDroverError(error).message}`;
  }
}
