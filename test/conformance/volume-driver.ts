import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Digest, InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import type { IdRange, MountedVolume, VolumeDriver } from '../../agent/volumes/volume-driver.ts';

export interface VolumeWorld extends AsyncDisposable {
  readonly driver: VolumeDriver;
  /** Where test images are made; others can pass. */
  readonly directory: string;
  readonly range: IdRange;
  /** Whether images have their own ids, and roots shift them. */
  readonly unshifted: boolean;
  /** A new driver on the same directories, as after a restart. */
  reopen(): VolumeDriver;
}

const { signal } = new AbortController();
const rangeOf = async (driver: VolumeDriver, id: InstanceId) =>
  (await driver.list(signal)).find((each) => each.id === id)?.range;
const newId = (): InstanceId => systemRandom.uuidV7() as InstanceId;
const digest = `sha256:${'a'.repeat(64)}` as Digest;

/** What every VolumeDriver promises. */
export function volumeDriverConformance(name: string, setUp: () => Promise<VolumeWorld>): void {
  async function withImage(world: VolumeWorld) {
    const rootfs = path.join(world.directory, 'image');
    await mkdir(path.join(rootfs, 'etc'), { recursive: true });
    await writeFile(path.join(rootfs, 'etc/hostname'), 'image\n');
    return { digest, rootfs, range: world.unshifted ? { base: 0, size: world.range.size } : world.range };
  }

  async function prepare(world: VolumeWorld, id: InstanceId, driver = world.driver): Promise<MountedVolume> {
    const image = await withImage(world);
    return driver.prepare({ id, image, range: world.range, diskMib: 0 }, signal);
  }

  describe(`volume driver ${name}`, () => {
    it('makes a root that shows the image, and lets others pass to it', async () => {
      await using world = await setUp();
      const root = await prepare(world, newId());
      expect(await readFile(path.join(root.path, 'etc/hostname'), 'utf8')).toBe('image\n');
      for (let above = path.dirname(root.path); above !== '/'; above = path.dirname(above)) {
        expect([above, (await stat(above)).mode & 0o001]).toEqual([above, 1]);
      }
    });

    it('never writes to the image', async () => {
      await using world = await setUp();
      const root = await prepare(world, newId());
      await writeFile(path.join(root.path, 'etc/hostname'), 'guest\n');
      const image = await withImage(world);
      expect(await readFile(path.join(image.rootfs, 'etc/hostname'), 'utf8')).toBe('image\n');
    });

    it('keeps what the guest wrote, over prepare, release and a restart', async () => {
      await using world = await setUp();
      const id = newId();
      const root = await prepare(world, id);
      await writeFile(path.join(root.path, 'data'), 'kept');
      expect(await prepare(world, id)).toEqual(root);
      await world.driver.release(id, signal);
      await world.driver.release(id, signal);
      expect(await prepare(world, id, world.reopen())).toEqual(root);
      expect(await readFile(path.join(root.path, 'data'), 'utf8')).toBe('kept');
    });

    it('lists roots, mounted or not, until they are removed', async () => {
      await using world = await setUp();
      const ids = [newId(), newId()];
      expect((await world.driver.list(signal)).map((each) => each.id)).toEqual([]);
      for (const id of ids) await prepare(world, id);
      await world.driver.release(ids[0] ?? newId(), signal);
      expect((await world.reopen().list(signal)).sort()).toEqual([...ids].sort());
      for (const id of ids) await world.driver.remove(id, signal);
      expect((await world.driver.list(signal)).map((each) => each.id)).toEqual([]);
    });

    it('removes what it made, and succeeds when there is nothing left', async () => {
      await using world = await setUp();
      const id = newId();
      const root = await prepare(world, id);
      await world.driver.remove(id, signal);
      await expect(stat(root.path)).rejects.toMatchObject({ code: 'ENOENT' });
      await world.driver.remove(id, signal);
      await world.driver.release(id, signal);
    });

    it('makes a fresh root after a remove', async () => {
      await using world = await setUp();
      const id = newId();
      const root = await prepare(world, id);
      await writeFile(path.join(root.path, 'data'), 'old');
      await world.driver.remove(id, signal);
      await prepare(world, id);
      await expect(stat(path.join(root.path, 'data'))).rejects.toMatchObject({ code: 'ENOENT' });
    });

    it('says what a root was made for, also after a restart, until it is removed', async () => {
      await using world = await setUp();
      const id = newId();
      expect(await rangeOf(world.driver, id)).toBeUndefined();
      await prepare(world, id);
      await world.driver.release(id, signal);
      expect(await rangeOf(world.reopen(), id)).toEqual(world.range);
      await world.driver.remove(id, signal);
      expect(await rangeOf(world.driver, id)).toBeUndefined();
    });

    it('keeps roots apart', async () => {
      await using world = await setUp();
      const [first, second] = [await prepare(world, newId()), await prepare(world, newId())];
      await writeFile(path.join(first.path, 'data'), 'mine');
      await expect(stat(path.join(second.path, 'data'))).rejects.toMatchObject({ code: 'ENOENT' });
    });

    it('counts what a root takes', async () => {
      await using world = await setUp();
      const id = newId();
      const root = await prepare(world, id);
      const before = await world.driver.usage(id, signal);
      await writeFile(path.join(root.path, 'data'), Buffer.alloc(1024 * 1024, 1));
      const after = await world.driver.usage(id, signal);
      expect(after.bytes - before.bytes).toBeGreaterThanOrEqual(1024 * 1024);
      await expect(world.driver.usage(newId(), signal)).rejects.toMatchObject({ kind: 'not-found' });
    });
  });
}
