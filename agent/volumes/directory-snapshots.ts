import { chmod, mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { SnapshotId, VolumeId } from '#shared/model.ts';
import type { HostCommands } from '../host/command.ts';
import { syncDirectory, writeDurably } from '../host/durable-file.ts';
import { removeTree } from '../host/remove-tree.ts';
import { shiftTree } from '../host/shift-tree.ts';
import {
  exists,
  type Homes,
  passable,
  type SnapshotEntry,
  toolError,
  type VolumeRecord,
} from './directory-home.ts';
import { diskUsage } from './disk-usage.ts';
import { checkNote, isTaken, noSnapshot, noVolume, otherNote } from './volume-id.ts';
import type { IdRange, SnapshotNote } from './volume-driver.ts';

export interface DirectorySnapshots {
  /** The record, when what a crash left undone is done. not-found. */
  settle(id: VolumeId, signal: AbortSignal): Promise<VolumeRecord>;
  /** Gives the files to the range; the volume must be released. */
  shift(id: VolumeId, record: VolumeRecord, to: IdRange, signal: AbortSignal): Promise<VolumeRecord>;
  snapshot(ids: readonly VolumeId[], snapshot: SnapshotId, note: string, signal: AbortSignal): Promise<void>;
  rollback(id: VolumeId, snapshot: SnapshotId, signal: AbortSignal): Promise<void>;
  remove(id: VolumeId, snapshot: SnapshotId, signal: AbortSignal): Promise<void>;
  clone(from: VolumeId, snapshot: SnapshotId, to: VolumeId, signal: AbortSignal): Promise<void>;
  /** Makes a copy of what is in the volume the snapshot, with what is told of it. */
  keep(
    id: VolumeId,
    record: VolumeRecord,
    entry: Omit<SnapshotEntry, 'createdAtMs' | 'sequence' | 'bytes'> & { readonly createdAtMs?: number },
    signal: AbortSignal,
  ): Promise<void>;
}

const copyMs = 60 * 60_000;

/**
 * Snapshots as copies, by reflink where the file system can: <home>/snapshots/<snapshot>/{content,
 * snapshot.json}. Setting back is noted in the volume's record first, and done again after a crash.
 */
export function createDirectorySnapshots(homes: Homes, run: HostCommands['run']): DirectorySnapshots {
  const contentOf = (id: VolumeId, snapshot: SnapshotId): string =>
    path.join(homes.snapshotHome(id, snapshot), 'content');

  async function copy(from: string, to: string, id: VolumeId, signal: AbortSignal): Promise<void> {
    const args = ['-a', '--reflink=auto', '--one-file-system', '-T', '--', from, to];
    const copied = await run('cp', args, { signal, timeoutMs: copyMs });
    if (copied.exitCode !== 0) throw toolError('cp', copied, id);
    const synced = await run('sync', ['-f', to], { signal, timeoutMs: copyMs });
    if (synced.exitCode !== 0) throw toolError('sync', synced, id);
  }

  async function shift(id: VolumeId, record: VolumeRecord, to: IdRange, signal: AbortSignal) {
    const pending = { ...record, range: to, shiftFrom: record.range };
    await homes.write(id, pending);
    return finishShift(id, pending, signal);
  }

  async function finishShift(id: VolumeId, record: VolumeRecord, signal: AbortSignal): Promise<VolumeRecord> {
    const { shiftFrom, ...done } = record;
    if (shiftFrom === undefined) return record;
    await shiftTree(run, { path: homes.content(id, record), from: shiftFrom, to: record.range }, signal);
    await homes.write(id, done);
    return done;
  }

  async function finishRollback(id: VolumeId, record: VolumeRecord, signal: AbortSignal) {
    const { rollback, shiftFrom: _, ...rest } = record;
    if (rollback === undefined) return record;
    const wanted = await homes.readSnapshot(id, rollback);
    if (wanted === undefined) throw new DroverError('data-loss', `snapshot ${rollback} of ${id} is gone`);
    const [content, fresh] = [homes.content(id, record), path.join(homes.home(id), 'fresh')];
    const old = path.join(homes.home(id), 'old');
    for (const left of [fresh, old]) await removeTree(run, left, signal);
    await copy(contentOf(id, rollback), fresh, id, signal);
    if (await exists(content)) await rename(content, old);
    await rename(fresh, content);
    await syncDirectory(homes.home(id));
    await removeTree(run, old, signal);
    for (const each of await homes.listSnapshots(id))
      if (each.sequence > wanted.sequence) await drop(id, each.id, signal);
    const done = { ...rest, range: wanted.range };
    await homes.write(id, done);
    return done;
  }

  async function settle(id: VolumeId, signal: AbortSignal): Promise<VolumeRecord> {
    const record = await homes.read(id);
    if (record === undefined) throw noVolume(id);
    return finishShift(id, await finishRollback(id, record, signal), signal);
  }

  async function keep(...[id, record, entry, signal]: Parameters<DirectorySnapshots['keep']>): Promise<void> {
    const home = homes.snapshotHome(id, entry.id);
    await removeTree(run, home, signal);
    await mkdir(home, { recursive: true, mode: 0o700 });
    // Owners and setuid bits in there are real: nobody comes to them but through us.
    await chmod(path.dirname(home), 0o700);
    let bytes: number;
    try {
      await copy(homes.content(id, record), contentOf(id, entry.id), id, signal);
      bytes = await diskUsage(run, [home], id, signal);
    } catch (error) {
      await removeTree(run, home, new AbortController().signal);
      throw error;
    }
    const sequence = ((await homes.listSnapshots(id)).at(-1)?.sequence ?? 0) + 1;
    const { id: _, ...told } = entry;
    await writeDurably(path.join(home, 'snapshot.json'), JSON.stringify({ ...told, sequence, bytes }));
    await syncDirectory(path.dirname(home));
  }

  async function drop(id: VolumeId, snapshot: SnapshotId, signal: AbortSignal): Promise<void> {
    const home = homes.snapshotHome(id, snapshot);
    if (!(await exists(home))) return;
    await removeTree(run, path.join(home, 'snapshot.json'), signal);
    await removeTree(run, home, signal);
  }

  /** False where it is there already. */
  async function take(id: VolumeId, snapshot: SnapshotId, note: SnapshotNote, signal: AbortSignal) {
    const record = await settle(id, signal);
    const found = await homes.readSnapshot(id, snapshot);
    if (found !== undefined && found.note !== note) throw otherNote(id, snapshot);
    if (found !== undefined) return false;
    await keep(id, record, { id: snapshot, note, range: record.range }, signal);
    return true;
  }

  return {
    settle,
    shift,
    keep,
    remove: drop,
    async snapshot(ids, snapshot, note, signal) {
      checkNote(note);
      for (const id of ids) if ((await homes.read(id)) === undefined) throw noVolume(id);
      const made: VolumeId[] = [];
      try {
        for (const id of ids) if (await take(id, snapshot, note, signal)) made.push(id);
      } catch (error) {
        // With a signal of its own: a caller that gave up must not stop the clean-up.
        for (const id of made) await drop(id, snapshot, new AbortController().signal);
        throw error;
      }
    },
    async rollback(id, snapshot, signal) {
      const record = await settle(id, signal);
      if ((await homes.readSnapshot(id, snapshot)) === undefined) throw noSnapshot(id, snapshot);
      const pending = { ...record, rollback: snapshot };
      await homes.write(id, pending);
      await finishRollback(id, pending, signal);
    },
    async clone(from, snapshot, to, signal) {
      const record = await settle(from, signal);
      const found = await homes.readSnapshot(from, snapshot);
      if (found === undefined) throw noSnapshot(from, snapshot);
      if ((await homes.read(to)) !== undefined) throw isTaken(to);
      const copied = { ...record, range: found.range };
      await homes.makeHome(to, signal);
      await copy(contentOf(from, snapshot), homes.content(to, copied), to, signal);
      await mkdir(path.join(homes.home(to), 'work'), { mode: 0o700 });
      await chmod(homes.home(to), passable);
      await homes.write(to, copied);
    },
  };
}
