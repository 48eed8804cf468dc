import { isKind } from '#shared/errors.ts';
import type { SnapshotId, VolumeId } from '#shared/model.ts';
import {
  checkNote,
  checkSnapshotId,
  isMountedStill,
  isTaken,
  noSnapshot,
  noVolume,
  otherNote,
} from './volume-id.ts';
import type { FoundSnapshot, SnapshotNote } from './volume-driver.ts';
import { cloneArgs, destroyArgs, snapshotArgs } from './zfs-features.ts';
import type { ZfsLayout } from './zfs-layout.ts';
import {
  formatQuota,
  formatRange,
  isSameRange,
  mark,
  noteOf,
  parseRange,
  snapshotMarks,
  snapshotProperties,
  type RangeMark,
  volumeMarks,
} from './zfs-marks.ts';
import type { Dataset } from './zfs-tool.ts';
import { standsOn, type ZfsVolume, type ZfsVolumes } from './zfs-volumes.ts';

/** A snapshot of ours, with what its files had for owners. */
export interface ZfsSnapshot extends FoundSnapshot {
  readonly name: string;
  readonly range: RangeMark;
}

export interface ZfsSnapshots {
  take(ids: readonly VolumeId[], snapshot: SnapshotId, note: string, signal: AbortSignal): Promise<void>;
  /** Oldest first, each ours. */
  of(volume: ZfsVolume, signal: AbortSignal): Promise<ZfsSnapshot[]>;
  /** not-found. */
  need(volume: ZfsVolume, snapshot: SnapshotId, signal: AbortSignal): Promise<ZfsSnapshot>;
  list(id: VolumeId | undefined, signal: AbortSignal): Promise<FoundSnapshot[]>;
  rollback(id: VolumeId, snapshot: SnapshotId, signal: AbortSignal): Promise<void>;
  remove(id: VolumeId, snapshot: SnapshotId, signal: AbortSignal): Promise<void>;
  clone(from: VolumeId, snapshot: SnapshotId, to: VolumeId, signal: AbortSignal): Promise<void>;
}

export function createZfsSnapshots(layout: ZfsLayout, volumes: ZfsVolumes): ZfsSnapshots {
  const { tool, mounts } = layout;

  async function of(volume: ZfsVolume, signal: AbortSignal): Promise<ZfsSnapshot[]> {
    const all = await tool.get([volume.name], snapshotProperties, 'all', signal);
    return readSnapshots(all).filter((each) => each.volumeId === volume.id);
  }

  async function need(volume: ZfsVolume, snapshot: SnapshotId, signal: AbortSignal): Promise<ZfsSnapshot> {
    const name = `${volume.name}@${checkSnapshotId(snapshot)}`;
    const [found] = readSnapshots(await tool.get([name], snapshotProperties, 0, signal));
    if (found === undefined) throw noSnapshot(volume.id, snapshot);
    return found;
  }

  /** Those that have no such snapshot yet. */
  async function lacking(
    all: readonly ZfsVolume[],
    snapshot: SnapshotId,
    note: SnapshotNote,
    signal: AbortSignal,
  ): Promise<ZfsVolume[]> {
    const names = all.map(({ name }) => `${name}@${checkSnapshotId(snapshot)}`);
    const found = readSnapshots(await tool.get(names, snapshotProperties, 0, signal));
    const other = found.find((each) => each.note !== note);
    if (other !== undefined) throw otherNote(other.volumeId, snapshot);
    return all.filter(({ id }) => !found.some((each) => each.volumeId === id));
  }

  async function takeAll(
    wanted: readonly ZfsVolume[],
    snapshot: SnapshotId,
    note: SnapshotNote,
    signal: AbortSignal,
  ): Promise<void> {
    const { takesAtomicSnapshots } = await layout.open(signal);
    const rangeOf = ({ range }: ZfsVolume): string => formatRange(range.range, range.from);
    const isOneRange = new Set(wanted.map(rangeOf)).size === 1;
    const groups = takesAtomicSnapshots && isOneRange ? [wanted] : wanted.map((each) => [each]);
    const made: string[] = [];
    try {
      for (const group of groups) {
        const names = group.map(({ name }) => `${name}@${snapshot}`);
        const marks = snapshotMarks(snapshot, note, group[0] === undefined ? '' : rangeOf(group[0]));
        await tool.change(snapshotArgs(names, marks), signal);
        made.push(...names);
      }
    } catch (error) {
      // With a signal of its own: a caller that gave up must not stop the clean-up.
      const unhurried = new AbortController().signal;
      for (const name of made) await tool.changeBusy(destroyArgs(name), name, unhurried);
      throw error;
    }
  }

  /** Names that may go: all are ours, and nothing stands on them. failed-precondition. */
  async function laterThan(volume: ZfsVolume, { name }: ZfsSnapshot, signal: AbortSignal): Promise<string[]> {
    const all = await tool.get([volume.name], [...snapshotProperties, 'userrefs'], 'all', signal);
    const made = (one: Dataset | undefined): number => Number(one?.value('createtxg')) || 0;
    const later = [...all.values()].filter(
      (one) => one.name.startsWith(`${volume.name}@`) && made(one) > made(all.get(name)),
    );
    await volumes.checkParts(volume, later, signal);
    return later.map((one) => one.name);
  }

  async function drop(volume: ZfsVolume, name: string, signal: AbortSignal): Promise<void> {
    try {
      await tool.changeBusy(destroyArgs(name), name, signal);
    } catch (error) {
      if (isKind(error, 'not-found')) return;
      throw isKind(error, 'failed-precondition') ? standsOn(volume, error.message) : error;
    }
  }

  return {
    of,
    need,
    async take(ids, snapshot, note, signal) {
      checkNote(note);
      checkSnapshotId(snapshot);
      const all: ZfsVolume[] = [];
      for (const id of ids) all.push(await volumes.need(id, signal));
      const wanted = await lacking(all, snapshot, note, signal);
      if (wanted.length > 0) await takeAll(wanted, snapshot, note, signal);
    },
    async list(id, signal) {
      await layout.open(signal);
      const names =
        id === undefined
          ? [layout.group('roots'), layout.group('data')]
          : [layout.volume('root', id), layout.volume('data', id)];
      const all = await tool.get(names, snapshotProperties, 'all', signal);
      if (all.size === 0) await layout.requirePool(signal);
      if (id !== undefined && all.size === 0) throw noVolume(id);
      const found = readSnapshots(all).filter((each) => id === undefined || each.volumeId === id);
      return found
        .toSorted((one, other) => one.createdAtMs - other.createdAtMs)
        .map(({ id: made, volumeId, createdAtMs, note, bytes }) => ({
          id: made,
          volumeId,
          createdAtMs,
          note,
          bytes,
        }));
    },
    async rollback(id, snapshot, signal) {
      const volume = await volumes.need(id, signal);
      const wanted = await need(volume, snapshot, signal);
      if (await mounts.isMounted(volume.place)) throw isMountedStill(id);
      for (const name of await laterThan(volume, wanted, signal)) await drop(volume, name, signal);
      // While it is set back nobody can tell whose ids its files have: until then, of both.
      const [to, now] = [wanted.range.range, volume.range.range];
      const pending = isSameRange(to, now) ? wanted.range.from : now;
      const setRange = (text: string) =>
        layout.changeWithReserve(['set', `${mark.range}=${text}`, volume.name], signal);
      if (pending !== undefined) await setRange(formatRange(to, pending));
      await tool.changeBusy(['rollback', wanted.name], volume.name, signal);
      if (pending !== undefined) await setRange(formatRange(to, wanted.range.from));
    },
    async remove(id, snapshot, signal) {
      checkSnapshotId(snapshot);
      const volume = await volumes.find(id, signal);
      if (volume === undefined) return;
      const name = `${volume.name}@${snapshot}`;
      const found = (await tool.get([name], [mark.snapshot, 'userrefs'], 0, signal)).get(name);
      if (found === undefined) return;
      const isOurs = found.local(mark.snapshot) === snapshot || volume.receiving === snapshot;
      if (!isOurs) throw standsOn(volume, `${name} is not Drover's`);
      if (Number(found.value('userrefs')) > 0) throw standsOn(volume, `${name} is held`);
      await drop(volume, name, signal);
    },
    async clone(from, snapshot, to, signal) {
      await layout.open(signal);
      const volume = await volumes.need(from, signal);
      const wanted = await need(volume, snapshot, signal);
      if ((await volumes.find(to, signal)) !== undefined) throw isTaken(to);
      const { kind, image, diskMib } = volume;
      const range = formatRange(wanted.range.range, wanted.range.from);
      const where = [`mountpoint=${layout.place(kind, to)}`, 'canmount=noauto'];
      const size = diskMib === 0 ? [] : [formatQuota(diskMib)];
      const marks = volumeMarks({ kind, id: to, range, image });
      const name = layout.volume(kind, to);
      await tool.change(cloneArgs(wanted.name, name, [...where, ...size, ...marks]), signal);
      // zfs-fuse mounts what it cloned.
      await volumes.release(to, signal);
    },
  };
}

/** Those of ours, in the order in which they were taken. */
export function readSnapshots(all: Map<string, Dataset>): ZfsSnapshot[] {
  const order = (one: Dataset): number => Number(one.value('createtxg')) || 0;
  return [...all.values()].toSorted((one, other) => order(one) - order(other)).flatMap(readSnapshot);
}

function readSnapshot(one: Dataset): ZfsSnapshot[] {
  const [dataset = '', id = ''] = one.name.split('@');
  const range = parseRange(one.local(mark.range));
  if (id === '' || one.local(mark.snapshot) !== id || range === undefined) return [];
  const volumeId = (dataset.split('/').at(-1) ?? '') as VolumeId;
  const createdAtMs = (Number(one.value('creation')) || 0) * 1000;
  const bytes = Number(one.value('used')) || 0;
  return [{ id: id as SnapshotId, volumeId, createdAtMs, note: noteOf(one), bytes, name: one.name, range }];
}
