import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { VolumeId } from '#shared/model.ts';
import type { IdRange, VolumeDriver } from '../../agent/volumes/volume-driver.ts';

export interface FakeVolumeDriver extends VolumeDriver {
  /** Whether the root counts as mounted. */
  isMounted(id: VolumeId): boolean;
  /** From now on the call fails so; undefined heals it. */
  failWith(call: 'prepare' | 'release' | 'remove', error: DroverError | undefined): void;
}

const refuse = async (): Promise<never> => {
  throw new DroverError('unimplemented', 'the fake cannot do that');
};

async function* refuseStream(): AsyncGenerator<never> {
  yield await refuse();
}

/** The twin of the directory driver that copies instead of mounting, so that it needs no root. */
export function createFakeVolumeDriver(options: { readonly directory: string }): FakeVolumeDriver {
  const { directory } = options;
  const mounted = new Set<VolumeId>();
  const failures = new Map<string, DroverError>();
  const home = (id: VolumeId): string => path.join(directory, id);
  const root = (id: VolumeId): string => path.join(home(id), 'root');

  function begin(call: string, signal: AbortSignal): void {
    signal.throwIfAborted();
    const failure = failures.get(call);
    if (failure !== undefined) throw failure;
  }

  async function exists(id: VolumeId): Promise<boolean> {
    return (await stat(root(id)).catch(() => undefined)) !== undefined;
  }

  async function rangeOf(id: VolumeId): Promise<IdRange | undefined> {
    const text = await readFile(path.join(home(id), 'range.json'), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as IdRange);
  }

  return {
    name: 'fake',
    pool: 'local',
    fingerprint: async () => ({
      name: 'local',
      driver: 'fake',
      version: '',
      healthy: true,
      detail: '',
      capabilities: [],
      sizeMib: 0,
      freeMib: 0,
    }),
    prepareData: refuse,
    setQuota: refuse,
    snapshot: refuse,
    snapshots: refuse,
    rollback: refuse,
    removeSnapshot: refuse,
    clone: refuse,
    send: refuseStream,
    receive: refuse,
    listImages: async () => [],
    removeImage: async () => {},
    close: async () => {},
    isMounted: (id) => mounted.has(id),
    failWith(call, error) {
      if (error === undefined) failures.delete(call);
      else failures.set(call, error);
    },
    async prepare({ id, image, range }, signal) {
      begin('prepare', signal);
      if (!(await exists(id))) {
        await mkdir(home(id), { recursive: true, mode: 0o711 });
        await cp(image.rootfs, root(id), { recursive: true });
      }
      await writeFile(path.join(home(id), 'range.json'), JSON.stringify(range));
      mounted.add(id);
      return { path: root(id), quotaEnforced: false };
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
    async usage(id, signal) {
      begin('usage', signal);
      if (!(await exists(id))) {
        throw new DroverError('not-found', `no root of ${id}`, { subject: { instance: id } });
      }
      const names = await readdir(root(id), { recursive: true });
      const sizes = await Promise.all(
        names.map(async (name) => (await stat(path.join(root(id), name))).size),
      );
      return { bytes: sizes.reduce((sum, size) => sum + size, 0) };
    },
    async list(signal) {
      begin('list', signal);
      const ids = (await readdir(directory).catch(() => [])) as VolumeId[];
      return Promise.all(
        ids.map(async (id) => ({ id, kind: 'root' as const, range: await rangeOf(id), diskMib: 0 })),
      );
    },
  };
}
