import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { SnapshotId, VolumeId } from '#shared/model.ts';
import {
  checkNote,
  isMountedStill,
  isTaken,
  isVolumeId,
  noSnapshot,
  noVolume,
  otherNote,
} from '../../agent/volumes/volume-id.ts';
import { checkFormat, readVolumeStream, writeVolumeStream } from '../../agent/volumes/volume-stream.ts';
import type {
  FoundSnapshot,
  IdRange,
  VolumeCapability,
  VolumeDriver,
} from '../../agent/volumes/volume-driver.ts';

export interface FakeVolumeDriver extends VolumeDriver {
  /** Whether the volume counts as mounted. */
  isMounted(id: VolumeId): boolean;
  /** From now on the call fails so; undefined heals it. */
  failWith(call: FakeVolumeCall, error: DroverError | undefined): void;
}

export type FakeVolumeCall = Exclude<keyof VolumeDriver, 'name' | 'pool' | 'fingerprint' | 'close'>;

interface Entry {
  readonly note: string;
  readonly createdAtMs: number;
  readonly range: IdRange;
}

interface Volume {
  readonly kind: 'root' | 'data';
  readonly range: IdRange;
  readonly diskMib: number;
  readonly image: string;
  /** Oldest first. */
  readonly snapshots: readonly (readonly [SnapshotId, Entry])[];
  /** Where it was last at a snapshot's state, by a receive: nothing was changed since. */
  readonly at: SnapshotId | undefined;
}

const mib = 1024 * 1024;
const all: readonly VolumeCapability[] = [
  'snapshots',
  'atomic-snapshots',
  'send',
  'incremental',
  'cheap-clones',
];

/**
 * The twin of the real drivers that copies instead of mounting, so that it needs no root. Sizes are kept and
 * checked where they are set, and not enforced.
 */
export function createFakeVolumeDriver(options: {
  readonly directory: string;
  readonly pool?: string;
  /** All that it knows, where they are left out. */
  readonly capabilities?: readonly VolumeCapability[];
}): FakeVolumeDriver {
  const { directory, pool = 'local', capabilities = all } = options;
  const mounted = new Set<VolumeId>();
  const failures = new Map<string, DroverError>();
  const home = (id: VolumeId): string => path.join(directory, id);
  const root = (id: VolumeId): string => path.join(home(id), 'root');
  const kept = (id: VolumeId, snapshot: SnapshotId): string => path.join(home(id), snapshot);

  function begin(call: FakeVolumeCall, signal: AbortSignal, needed?: VolumeCapability): void {
    signal.throwIfAborted();
    const failure = failures.get(call);
    if (failure !== undefined) throw failure;
    if (needed === undefined || capabilities.includes(needed)) return;
    throw new DroverError('unimplemented', `this fake has no ${needed}`);
  }

  async function find(id: VolumeId): Promise<Volume | undefined> {
    const text = await readFile(path.join(home(id), 'volume.json'), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as Volume);
  }
  async function need(id: VolumeId): Promise<Volume> {
    const found = await find(id);
    if (found === undefined) throw noVolume(id);
    return found;
  }
  async function entryOf(id: VolumeId, snapshot: SnapshotId): Promise<Entry> {
    const entry = (await need(id)).snapshots.find(([each]) => each === snapshot)?.[1];
    if (entry === undefined) throw noSnapshot(id, snapshot);
    return entry;
  }
  async function save(id: VolumeId, volume: Volume): Promise<void> {
    const file = path.join(home(id), 'volume.json');
    await writeFile(`${file}.new`, JSON.stringify(volume));
    await rename(`${file}.new`, file);
  }
  async function replace(from: string, to: string): Promise<void> {
    await rm(to, { recursive: true, force: true });
    await mkdir(path.dirname(to), { recursive: true, mode: 0o711 });
    await cp(from, to, { recursive: true, verbatimSymlinks: true });
  }
  async function hand(id: VolumeId, volume: Volume) {
    await save(id, { ...volume, at: undefined });
    mounted.add(id);
    return { path: root(id), quotaEnforced: false };
  }
  async function list(): Promise<VolumeId[]> {
    return (await readdir(directory).catch((): string[] => [])).filter(isVolumeId);
  }
  const found = async (id: VolumeId): Promise<FoundSnapshot[]> =>
    Promise.all(
      (await need(id)).snapshots.map(async ([snapshot, { note, createdAtMs }]) => {
        const bytes = await sizeOf(kept(id, snapshot));
        return { id: snapshot, volumeId: id, createdAtMs, note, bytes };
      }),
    );
  async function add(id: VolumeId, snapshot: SnapshotId, entry: Entry): Promise<void> {
    const volume = await need(id);
    await replace(root(id), kept(id, snapshot));
    await save(id, { ...volume, snapshots: [...volume.snapshots, [snapshot, entry]] });
  }

  return {
    name: 'fake',
    pool,
    fingerprint: async () => ({
      name: pool,
      driver: 'fake',
      version: '',
      healthy: true,
      detail: '',
      capabilities,
      sizeMib: 1024 * 1024,
      freeMib: 1024 * 1024,
    }),
    close: async () => {},
    isMounted: (id) => mounted.has(id),
    failWith(call, error) {
      if (error === undefined) failures.delete(call);
      else failures.set(call, error);
    },
    async prepare({ id, image, range, diskMib }, signal) {
      begin('prepare', signal);
      const old = await find(id);
      if (old === undefined) await replace(image.rootfs, root(id));
      const fresh = { kind: 'root', image: image.digest, snapshots: [], at: undefined } as const;
      return hand(id, { ...fresh, ...old, range, diskMib });
    },
    async prepareData({ id, range, diskMib }, signal) {
      begin('prepareData', signal);
      const old = await find(id);
      if (old === undefined) await mkdir(root(id), { recursive: true, mode: 0o711 });
      const fresh = { kind: 'data', image: '', snapshots: [], at: undefined } as const;
      return hand(id, { ...fresh, ...old, range, diskMib });
    },
    async release(id, signal) {
      begin('release', signal);
      mounted.delete(id);
    },
    async remove(id, signal) {
      begin('remove', signal);
      mounted.delete(id);
      await rm(home(id), { recursive: true, force: true });
    },
    async setQuota(id, diskMib, signal) {
      begin('setQuota', signal, 'quota');
      const volume = await need(id);
      const bytes = await sizeOf(root(id));
      if (diskMib > 0 && bytes > diskMib * mib) {
        throw new DroverError('failed-precondition', `wanted ${diskMib} MiB, ${bytes} bytes are in use`);
      }
      await save(id, { ...volume, diskMib });
    },
    async usage(id, signal) {
      begin('usage', signal);
      await need(id);
      return { bytes: await sizeOf(root(id)) };
    },
    async list(signal) {
      begin('list', signal);
      return Promise.all(
        (await list()).map(async (id) => {
          const { kind = 'root', range, diskMib = 0 } = (await find(id)) ?? {};
          return { id, kind, range, diskMib };
        }),
      );
    },
    async snapshot(ids, snapshot, note, signal) {
      begin('snapshot', signal, 'snapshots');
      checkNote(note);
      const volumes = await Promise.all(ids.map(async (id) => [id, await need(id)] as const));
      const missing = volumes.filter(([id, { snapshots }]) => {
        const entry = snapshots.find(([each]) => each === snapshot)?.[1];
        if (entry !== undefined && entry.note !== note) throw otherNote(id, snapshot);
        return entry === undefined;
      });
      for (const [id, { range }] of missing) {
        const { mtimeMs } = await stat(path.join(home(id), 'volume.json'));
        await add(id, snapshot, { note, range, createdAtMs: Math.round(mtimeMs) });
      }
    },
    async snapshots(id, signal) {
      begin('snapshots', signal, 'snapshots');
      const ids = id === undefined ? await list() : [id];
      const every = (await Promise.all(ids.map(found))).flat();
      return every.toSorted((one, other) => one.createdAtMs - other.createdAtMs);
    },
    async rollback(id, snapshot, signal) {
      begin('rollback', signal, 'snapshots');
      const { range } = await entryOf(id, snapshot);
      if (mounted.has(id)) throw isMountedStill(id);
      const volume = await need(id);
      await replace(kept(id, snapshot), root(id));
      const place = volume.snapshots.findIndex(([each]) => each === snapshot);
      await save(id, { ...volume, range, snapshots: volume.snapshots.slice(0, place + 1), at: snapshot });
    },
    async removeSnapshot(id, snapshot, signal) {
      begin('removeSnapshot', signal, 'snapshots');
      const volume = await find(id);
      if (volume === undefined) return;
      await save(id, { ...volume, snapshots: volume.snapshots.filter(([each]) => each !== snapshot) });
      await rm(kept(id, snapshot), { recursive: true, force: true });
    },
    async clone(from, snapshot, to, signal) {
      begin('clone', signal, 'snapshots');
      const { range } = await entryOf(from, snapshot);
      if ((await find(to)) !== undefined) throw isTaken(to);
      await replace(kept(from, snapshot), root(to));
      await save(to, { ...(await need(from)), range, snapshots: [], at: undefined });
    },
    async *send(id, snapshot, { since }, signal) {
      begin('send', signal, 'send');
      if (since !== undefined) begin('send', signal, 'incremental');
      const { kind, image, diskMib } = await need(id);
      const { note, createdAtMs, range } = await entryOf(id, snapshot);
      if (since !== undefined) await entryOf(id, since);
      const header = { format: 'fake', kind, image, diskMib, snapshot, since, note, createdAtMs, range };
      yield* writeVolumeStream(header, readTree(kept(id, snapshot)));
    },
    async receive(id, stream, signal) {
      begin('receive', signal, 'send');
      const { header, body } = await readVolumeStream(stream);
      checkFormat(header, 'fake');
      const { since, snapshot, kind, image, diskMib, range, note, createdAtMs } = header;
      const old = await find(id);
      if (since === undefined && old !== undefined) throw isTaken(id);
      if (since !== undefined && (old?.at ?? '') !== since) {
        throw new DroverError('aborted', `volume ${id} is not at the snapshot ${since}`);
      }
      const files = await gather(body);
      const told = { kind, image, diskMib, range, snapshots: old?.snapshots ?? [], at: snapshot };
      await rm(root(id), { recursive: true, force: true });
      await writeTree(root(id), files);
      await save(id, told);
      await add(id, snapshot, { note, createdAtMs, range });
    },
    listImages: async () => [],
    removeImage: async () => {},
  };
}

async function sizeOf(tree: string): Promise<number> {
  const names = await readdir(tree, { recursive: true });
  const sizes = await Promise.all(names.map(async (name) => (await stat(path.join(tree, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Each file as a line of JSON. */
async function* readTree(tree: string): AsyncGenerator<Uint8Array> {
  const entries = await readdir(tree, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((each) => each.isFile())) {
    const file = path.join(entry.parentPath, entry.name);
    const content = (await readFile(file)).toString('base64');
    yield Buffer.from(`${JSON.stringify([path.relative(tree, file), content])}\n`);
  }
}

async function gather(body: AsyncIterable<Uint8Array>): Promise<[string, string][]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  const lines = Buffer.concat(chunks).toString().split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line) as [string, string]);
}

async function writeTree(tree: string, files: readonly (readonly [string, string])[]): Promise<void> {
  await mkdir(tree, { recursive: true, mode: 0o711 });
  for (const [name, content] of files) {
    const file = path.join(tree, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, Buffer.from(content, 'base64'));
  }
}
