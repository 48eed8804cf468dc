import { chmod, mkdir, rm, rmdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { SnapshotId, VolumeId } from '#shared/model.ts';
import type { CommandResult, HostCommands } from '../host/command.ts';
import { namesIn, readIfThere, syncDirectory, writeDurably } from '../host/durable-file.ts';
import { removeTree } from '../host/remove-tree.ts';
import { checkSnapshotId, checkVolumeId, isSnapshotId, isVolumeId } from './volume-id.ts';
import type { FoundSnapshot, IdRange, SnapshotNote } from './volume-driver.ts';

/** What a volume is; written before it is first mounted. */
export interface VolumeRecord {
  /** Older records have none: roots were all there was. */
  readonly kind?: 'root' | 'data';
  /** The image of a root; empty for data. */
  readonly digest: string;
  /** Empty: known when it is first prepared here. */
  readonly lower: string;
  readonly range: IdRange;
  /** Some of its files may have these ids still: a walk was cut off. */
  readonly shiftFrom?: IdRange;
  /** It is being set back to this snapshot: to be done again from the beginning. */
  readonly rollback?: SnapshotId;
}

/** What a snapshot is; written last, so without one it is half a snapshot. */
export interface SnapshotRecord {
  readonly note: SnapshotNote;
  /** Grows with every snapshot of the volume, whatever the clock does. */
  readonly sequence: number;
  readonly range: IdRange;
  /** Undefined: when it was written. */
  readonly createdAtMs?: number;
  /** On the disk, when it was taken: nothing of it changes. Undefined: not measured. */
  readonly bytes?: number;
}

export type SnapshotEntry = SnapshotRecord & { readonly id: SnapshotId; readonly createdAtMs: number };

/** Where volumes lie and what is known of them. */
export interface Homes {
  readonly directory: string;
  home(id: VolumeId): string;
  /** What the guest wrote: the upper layer of a root, or the data. */
  content(id: VolumeId, record: VolumeRecord): string;
  read(id: VolumeId): Promise<VolumeRecord | undefined>;
  write(id: VolumeId, record: VolumeRecord): Promise<void>;
  /** Takes the record away: what a crash leaves from then on is never taken for a whole volume. */
  forget(id: VolumeId): Promise<void>;
  list(): Promise<VolumeId[]>;
  /** An empty home, whatever half of one was there. */
  makeHome(id: VolumeId, signal: AbortSignal): Promise<void>;
  removeHome(id: VolumeId, signal: AbortSignal): Promise<void>;
  snapshotHome(id: VolumeId, snapshot: SnapshotId): string;
  readSnapshot(id: VolumeId, snapshot: SnapshotId): Promise<SnapshotRecord | undefined>;
  /** Oldest first. */
  listSnapshots(id: VolumeId): Promise<SnapshotEntry[]>;
}

export const passable = 0o711;
export const mountPoints = ['root', 'lower'] as const;
export type MountPoint = (typeof mountPoints)[number];

export const kindOf = (record: VolumeRecord): 'root' | 'data' => record.kind ?? 'root';
const contentName = (record: VolumeRecord): string => (kindOf(record) === 'root' ? 'upper' : 'data');

export function createHomes(directory: string, run: HostCommands['run']): Homes {
  const home = (id: VolumeId): string => path.join(directory, checkVolumeId(id));
  const recordFile = (id: VolumeId): string => path.join(home(id), 'volume.json');
  const snapshotHome = (id: VolumeId, snapshot: SnapshotId): string =>
    path.join(home(id), 'snapshots', checkSnapshotId(snapshot));

  async function readSnapshot(id: VolumeId, snapshot: SnapshotId): Promise<SnapshotRecord | undefined> {
    const raw = await readIfThere(path.join(snapshotHome(id, snapshot), 'snapshot.json'));
    return raw === undefined ? undefined : (JSON.parse(raw) as SnapshotRecord);
  }

  async function entryOf(id: VolumeId, snapshot: SnapshotId): Promise<SnapshotEntry[]> {
    const record = await readSnapshot(id, snapshot);
    if (record === undefined) return [];
    const { mtimeMs } = await stat(path.join(snapshotHome(id, snapshot), 'snapshot.json'));
    return [{ ...record, id: snapshot, createdAtMs: record.createdAtMs ?? Math.round(mtimeMs) }];
  }

  async function removeHome(id: VolumeId, signal: AbortSignal): Promise<void> {
    if (!(await removeEmpty(home(id)))) await removeTree(run, home(id), signal);
  }

  return {
    directory,
    home,
    content: (id, record) => path.join(home(id), contentName(record)),
    async read(id) {
      const raw = await readIfThere(recordFile(id));
      return raw === undefined ? undefined : (JSON.parse(raw) as VolumeRecord);
    },
    async write(id, record) {
      await Promise.all([writeDurably(recordFile(id), JSON.stringify(record)), syncDirectory(directory)]);
    },
    async forget(id) {
      await rm(recordFile(id), { force: true });
      await syncDirectory(home(id));
    },
    list: async () => (await namesIn(directory)).filter(isVolumeId),
    async makeHome(id, signal) {
      if (await exists(home(id))) await removeHome(id, signal);
      await mkdir(home(id), { recursive: true, mode: passable });
      for (const each of [directory, home(id)]) await letPass(each);
      for (const place of mountPoints) await mkdir(path.join(home(id), place));
    },
    removeHome,
    snapshotHome,
    readSnapshot,
    async listSnapshots(id) {
      const names = (await namesIn(path.join(home(id), 'snapshots'))).filter(isSnapshotId);
      const entries = (await Promise.all(names.map((name) => entryOf(id, name)))).flat();
      return entries.toSorted((one, other) => one.sequence - other.sequence);
    },
  };
}

export const foundSnapshot = (
  volumeId: VolumeId,
  { id, createdAtMs, note }: SnapshotEntry,
  bytes: number,
): FoundSnapshot => ({ id, volumeId, createdAtMs, note, bytes });

export async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** The directory may be one that somebody shares with us: what others may do there already, they may. */
async function letPass(directory: string): Promise<void> {
  const { mode } = await stat(directory);
  if ((mode & passable) !== passable) await chmod(directory, (mode & 0o7777) | passable);
}

const emptyParts = ['upper', 'data', 'work/work', 'work', 'root', 'lower', ''];

/**
 * A guest that wrote nothing leaves empty directories, and no tool is needed for those. False: there is more.
 */
async function removeEmpty(tree: string): Promise<boolean> {
  for (const part of emptyParts) {
    try {
      await rmdir(path.join(tree, part));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return false;
    }
  }
  return true;
}

/** unavailable; resource-exhausted where its words speak of room. */
export function toolError(tool: string, { stderr, exitCode }: CommandResult, id: VolumeId): DroverError {
  const words = stderr.trim().slice(0, 500) || `exit ${exitCode}`;
  const kind = /no space left|quota/i.test(words) ? 'resource-exhausted' : 'unavailable';
  return new DroverError(kind, `${tool}: ${words}`, { subject: { volume: id } });
}
