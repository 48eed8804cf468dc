import { asDroverError } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { KeeperOptions } from './keeper.ts';
import type { Workshop } from './tools.ts';

export type FoundInstance = Omit<KeeperOptions, 'onChange'>;

/**
 * Every instance that the records, the drivers or both know of. A record that cannot be read hides nothing:
 * its guest is kept and reported. What a tombstone speaks of is cleared away; a guest without either is
 * reported, never removed.
 */
export async function findInstances(shop: Workshop): Promise<FoundInstance[]> {
  const found = new Map<InstanceId, FoundInstance>();
  const runtimes = await listGuests(shop);
  const fallback = shop.drivers[0]?.name ?? '';

  for (const entry of await shop.records.readAll()) {
    const id = entry.kind === 'record' ? entry.record.id : entry.id;
    const runtime = runtimes.get(id) ?? fallback;
    if (entry.kind === 'record') found.set(id, { id, record: entry.record, damage: '', runtime });
    else if (shop.tombstones.has(id)) await shop.records.remove(id);
    else if (entry.kind === 'damaged') {
      shop.log.error({ event: 'record.damaged', instanceId: id, detail: entry.message });
      found.set(id, { id, record: undefined, damage: `its record is damaged: ${entry.message}`, runtime });
    } else if (!runtimes.has(id)) await shop.records.remove(id);
  }

  for (const [id, runtime] of runtimes) {
    if (found.has(id)) continue;
    if (shop.tombstones.has(id)) {
      const left = await clear(shop, id, runtime);
      if (left !== '') found.set(id, { id, record: undefined, damage: left, runtime });
    } else {
      shop.log.error({ event: 'record.lost', instanceId: id });
      found.set(id, { id, record: undefined, damage: 'its record is lost', runtime });
    }
  }
  await holdRanges(shop, found.values());
  return [...found.values()];
}

/**
 * Of the roots too: one whose record is lost may have a guest on it. A root that cannot be read must not keep
 * the others waiting; its instance's record has the same range.
 */
async function holdRanges(shop: Workshop, instances: Iterable<FoundInstance>): Promise<void> {
  for (const { id, kind, range } of await shop.volumes.list(shop.lifetime)) {
    if (kind === 'root' && range !== undefined) shop.ranges.hold(id as InstanceId, range);
  }
  for (const { id, record } of instances) {
    if (record !== undefined) shop.ranges.hold(id, record.range ?? shop.range);
  }
}

async function listGuests({ drivers, lifetime }: Workshop): Promise<Map<InstanceId, string>> {
  const runtimes = new Map<InstanceId, string>();
  for (const driver of drivers) {
    for (const { id } of await driver.list(lifetime)) runtimes.set(id, driver.name);
  }
  return runtimes;
}

/**
 * Empty when nothing is left; else why, for people: one that cannot be removed must not keep the others
 * waiting.
 */
async function clear(shop: Workshop, id: InstanceId, runtime: string): Promise<string> {
  const driver = shop.drivers.find(({ name }) => name === runtime);
  try {
    await driver?.remove(id, shop.lifetime);
    await shop.volumes.remove(id, shop.lifetime);
    return '';
  } catch (error) {
    shop.log.error({ event: 'guest.left', instanceId: id, err: error });
    return `it was removed, and something of it stays: ${asDroverError(error).message}`;
  }
}
