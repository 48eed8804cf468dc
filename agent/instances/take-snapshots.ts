import path from 'node:path';
import { mkdir, rm } from 'node:fs/promises';
import { asDroverError, DroverError } from '#shared/errors.ts';
import type { InstanceId, Snapshot, SnapshotId, VolumeId } from '#shared/model.ts';
import { namesIn, readIfThere, writeDurably } from '../host/durable-file.ts';
import type { VolumeDriver } from '../volumes/volume-driver.ts';
import { createPauses } from './pauses.ts';
import type { InstanceRecord } from './record.ts';
import { type NewSnapshot, noSuchSnapshot, type Snapshots } from './snapshots.ts';
import { type FoundSet, formatNote } from './snapshot-note.ts';
import { readSets, requireAll, requireAnswers, type SnapshotSets } from './snapshot-sets.ts';
import { createSnapshotTurns, isLeaving } from './snapshot-turns.ts';
import type { Workshop } from './tools.ts';
import { partsOf, type VolumePart } from './volume-parts.ts';

type Parts = Pick<
  Workshop,
  'pools' | 'drivers' | 'abilities' | 'clock' | 'log' | 'act' | 'heldRecords' | 'lifetime'
>;

/** Above this a guest may have noticed: what it holds open is then not what it would have written. */
const longestPauseMs = 1000;
const cleanUpMs = 60_000;

export function createSnapshots(shop: Parts, directory: string): Snapshots {
  const pauses = createPauses(shop, path.join(directory, 'frozen'));
  const turns = createSnapshotTurns(shop.lifetime);
  const taking = new Set<SnapshotId>();

  const pauseFile = (id: SnapshotId): string => path.join(directory, `${id}.json`);

  /** How long the guest stood still; unknown is never told as consistent. */
  async function finish({ snapshot, atOnce }: FoundSet): Promise<Snapshot> {
    const stored = atOnce ? undefined : await readIfThere(pauseFile(snapshot.id));
    const told = stored === undefined ? { pauseMs: 0, crashInconsistent: !atOnce } : readPause(stored);
    return { ...snapshot, ...told };
  }

  /**
   * What a crash left of one that was being taken, or a way back of one that it took the root of. One that
   * lost a data volume since is none: what is left of it is still good.
   */
  async function isHalf({ snapshot, isWhole, atOnce }: FoundSet): Promise<boolean> {
    if (isWhole) return false;
    const { id, instanceId, volumes } = snapshot;
    if (!volumes.some(({ volumeId }) => volumeId === instanceId)) return true;
    return !atOnce && (await readIfThere(pauseFile(id))) === undefined;
  }

  async function setsOf(record: InstanceRecord, { sets }: SnapshotSets): Promise<FoundSet[]> {
    const own = new Set<string>(partsOf(record).map(({ volumeId }) => volumeId));
    const shared = sets.filter(
      ({ snapshot: { id, volumes } }) => !taking.has(id) && volumes.some(({ volumeId }) => own.has(volumeId)),
    );
    // Of an instance of before, the data volumes may have come here; its root has not.
    const isShown = async (set: FoundSet): Promise<boolean> =>
      set.snapshot.instanceId !== record.id || !(await isHalf(set));
    return filtered(shared, isShown);
  }

  /** Whole or half, for as long as its instance is here. */
  async function halvesIn({ sets }: SnapshotSets): Promise<FoundSet[]> {
    const held = new Set<string>(shop.heldRecords().map(({ id }) => id));
    const own = sets.filter(({ snapshot }) => held.has(snapshot.instanceId) && !taking.has(snapshot.id));
    return filtered(own, isHalf);
  }

  async function readAll(signal: AbortSignal): Promise<SnapshotSets> {
    const all = await readSets(shop, signal);
    requireAll(all);
    return all;
  }

  async function knownOf(record: InstanceRecord, signal: AbortSignal): Promise<FoundSet[]> {
    const all = await readSets(shop, signal);
    requireAnswers(shop, record, all);
    return setsOf(record, all);
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
    const set = (await readSets(shop, signal)).sets.find(({ snapshot }) => snapshot.id === wanted.id);
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

  /** First it counts as half, so that what a crash leaves of it is never shown. */
  async function removeParts({ snapshot }: FoundSet, signal: AbortSignal): Promise<void> {
    await rm(pauseFile(snapshot.id), { force: true });
    for (const pool of shop.pools.all) {
      if (!(await shop.abilities.pool(pool)).has('snapshots')) continue;
      const held = new Set((await pool.list(signal)).map(({ id }) => id));
      for (const { volumeId } of snapshot.volumes) {
        if (!held.has(volumeId)) continue;
        await shop.act('snapshot.remove', () => pool.removeSnapshot(volumeId, snapshot.id, signal));
      }
    }
  }

  async function take(record: InstanceRecord, wanted: NewSnapshot, signal: AbortSignal): Promise<Snapshot> {
    checkStays(shop, record);
    const all = await readSets(shop, signal);
    requireAnswers(shop, record, all);
    const sets = await setsOf(record, all);
    const known = sets.find(({ snapshot }) => snapshot.id === wanted.id);
    if (known !== undefined) return finish(known);
    if (sets.some(({ snapshot }) => snapshot.name === wanted.name)) throw isNamed(record, wanted);
    const half = all.sets.find(({ snapshot }) => snapshot.id === wanted.id);
    if (half !== undefined) {
      if (half.snapshot.instanceId !== record.id) throw isOthers(record, half);
      requireAll(all);
    }
    taking.add(wanted.id);
    try {
      if (half !== undefined) await removeParts(half, signal);
      return await takeNew(record, wanted, signal);
    } catch (error) {
      await removeHalf(wanted.id);
      throw error;
    } finally {
      taking.delete(wanted.id);
    }
  }

  /** Whatever kept it from being whole: a full pool must be able to take the next one. */
  async function removeHalf(id: SnapshotId): Promise<void> {
    const signal = shop.clock.timeout(cleanUpMs);
    try {
      const half = (await readSets(shop, signal)).sets.find(({ snapshot }) => snapshot.id === id);
      if (half !== undefined) await removeParts(half, signal);
    } catch (err) {
      shop.log.warn({ event: 'snapshot.half-left', snapshotId: id, err });
    }
  }

  return {
    take: (record, wanted, signal) => turns.next(record.id, signal, (own) => take(record, wanted, own)),
    async list(of, signal) {
      if (of !== undefined) return Promise.all((await knownOf(of, signal)).map(finish));
      const all = await readSets(shop, signal);
      const halves = new Set(await halvesIn(all));
      const shown = all.sets.filter((set) => !halves.has(set) && !taking.has(set.snapshot.id));
      return Promise.all(shown.map(finish));
    },
    setBack: (record, id, signal) =>
      turns.next(record.id, signal, async (own) => {
        const set = (await knownOf(record, own)).find(({ snapshot }) => snapshot.id === id);
        if (set === undefined) throw noSuchSnapshot(record.id, id);
        const parts = new Map(partsOf(record).map((part) => [part.volumeId, part.pool]));
        const done: VolumeId[] = [];
        for (const { volumeId } of set.snapshot.volumes) {
          const pool = parts.get(volumeId);
          if (pool === undefined) continue;
          try {
            await shop.act('snapshot.set-back', () => shop.pools.of(pool).rollback(volumeId, id, own));
          } catch (error) {
            throw done.length === 0 ? error : halfBack(error, done);
          }
          done.push(volumeId);
        }
      }),
    remove: (record, id, signal) =>
      turns.next(record.id, signal, async (own) => {
        const set = (await knownOf(record, own)).find(({ snapshot }) => snapshot.id === id);
        if (set !== undefined) await removeParts(set, own);
      }),
    isFreezing: pauses.isFreezing,
    abandon: turns.end,
    idle: turns.idle,
    async recover(signal) {
      await pauses.resumeLeft(signal);
      for (const { snapshot } of await halvesIn(await readAll(signal))) {
        // It may be whole by its turn, if it was asked for again.
        await turns.next(snapshot.instanceId, signal, async (own) => {
          const halves = await halvesIn(await readAll(own));
          const half = halves.find((set) => set.snapshot.id === snapshot.id);
          if (half !== undefined) await removeParts(half, own);
        });
      }
      // Before the sets are read: one that is taken meanwhile keeps its own.
      const stored = await pausesIn(directory);
      const { sets } = await readAll(signal);
      const kept = new Set([...sets.map(({ snapshot }) => snapshot.id), ...taking]);
      for (const id of stored.difference(kept)) await rm(pauseFile(id), { force: true });
    },
  };
}

async function filtered<T>(all: readonly T[], test: (one: T) => Promise<boolean>): Promise<T[]> {
  const answers = await Promise.all(all.map(test));
  return all.filter((_, place) => answers[place]);
}

/** It may have been removed while this waited for its turn. */
function checkStays({ heldRecords }: Parts, { id }: InstanceRecord): void {
  const now = heldRecords().find((record) => record.id === id);
  if (now === undefined || now.intent === 'remove') throw isLeaving(id);
}

const isNamed = ({ id }: InstanceRecord, { name }: NewSnapshot): DroverError =>
  new DroverError('already-exists', `there is a snapshot ${name} of ${id}`, {
    subject: { instance: id, snapshot: name },
    nextStep: 'choose another name, or remove that one',
  });

/** One moment for all of its volumes is what a snapshot is for: that it is not so now must be said. */
function halfBack(error: unknown, done: readonly VolumeId[]): DroverError {
  const { kind, message, nextStep, subject } = asDroverError(error);
  const way = nextStep === '' ? 'remove what stands in the way' : nextStep;
  return new DroverError(kind, `${message}; already set back: ${done.join(', ')}`, {
    subject,
    nextStep: `${way}, then roll back again so that all volumes are of one moment`,
    cause: error,
  });
}

const isOthers = ({ id }: InstanceRecord, { snapshot }: FoundSet): DroverError =>
  new DroverError(
    'already-exists',
    `snapshot ${snapshot.id} is one of ${snapshot.instanceId}, not of ${id}`,
    {
      subject: { instance: id, snapshot: snapshot.id },
    },
  );

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

async function pausesIn(directory: string): Promise<Set<SnapshotId>> {
  const names = await namesIn(directory);
  return new Set(names.flatMap((name) => (/^([0-9a-f-]{36})\.json$/.exec(name)?.[1] ?? []) as SnapshotId));
}
