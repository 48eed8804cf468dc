import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { Digest, InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { type VolumeWorld, volumeDriverConformance } from '../../test/conformance/volume-driver.ts';
import { createFakeVolumeDriver } from '../../test/fakes/volume-driver.ts';
import { passableDirectory } from '../../test/passable-directory.ts';
import { createHostCommands } from '../host/command.ts';
import { createDirectoryDriver } from './directory.ts';
import { parseMounts, readMounts } from './mounts.ts';

const { signal } = new AbortController();
const { run } = createHostCommands({ clock: systemClock });
const range = { base: 1_000_000, size: 65_536 };

async function setUpFake(): Promise<VolumeWorld> {
  const home = await passableDirectory('volume-fake');
  const open = () => createFakeVolumeDriver({ directory: path.join(home.path, 'volumes') });
  return {
    driver: open(),
    directory: home.path,
    range,
    reopen: open,
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

async function setUpDirectory(): Promise<VolumeWorld & { readonly volumes: string }> {
  const home = await passableDirectory('volume');
  const volumes = path.join(home.path, 'volumes');
  const driver = createDirectoryDriver({ directory: volumes, run });
  return {
    driver,
    volumes,
    directory: home.path,
    range,
    reopen: () => createDirectoryDriver({ directory: volumes, run }),
    async [Symbol.asyncDispose]() {
      for (const id of await driver.list(signal)) await driver.remove(id, signal);
      await home[Symbol.asyncDispose]();
    },
  };
}

volumeDriverConformance('fake', setUpFake);
volumeDriverConformance('directory', setUpDirectory);

describe('directory driver', () => {
  const id = systemRandom.uuidV7() as InstanceId;

  async function image(world: VolumeWorld): Promise<{ digest: Digest; rootfs: string }> {
    const rootfs = path.join(world.directory, 'image');
    await mkdir(rootfs, { recursive: true });
    return { digest: `sha256:${'a'.repeat(64)}` as Digest, rootfs };
  }

  it("gives the root to the guest's own root, with the image's mode", async () => {
    await using world = await setUpDirectory();
    const rootfs = (await image(world)).rootfs;
    await chmod(rootfs, 0o1775);
    const root = await world.driver.prepare({ id, image: await image(world), range, diskMib: 0 }, signal);
    expect(await stat(root.path)).toMatchObject({ uid: range.base, gid: range.base });
    expect((await stat(root.path)).mode & 0o7777).toBe(0o1775);
    expect(root.quotaEnforced).toBe(false);
  });

  it('mounts once, however often it is asked, and unmounts on release', async () => {
    await using world = await setUpDirectory();
    const request = { id, image: await image(world), range, diskMib: 0 };
    const root = await world.driver.prepare(request, signal);
    await world.reopen().prepare(request, signal);
    const mounts = async () => (await readMounts()).filter(({ target }) => target === root.path);
    expect(await mounts()).toEqual([{ target: root.path, type: 'overlay' }]);
    await world.driver.release(id, signal);
    expect(await mounts()).toEqual([]);
  });

  it('unmounts all, where somebody mounted twice', async () => {
    await using world = await setUpDirectory();
    const root = await world.driver.prepare({ id, image: await image(world), range, diskMib: 0 }, signal);
    await run('mount', ['-t', 'tmpfs', 'tmpfs', root.path]);
    await world.driver.remove(id, signal);
    expect((await readMounts()).filter(({ target }) => target === root.path)).toEqual([]);
  });

  it('says unavailable while the root is in use, and keeps it', async () => {
    await using world = await setUpDirectory();
    const root = await world.driver.prepare({ id, image: await image(world), range, diskMib: 0 }, signal);
    await mkdir(path.join(root.path, 'busy'));
    await run('mount', ['-t', 'tmpfs', 'tmpfs', path.join(root.path, 'busy')]);
    try {
      await expect(world.driver.remove(id, signal)).rejects.toMatchObject({ kind: 'unavailable' });
      expect(await world.driver.list(signal)).toEqual([id]);
    } finally {
      await run('umount', [path.join(root.path, 'busy')]);
    }
  });

  it('makes anew what a crash left half made', async () => {
    await using world = await setUpDirectory();
    await mkdir(path.join(world.volumes, id, 'upper'), { recursive: true });
    await writeFile(path.join(world.volumes, id, 'upper', 'debris'), '');
    const root = await world.driver.prepare({ id, image: await image(world), range, diskMib: 0 }, signal);
    await expect(readFile(path.join(root.path, 'debris'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('refuses another image for a root that is there', async () => {
    await using world = await setUpDirectory();
    const first = await image(world);
    await world.driver.prepare({ id, image: first, range, diskMib: 0 }, signal);
    const other = { ...first, rootfs: path.join(world.directory, 'other') };
    const second = world.driver.prepare({ id, image: other, range, diskMib: 0 }, signal);
    await expect(second).rejects.toMatchObject({ kind: 'failed-precondition' });
  });

  it('names the directory that nobody can pass', async () => {
    await using world = await setUpDirectory();
    await chmod(world.directory, 0o700);
    const preparing = world.driver.prepare({ id, image: await image(world), range, diskMib: 0 }, signal);
    await expect(preparing).rejects.toMatchObject({ nextStep: `chmod o+x ${world.directory}` });
    await chmod(world.directory, 0o711);
  });

  it.each(['..', '../sibling', 'x', ''])('refuses the id "%s" before any tool sees it', async (text) => {
    await using world = await setUpDirectory();
    await expect(world.driver.remove(text as InstanceId, signal)).rejects.toMatchObject({
      kind: 'invalid-argument',
    });
  });

  it('works below a directory whose name needs escaping', async () => {
    await using home = await passableDirectory('volume,a:b');
    const driver = createDirectoryDriver({ directory: path.join(home.path, 'v\\ x'), run });
    const rootfs = path.join(home.path, 'image,1:2');
    await mkdir(rootfs);
    await writeFile(path.join(rootfs, 'here'), '');
    const digest = `sha256:${'a'.repeat(64)}` as Digest;
    const root = await driver.prepare({ id, image: { digest, rootfs }, range, diskMib: 0 }, signal);
    try {
      expect((await stat(path.join(root.path, 'here'))).isFile()).toBe(true);
      await driver.release(id, signal);
      expect((await readMounts()).filter(({ target }) => target === root.path)).toEqual([]);
    } finally {
      await driver.remove(id, signal);
    }
  });
});

describe('parseMounts', () => {
  it('reads targets with octal escapes, and skips optional fields', () => {
    const text =
      '36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n' +
      '37 36 0:5 / /x\\134y rw - overlay overlay rw\n';
    expect(parseMounts(text)).toEqual([
      { target: '/mnt 2', type: 'ext3' },
      { target: '/x\\y', type: 'overlay' },
    ]);
  });
});
