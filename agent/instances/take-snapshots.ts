import path from 'node:path';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { DroverError, isKind } from '#shared/errors.ts';
import type { InstanceId, Snapshot, SnapshotId } from '#shared/model.ts';
import { readIfThere, writeDurably } from '../host/durable-file.ts';
import type { FoundSnapshot, VolumeDriver } from '../volumes/volume-driver.ts';
import { createPauses } from './pauses.ts';
import type { InstanceRecord } from './record.ts';
import { type NewSnapshot, noSuchSnapshot, type Snapshots } from './snapshots.ts';
import { type FoundSet, formatNote, gatherSets } from './snapshot-note.ts';
import type { Workshop } from './tools.ts';
import { claimOf, partsOf, type VolumePart } from './volume-parts.ts';

type Parts = Pick<
  Workshop,
  'pools' | 'drivers' | 'abilities' | 'clock' | 'log' | 'act' | 'heldRecords' | 'lifetime'
>;

/** Above this a guest may have noticed: what it holds open is then not what it would have written. */
const longestPauseMs = 1000;

export function createSnapshots(shop: Parts, directory: string): Snapshots {
  const pauses = createPauses(shop, path.join(directory, 'frozen'));
  const queues = new Map<InstanceId, Promise<unknown>>();
  const taking = new Set<SnapshotId>();

  /** One at a time for each instance. */
  function inTurn<T>(id: InstanceId, work: () => Promise<T>): Promise<T> {
    const before = queues.get(id) ?? Promise.resolve();
    const mine = before.then(work, work);
    const quiet = mine.catch(() => undefined).finally(() => queues.get(id) === quiet && queues.delete(id));
    queues.set(id, quiet);
    return mine;
  }

  const pauseFile = (id: SnapshotId): string => path.join(directory, `${id}.json`);

  async function readSets(signal: AbortSignal): Promise<FoundSet[]> {
    const found: FoundSnapshot[] = [];
    for (const pool of shop.pools.all) {
      if (!(await canSnapshot(shop, pool))) continue;
      found.push(...(await pool.snapshots(undefined, signal)));
    }
    return gatherSets(found, (volumeId) => claimOf(shop.heldRecords(), volumeId) ?? volumeId);
  }

  /** How long the guest stood still; unknown is never told as consistent. */
  async function finish({ snapshot, atOnce }: FoundSet): Promise<Snapshot> {
    const stored = atOnce ? undefined : await readIfThere(pauseFile(snapshot.id));
    const told = stored === undefined ? { pauseMs: 0, crashInconsistent: !atOnce } : readPause(stored);
    return { ...snapshot, ...told };
  }

  async function setsOf(record: InstanceRecord, signal: AbortSignal): Promise<FoundSet[]> {
    const own = new Set<string>(partsOf(record).map(({ volumeId }) => volumeId));
    return (await readSets(signal)).filter(({ snapshot, isWhole }) => {
      const shared = snapshot.volumes.some(({ volumeId }) => own.has(volumeId));
      // Of an instance of before, the data volumes may have come here; its root has not.
      return shared && (isWhole || snapshot.instanceId !== record.id) && !taking.has(snapshot.id);
    });
  }

  async function takeNew(
    record: InstanceRecord,
    wanted: NewSnapshot,
    signal: AbortSignal,
  ): Promise<Snapshot> {
    const parts = partsOf(record);
    const byPool = Map.groupBy(parts, ({ pool }) => shop.pools.of(pool));
    for (const pool of byPool.keys()) await requireSnapshots(shop, pool, record.id);
    const atOnce = await isOneMoment(shop, byPool);
    const createdAtMs = shop.clock.nowMs();
    const note = formatNote({
      name: wanted.name,
      kind: wanted.kind,
      instanceId: record.id,
      generation: record.generation,
      parts: parts.length,
      createdAtMs,
      atOnce,
    });
    const snapAll = async (): Promise<void> => {
      for (const [pool, volumes] of byPool) {
        const ids = volumes.map(({ volumeId }) => volumeId);
        await shop.act('snapshot.take', () => pool.snapshot(ids, wanted.id, note, signal));
      }
    };
    if (atOnce) await snapAll();
    else await snapPaused(record, wanted.id, snapAll);
    const set = (await readSets(signal)).find(({ snapshot }) => snapshot.id === wanted.id);
    if (set?.isWhole !== true)
      throw new DroverError('internal', `snapshot ${wanted.id} is not there after it was taken`);
    return finish(set);
  }

  async function snapPaused(
    record: InstanceRecord,
    id: SnapshotId,
    snapAll: () => Promise<void>,
  ): Promise<void> {
    const { pauseMs, stoodStill } = await pauses.during(record, snapAll);
    const crashInconsistent = !stoodStill || pauseMs > longestPauseMs;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeDurably(pauseFile(id), JSON.stringify({ pauseMs, crashInconsistent }));
    if (crashInconsistent)
      shop.log.warn({ event: 'snapshot.inconsistent', instanceId: record.id, snapshotId: id, pauseMs });
  }

  async function removeParts({ snapshot }: FoundSet, signal: AbortSignal): Promise<void> {
    for (const pool of shop.pools.all) {
      if (!(await canSnapshot(shop, pool))) continue;
      const held = new Set((await pool.list(signal)).map(({ id }) => id));
      for (const { volumeId } of snapshot.volumes) {
        if (!held.has(volumeId)) continue;
        await shop.act('snapshot.remove', () => pool.removeSnapshot(volumeId, snapshot.id, signal));
      }
    }
    await rm(pauseFile(snapshot.id), { force: true });
  }

  return {
    take: (record, wanted, signal) =>
      inTurn(record.id, async () => {
        const sets = await setsOf(record, signal);
        const known = sets.find(({ snapshot }) => snapshot.id === wanted.id);
        if (known !== undefined) return finish(known);
        if (sets.some(({ snapshot }) => snapshot.name === wanted.name))
          throw new DroverError('already-exists', `there is a snapshot ${wanted.name} of ${record.id}`, {
            subject: { instance: record.id, snapshot: wanted.name },
            nextStep: 'choose another name, or remove that one',
          });
        taking.add(wanted.id);
        try {
          const half = (await readSets(signal)).find(({ snapshot }) => snapshot.id === wanted.id);
          if (half !== undefined) await removeParts(half, signal);
          return await takeNew(record, wanted, signal);
        } catch (error) {
          await removeHalf(wanted.id);
          throw error;
        } finally {
          taking.delete(wanted.id);
        }
      }),
    async list(of, signal) {
      const sets = of === undefined ? await readSets(signal) : await setsOf(of, signal);
      const whole = of === undefined ? sets.filter(({ snapshot }) => !taking.has(snapshot.id)) : sets;
      return Promise.all(whole.map(finish));
    },
    setBack: (record, id, signal) =>
      inTurn(record.id, async () => {
        const set = (await setsOf(record, signal)).find(({ snapshot }) => snapshot.id === id);
        if (set === undefined) throw noSuchSnapshot(record.id, id);
        const parts = new Map(partsOf(record).map((part) => [part.volumeId, part.pool]));
        for (const { volumeId } of set.snapshot.volumes) {
          const pool = parts.get(volumeId);
          if (pool === undefined) continue;
          await shop.act('snapshot.set-back', () => shop.pools.of(pool).rollback(volumeId, id, signal));
        }
      }),
    remove: (record, id, signal) =>
      inTurn(record.id, async () => {
        const set = (await setsOf(record, signal)).find(({ snapshot }) => snapshot.id === id);
        if (set !== undefined) await removeParts(set, signal);
      }),
    async recover(signal) {
      await pauses.resumeLeft(signal);
      const held = new Set<string>(shop.heldRecords().map(({ id }) => id));
      for (const set of await readSets(signal)) {
        const { id, instanceId } = set.snapshot;
        if (!set.isWhole && held.has(instanceId) && !taking.has(id)) await removeParts(set, signal);
      }
      await dropPauseFiles(directory, new Set((await readSets(signal)).map(({ snapshot }) => snapshot.id)));
    },
  };

  /** Whatever kept it from being whole: a full pool must be able to take the next one. */
  async function removeHalf(id: SnapshotId): Promise<void> {
    const signal = shop.clock.timeout(60_000);
    try {
      const half = (await readSets(signal)).find(({ snapshot }) => snapshot.id === id);
      if (half !== undefined) await removeParts(half, signal);
    } catch (err) {
      shop.log.warn({ event: 'snapshot.half-left', snapshotId: id, err });
    }
  }
}

async function canSnapshot({ abilities }: Parts, pool: VolumeDriver): Promise<boolean> {
  try {
    return (await abilities.pool(pool)).has('snapshots');
  } catch (error) {
    // Its own snapshots cannot be read now; those of other pools can.
    if (isKind(error, 'unavailable')) return false;
    throw error;
  }
}

async function requireSnapshots(
  { abilities }: Parts,
  pool: VolumeDriver,
  instance: InstanceId,
): Promise<void> {
  if ((await abilities.pool(pool)).has('snapshots')) return;
  throw new DroverError('unimplemented', `the pool ${pool.pool} takes no snapshots`, {
    subject: { instance, pool: pool.pool },
  });
}

/** One volume that is frozen in an instant, or several in one pool that takes them together. */
async function isOneMoment(
  { abilities }: Parts,
  byPool: ReadonlyMap<VolumeDriver, readonly VolumePart[]>,
): Promise<boolean> {
  const [first, ...more] = [...byPool];
  if (first === undefined || more.length > 0) return false;
  const [pool, parts] = first;
  const able = await abilities.pool(pool);
  return able.has('atomic-snapshots') || (parts.length === 1 && able.has('instant-snapshots'));
}

function readPause(text: string): { pauseMs: number; crashInconsistent: boolean } {
  try {
    const { pauseMs, crashInconsistent } = JSON.parse(text) as Record<string, unknown>;
    return { pauseMs: Number(pauseMs) || 0, crashInconsistent: crashInconsistent !== false };
  } catch {
    return { pauseMs: 0, crashInconsistent: true };
  }
}

async function dropPauseFiles(directory: string, kept: ReadonlySet<string>): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names) {
    const id = /^([0-9a-f-]{36})\.json$/.exec(name)?.[1];
    if (id !== undefined && !kept.has(id)) await rm(path.join(directory, name), { force: true });
  }
}
