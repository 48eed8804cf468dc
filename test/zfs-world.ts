/** A volume driver on a parent dataset of its own, on a ZFS host that tests share. */
import path from 'node:path';
import { systemClock } from '#shared/clock.ts';
import { systemRandom } from '#shared/random.ts';
import { createZfsDriver } from '../agent/volumes/index.ts';
import type { VolumeDriver } from '../agent/volumes/volume-driver.ts';
import type { VolumeWorld } from './conformance/volume-driver.ts';
import { passableDirectory } from './passable-directory.ts';
import type { ZfsHost } from './zfs-host.ts';

export interface ZfsWorld extends VolumeWorld {
  /** The parent dataset. */
  readonly parent: string;
  readonly mountRoot: string;
}

const range = { base: 1_000_000, size: 65_536 };

export async function openZfsWorld(host: ZfsHost, unshifted = false): Promise<ZfsWorld> {
  const home = await passableDirectory('zfs-images');
  const name = `t-${systemRandom.uuidV4().slice(0, 8)}`;
  const parent = `${host.pool}/${name}`;
  const mountRoot = path.join(host.directory, name);
  const { run, start } = host;
  const base = { pool: 'fast', run, start, clock: systemClock, random: systemRandom };
  const reopen = (): VolumeDriver => createZfsDriver({ ...base, dataset: parent, mountRoot });
  const driver = reopen();
  return {
    driver,
    parent,
    mountRoot,
    directory: home.path,
    range,
    unshifted,
    keepsOwners: true,
    async chownTree(tree, owner) {
      await run('chown', ['-hR', `${owner}:${owner}`, '--', tree]);
    },
    reopen,
    async [Symbol.asyncDispose]() {
      const { signal } = new AbortController();
      for (const { id } of await driver.list(signal)) await driver.remove(id, signal);
      await driver.close();
      await home[Symbol.asyncDispose]();
    },
  };
}
