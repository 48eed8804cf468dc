import { chmod, chown, mkdir, rm, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { DroverError, wordsOf } from '#shared/errors.ts';
import type { PoolFacts, VolumeId } from '#shared/model.ts';
import type { HostCommands } from '../host/command.ts';
import { writeDurably } from '../host/durable-file.ts';
import { createHomes, exists, foundSnapshot, kindOf, passable, type VolumeRecord } from './directory-home.ts';
import { createDirectoryMounts } from './directory-mounts.ts';
import { createDirectorySnapshots } from './directory-snapshots.ts';
import { createDirectoryStreams } from './directory-stream.ts';
import { diskUsage } from './disk-usage.ts';
import { checkSnapshotId, isMountedStill, noVolume } from './volume-id.ts';
import type { FoundVolume, IdRange, RootRequest, VolumeCapability, VolumeDriver } from './volume-driver.ts';

export interface DirectoryDriverOptions {
  /** As the configuration calls the pool; "local" where it is left out. */
  readonly pool?: string;
  /** Absolute; all that it makes is below. Directories above must let others pass (o+x). */
  readonly directory: string;
  readonly run: HostCommands['run'];
  readonly start: HostCommands['start'];
  /** "yes" where roots can be shifted by the mount, else why not; asked once. */
  readonly idmap?: () => Promise<string>;
}

const mib = 1024 * 1024;
const fullCodes: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/**
 * Volumes in plain directories. Roots are overlays with the image below:
 * <directory>/<id>/{upper,work,root,volume.json} for each instance. Data volumes are
 * <directory>/<id>/{data,root,volume.json}. A directory without volume.json was never handed out. No quota.
 * Where the image has its own ids, they are shifted on the way, and <directory>/<id>/lower is there for the
 * moment of the mount. Snapshots are copies.
 */
export function createDirectoryDriver(options: DirectoryDriverOptions): VolumeDriver {
  const { directory, run, start, pool = 'local' } = options;
  const homes = createHomes(directory, run);
  const mounts = createDirectoryMounts(homes, run);
  const snapshots = createDirectorySnapshots(homes, run);
  const streams = createDirectoryStreams(homes, snapshots, start);
  const fingerprint = createFingerprint({ directory, run, pool, idmap: options.idmap });

  async function makeRoot(id: VolumeId, record: VolumeRecord, signal: AbortSignal): Promise<VolumeRecord> {
    await mounts.release(id, signal);
    await homes.makeHome(id, signal);
    const upper = homes.content(id, record);
    await mkdir(upper);
    // Upper is the root that the guest sees: its owner is the guest's own, its mode the image's.
    await chown(upper, record.range.base, record.range.base);
    await chmod(upper, (await stat(record.lower)).mode & 0o7777);
    await mkdir(path.join(homes.home(id), 'work'), { mode: 0o700 });
    await homes.write(id, record);
    return record;
  }

  async function makeData(id: VolumeId, record: VolumeRecord, signal: AbortSignal): Promise<VolumeRecord> {
    await mounts.release(id, signal);
    await homes.makeHome(id, signal);
    const data = homes.content(id, record);
    await mkdir(data);
    await chown(data, record.range.base, record.range.base);
    await chmod(data, 0o755);
    await homes.write(id, record);
    return record;
  }

  /** The volume with the owners that are wanted now. */
  async function adopt(id: VolumeId, found: VolumeRecord, range: IdRange, signal: AbortSignal) {
    if (isSameRange(found.range, range)) return found;
    await mounts.release(id, signal);
    return snapshots.shift(id, found, range, signal);
  }

  async function findRoot({ id, image, range }: RootRequest, signal: AbortSignal): Promise<VolumeRecord> {
    const wanted = { kind: 'root', digest: image.digest, lower: image.rootfs, range } as const;
    if ((await homes.read(id)) === undefined) return makeRoot(id, wanted, signal);
    const found = await snapshots.settle(id, signal);
    checkSame(found, wanted, id);
    const adopted = await adopt(id, found, range, signal);
    if (adopted.lower === image.rootfs) return adopted;
    await mounts.release(id, signal);
    await homes.write(id, { ...adopted, lower: image.rootfs });
    return { ...adopted, lower: image.rootfs };
  }

  async function found(id: VolumeId): Promise<FoundVolume> {
    const record = await homes.read(id);
    return { id, kind: record === undefined ? 'root' : kindOf(record), range: record?.range, diskMib: 0 };
  }

  async function snapshotsOf(id: VolumeId, signal: AbortSignal) {
    return Promise.all(
      (await homes.listSnapshots(id)).map(async (entry) => {
        const bytes = entry.bytes ?? (await diskUsage(run, [homes.snapshotHome(id, entry.id)], id, signal));
        return foundSnapshot(id, entry, bytes);
      }),
    );
  }

  return {
    name: 'directory',
    pool,
    fingerprint,
    async prepare(request, signal) {
      const record = await findRoot(request, signal);
      const isShifted = request.image.range.base !== request.range.base;
      return { path: await mounts.mount(request.id, record, isShifted, signal), quotaEnforced: false };
    },
    async prepareData({ id, range }, signal) {
      const isNew = (await homes.read(id)) === undefined;
      const wanted = { kind: 'data', digest: '', lower: '', range } as const;
      const record = isNew ? await makeData(id, wanted, signal) : await snapshots.settle(id, signal);
      if (kindOf(record) !== 'data') throw isNoData(id);
      const adopted = await adopt(id, record, range, signal);
      return { path: await mounts.mount(id, adopted, false, signal), quotaEnforced: false };
    },
    release: mounts.release,
    async remove(id, signal) {
      await mounts.release(id, signal);
      if (!(await exists(homes.home(id)))) return;
      await homes.forget(id);
      await homes.removeHome(id, signal);
    },
    setQuota: async () => {
      throw new DroverError('unimplemented', 'the directory driver has no quota');
    },
    async usage(id, signal) {
      const record = await homes.read(id);
      if (record === undefined) throw noVolume(id);
      const kept = path.join(homes.home(id), 'snapshots');
      const places = [homes.content(id, record), ...((await exists(kept)) ? [kept] : [])];
      return { bytes: await diskUsage(run, places, id, signal) };
    },
    list: async () => Promise.all((await homes.list()).map(found)),
    snapshot: snapshots.snapshot,
    async snapshots(id, signal) {
      if (id !== undefined && (await homes.read(id)) === undefined) throw noVolume(id);
      const ids = id === undefined ? await homes.list() : [id];
      const all = (await Promise.all(ids.map((each) => snapshotsOf(each, signal)))).flat();
      return all.toSorted((one, other) => one.createdAtMs - other.createdAtMs);
    },
    async rollback(id, snapshot, signal) {
      if (await mounts.isMounted(id)) throw isMountedStill(id);
      await snapshots.rollback(id, checkSnapshotId(snapshot), signal);
    },
    async removeSnapshot(id, snapshot, signal) {
      if ((await homes.read(id)) !== undefined) await snapshots.settle(id, signal);
      await snapshots.remove(id, snapshot, signal);
    },
    clone: snapshots.clone,
    send: (id, snapshot, { since }, signal) => streams.send(id, snapshot, since, signal),
    receive: streams.receive,
    listImages: async () => [],
    removeImage: async () => {},
    close: async () => {},
  };
}

const isSameRange = (one: IdRange, other: IdRange): boolean =>
  one.base === other.base && one.size === other.size;

/** A root over another image would be neither the old one nor the new. */
function checkSame(found: VolumeRecord, wanted: VolumeRecord, id: VolumeId): void {
  // One image has a directory for each range of ids; a root that came from elsewhere has none yet.
  const mayMove = found.lower === '' || !isSameRange(found.range, wanted.range);
  const isSame = found.lower === wanted.lower || mayMove;
  if (kindOf(found) === 'root' && found.digest === wanted.digest && isSame) return;
  throw new DroverError(
    'failed-precondition',
    `wanted a root of ${wanted.digest} at ${wanted.lower}, ` +
      `found ${kindOf(found)} ${found.digest ? `of ${found.digest} at ${found.lower}` : ''}`.trim(),
    { subject: { volume: id }, nextStep: 'remove the instance; a new one gets a new root' },
  );
}

const isNoData = (id: VolumeId): DroverError =>
  new DroverError('failed-precondition', `${id} is the root of an instance, not a data volume`, {
    subject: { volume: id },
  });

/**
 * Writes a file: a disk that became read-only still lists well, and one that takes no more is full, whatever
 * its numbers say.
 */
function createFingerprint(options: {
  readonly directory: string;
  readonly run: HostCommands['run'];
  readonly pool: string;
  readonly idmap: (() => Promise<string>) | undefined;
}): VolumeDriver['fingerprint'] {
  const { directory, run, pool, idmap } = options;
  let probing: Promise<{ readonly idmap: string; readonly reflink: boolean }> | undefined;

  async function probe(file: string) {
    const copied = `${file}.copy`;
    const result = await run('cp', ['--reflink=always', '--', file, copied]);
    await rm(copied, { force: true });
    return { idmap: (await idmap?.()) ?? 'not tried', reflink: result.exitCode === 0 };
  }

  /** Why it is full; undefined: it took the write. */
  async function tryWrite(file: string): Promise<string | undefined> {
    try {
      await writeDurably(file, 'written to see whether the disk takes it\n');
      return undefined;
    } catch (error) {
      if (!fullCodes.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      return wordsOf(error);
    }
  }

  async function look(): Promise<Partial<PoolFacts> & { readonly freeMib: number }> {
    await mkdir(directory, { recursive: true, mode: passable });
    const file = path.join(directory, 'write-probe');
    const full = await tryWrite(file);
    const { blocks, bavail, bsize } = await statfs(directory);
    const sizeMib = Math.floor((blocks * bsize) / mib);
    const freeMib = full === undefined ? Math.floor((bavail * bsize) / mib) : 0;
    // Without room the answer would be that of the full disk, and it is kept.
    if (freeMib > 0) probing ??= probe(file);
    probing?.catch(() => (probing = undefined));
    const found = await probing;
    const words = [full, found && `snapshots by ${found.reflink ? 'reflink' : 'copy'}`];
    const detail = words.filter((each) => each !== undefined).join('; ');
    const capabilities: VolumeCapability[] = ['snapshots', 'send', 'cheap-clones'];
    if (found?.idmap === 'yes') capabilities.push('idmap');
    return { healthy: true, detail, capabilities, sizeMib, freeMib };
  }

  return async () => {
    const facts = { name: pool, driver: 'directory', version: '' };
    const nothing = { healthy: false, capabilities: [], sizeMib: 0, freeMib: 0 };
    try {
      return { ...facts, ...nothing, detail: '', ...(await look()) };
    } catch (error) {
      return { ...facts, ...nothing, detail: wordsOf(error).slice(0, 500) };
    }
  };
}
