import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { IdRange, VolumeDriver } from '../../agent/volumes/volume-driver.ts';

export interface FakeVolumeDriver extends VolumeDriver {
  /** Whether the root counts as mounted. */
  isMounted(id: InstanceId): boolean;
  /** From now on the call fails so; undefined heals it. */
  failWith(call: 'prepare' | 'release' | 'remove', error: DroverError | undefined): void;
}

/** The twin of the directory driver that copies instead of mounting, so that it needs no root. */
export function createFakeVolumeDriver(options: { readonly directory: string }): FakeVolumeDriver {
  const { directory } = options;
  const mounted = new Set<InstanceId>();
  const failures = new Map<string, DroverError>();
  const home = (id: InstanceId): string => path.join(directory, id);
  const root = (id: InstanceId): string => path.join(home(id), 'root');

  function begin(call: string, signal: AbortSignal): void {
    signal.throwIfAborted();
    const failure = failures.get(call);
    if (failure !== undefined) throw failure;
  }

  async function exists(id: InstanceId): Promise<boolean> {
    return (await stat(root(id)).catch(() => undefined)) !== undefined;
  }

  return {
    name: 'fake',
    capabilities: [],
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
    async rangeOf(id) {
      const text = await readFile(path.join(home(id), 'range.json'), 'utf8').catch(() => undefined);
      return text === undefined ? undefined : (JSON.parse(text) as IdRange);
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
      return (await readdir(directory).catch(() => [])) as InstanceId[];
    },
  };
}
