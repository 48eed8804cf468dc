import { asDroverError, isKind } from '#shared/errors.ts';
import type { InstanceId, Snapshot, SnapshotId } from '#shared/model.ts';
import type { InstanceRecord } from './record.ts';
import { dueSnapshots } from './snapshot-schedule.ts';
import type { Snapshots } from './snapshots.ts';
import type { BeforeUpdate, Workshop } from './tools.ts';

/** Before-update snapshots of one instance that are kept. */
const keptBeforeUpdate = 3;
const lookEveryMs = 60_000;
const retryMs = 10 * 60_000;
const takeMs = 10 * 60_000;

type Parts = Pick<Workshop, 'pools' | 'abilities' | 'clock' | 'random' | 'log' | 'heldRecords' | 'lifetime'>;

/**
 * Taken once for each update, however often it is asked: the guest of before may be cleared away only when it
 * is there. Where the pools take none, there is none.
 */
export function createBeforeUpdate(shop: Parts, snapshots: Snapshots): BeforeUpdate {
  return async (old, _next, signal) => {
    const name = `before-update-${old.generation}`;
    const kind = 'before-update';
    const known = await snapshots.list(old, signal);
    if (known.some((each) => each.name === name && each.instanceId === old.id)) return;
    const id = shop.random.uuidV7() as SnapshotId;
    try {
      await snapshots.take(old, { id, name, kind }, signal);
    } catch (error) {
      // A pool without snapshots, or a root that was never made: there is nothing to go back to.
      if (isKind(error, 'unimplemented', 'not-found')) return;
      throw error;
    }
    const older = known.filter((each) => each.kind === kind && each.instanceId === old.id);
    for (const each of older.slice(0, Math.max(0, older.length + 1 - keptBeforeUpdate)))
      await snapshots.remove(old, each.id, signal);
  };
}

/**
 * Keeps the schedules of all instances, with no control plane: looks once a minute at what it remembers, and
 * reads the pools only when something is due. Gives the end of it.
 */
export function keepSchedules(shop: Parts, snapshots: Snapshots): () => void {
  const notBeforeMs = new Map<InstanceId, number>();
  let known: Map<InstanceId, Snapshot[]> | undefined;
  let isAtWork = false;

  async function keepOne(record: InstanceRecord): Promise<void> {
    const { clock, random, lifetime } = shop;
    const taken = known?.get(record.id) ?? (await snapshots.list(record, clock.timeout(takeMs, lifetime)));
    const { take, remove } = dueSnapshots(record.spec.snapshots, taken, clock.nowMs());
    if (take.length === 0 && remove.length === 0) {
      known?.set(record.id, taken);
      return;
    }
    for (const { kind, name } of take) {
      const id = random.uuidV7() as SnapshotId;
      await snapshots.take(record, { id, name, kind }, clock.timeout(takeMs, lifetime));
    }
    for (const { id } of remove) await snapshots.remove(record, id, clock.timeout(takeMs, lifetime));
    known?.set(record.id, await snapshots.list(record, clock.timeout(takeMs, lifetime)));
  }

  async function look(): Promise<void> {
    known ??= new Map();
    for (const record of shop.heldRecords()) {
      if (shop.lifetime.aborted) return;
      const { id, intent, run, spec } = record;
      const { hourly, daily, weekly } = spec.snapshots;
      if (intent === 'remove' || run === 'pending' || hourly + daily + weekly === 0) continue;
      if ((notBeforeMs.get(id) ?? 0) > shop.clock.monotonicMs()) continue;
      try {
        await keepOne(record);
        notBeforeMs.delete(id);
      } catch (error) {
        known.delete(id);
        notBeforeMs.set(id, shop.clock.monotonicMs() + retryMs);
        shop.log.warn({ event: 'snapshot.failed', instanceId: id, err: asDroverError(error) });
      }
    }
  }

  const lookOnce = (): void => {
    if (isAtWork) return;
    isAtWork = true;
    void look().finally(() => {
      isAtWork = false;
    });
  };
  lookOnce();
  return shop.clock.every(lookEveryMs, lookOnce);
}
