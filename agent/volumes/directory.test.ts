import { chmod, chown, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { Digest, InstanceId, SnapshotId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { type VolumeWorld, volumeDriverConformance } from '../../test/conformance/volume-driver.ts';
import { createFakeVolumeDriver } from '../../test/fakes/volume-driver.ts';
import { passableDirectory } from '../../test/passable-directory.ts';
import { createHostCommands } from '../host/command.ts';
import { createDirectoryDriver } from './directory.ts';
import { probeIdmap } from './idmap-probe.ts';
import { mountsAt, parseMounts, readMounts } from './mounts.ts';

const { signal } = new AbortController();
const { run, start } = createHostCommands({ clock: systemClock });
const range = { base: 1_000_000, size: 65_536 };

async function setUpFake(): Promise<VolumeWorld> {
  const home = await passableDirectory('volume-fake');
  const open = () => createFakeVolumeDriver({ directory: path.join(home.path, 'volumes') });
  return {
    driver: open(),
    directory: home.path,
    range,
    unshifted: false,
    keepsOwners: false,
    reopen: open,
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

async function setUpDirectory(unshifted = false): Promise<VolumeWorld & { readonly volumes: string }> {
  const home = await passableDirectory('volume');
  const volumes = path.join(home.path, 'volumes');
  const driver = createDirectoryDriver({ directory: volumes, run, start });
  return {
    driver,
    volumes,
    directory: home.path,
    range,
    unshifted,
    keepsOwners: true,
    async chownTree(tree, owner) {
      await run('chown', ['-hR', `${owner}:${owner}`, '--', tree]);
    },
    reopen: () => createDirectoryDriver({ directory: volumes, run, start }),
    async [Symbol.asyncDispose]() {
      for (const { id } of await driver.list(signal)) await driver.remove(id, signal);
      await home[Symbol.asyncDispose]();
    },
  };
}

volumeDriverConformance('fake', setUpFake);
volumeDriverConformance('directory', () => setUpDirectory());
volumeDriverConformance('directory with idmapped images', () => setUpDirectory(true));

describe('directory driver', () => {
  const id = systemRandom.uuidV7() as InstanceId;

  async function image(world: VolumeWorld): Promise<{ digest: Digest; rootfs: string; range: typeof range }> {
    const rootfs = path.join(world.directory, 'image');
    await mkdir(rootfs, { recursive: true });
    return { digest: `sha256:${'a'.repeat(64)}` as Digest, rootfs, range };
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
      expect((await world.driver.list(signal)).map((each) => each.id)).toEqual([id]);
    } finally {
      await run('umount', [path.join(root.path, 'busy')]);
    }
  });

  it('tells a full disk by its numbers, and what it can do once there is room', async () => {
    await using home = await passableDirectory('volume-full');
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4M', 'tmpfs', home.path]);
    try {
      const driver = createDirectoryDriver({ directory: path.join(home.path, 'volumes'), run, start });
      await driver.list(signal);
      const fill = path.join(home.path, 'fill');
      await expect(writeFile(fill, Buffer.alloc(5 * 1024 ** 2))).rejects.toMatchObject({ code: 'ENOSPC' });
      const full = await driver.fingerprint(signal);
      expect(full).toMatchObject({ healthy: true, sizeMib: 4, freeMib: 0 });
      expect(full.capabilities).toContain('snapshots');
      expect(full.detail).toContain('ENOSPC');
      await rm(fill);
      const after = await driver.fingerprint(signal);
      expect(after.detail).toContain('snapshots by');
    } finally {
      await run('umount', [home.path]);
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

  it('leaves a directory that is shared with others as open as it was', async () => {
    await using world = await setUpDirectory();
    await mkdir(world.volumes);
    for (const [given, wanted] of [
      [0o755, 0o755],
      [0o700, 0o711],
    ] as const) {
      await chmod(world.volumes, given);
      await world.driver.prepareData({ id, range, diskMib: 0 }, signal);
      expect((await stat(world.volumes)).mode & 0o7777).toBe(wanted);
      await world.driver.remove(id, signal);
    }
  });

  it('mounts data anew where a killed tool did not come to its options', async () => {
    await using world = await setUpDirectory();
    const volume = { id, range, diskMib: 0 };
    const { path: target } = await world.driver.prepareData(volume, signal);
    await writeFile(path.join(target, 'kept'), '');
    await world.driver.release(id, signal);
    await run('mount', ['--bind', path.join(path.dirname(target), 'data'), target]);
    await world.reopen().prepareData(volume, signal);
    const [found, ...more] = await mountsAt(target);
    expect([found?.options.split(',').includes('nosuid'), more]).toEqual([true, []]);
    expect(await readdir(target)).toEqual(['kept']);
  });

  it('measures a snapshot once, when it is taken', async () => {
    await using world = await setUpDirectory();
    await world.driver.prepareData({ id, range, diskMib: 0 }, signal);
    const snapshot = systemRandom.uuidV7() as SnapshotId;
    await world.driver.snapshot([id], snapshot, 'note', signal);
    const commands = createHostCommands({ clock: systemClock });
    const counted = createDirectoryDriver({ directory: world.volumes, run: commands.run, start });
    const [found] = await counted.snapshots(undefined, signal);
    expect(found?.bytes).toBeGreaterThan(0);
    expect(commands.spawns.get('du') ?? 0).toBe(0);
  });

  it('works below a directory whose name needs escaping', async () => {
    await using home = await passableDirectory('volume,a:b');
    const driver = createDirectoryDriver({ directory: path.join(home.path, 'v\\ x'), run, start });
    const rootfs = path.join(home.path, 'image,1:2');
    await mkdir(rootfs);
    await writeFile(path.join(rootfs, 'here'), '');
    const digest = `sha256:${'a'.repeat(64)}` as Digest;
    const root = await driver.prepare({ id, image: { digest, rootfs, range }, range, diskMib: 0 }, signal);
    try {
      expect((await stat(path.join(root.path, 'here'))).isFile()).toBe(true);
      await driver.release(id, signal);
      expect((await readMounts()).filter(({ target }) => target === root.path)).toEqual([]);
    } finally {
      await driver.remove(id, signal);
    }
  });
});

describe('directory driver with idmapped images', () => {
  const ids = [systemRandom.uuidV7(), systemRandom.uuidV7()] as InstanceId[];
  const ranges = [1, 2].map((number) => ({ base: range.base + number * range.size, size: range.size }));

  /** An image with its own ids, where nobody else comes to it. */
  async function image(world: VolumeWorld) {
    const rootfs = path.join(world.directory, 'private/rootfs');
    await mkdir(path.join(rootfs, 'etc'), { recursive: true });
    await chmod(path.dirname(rootfs), 0o700);
    await writeFile(path.join(rootfs, 'etc/passwd'), 'x');
    await writeFile(path.join(rootfs, 'mail'), 'x');
    await chown(path.join(rootfs, 'mail'), 8, 12);
    await writeFile(path.join(rootfs, 'su'), 'x');
    await chmod(path.join(rootfs, 'su'), 0o4755);
    return { digest: `sha256:${'a'.repeat(64)}` as Digest, rootfs, range: { base: 0, size: 65_536 } };
  }

  async function prepare(world: VolumeWorld, index: number): Promise<string> {
    const [id, own] = [ids[index] ?? ids[0], ranges[index]];
    if (id === undefined || own === undefined) throw new Error('no such root');
    const request = { id, image: await image(world), range: own, diskMib: 0 };
    return (await world.driver.prepare(request, signal)).path;
  }
  const owner = async (file: string) => {
    const { uid, gid } = await stat(file);
    return [uid, gid];
  };

  it('shows one image to each root with its own owners, also after copy-up and chown', async () => {
    await using world = await setUpDirectory();
    for (const index of [0, 1]) {
      const root = await prepare(world, index);
      const base = ranges[index]?.base ?? 0;
      expect(await owner(root)).toEqual([base, base]);
      expect(await owner(path.join(root, 'etc/passwd'))).toEqual([base, base]);
      await writeFile(path.join(root, 'mail'), 'more');
      expect(await owner(path.join(root, 'mail'))).toEqual([base + 8, base + 12]);
      await chown(path.join(root, 'etc/passwd'), base + 33, base + 33);
      expect(await owner(path.join(root, 'etc/passwd'))).toEqual([base + 33, base + 33]);
      expect((await stat(path.join(root, 'su'))).mode & 0o7777).toBe(0o4755);
      expect(await owner(path.join(root, 'su'))).toEqual([base, base]);
    }
    const { rootfs } = await image(world);
    expect(await owner(path.join(rootfs, 'etc/passwd'))).toEqual([0, 0]);
    expect(await readFile(path.join(rootfs, 'mail'), 'utf8')).toBe('x');
  });

  it('has one mount for each root, and none in the end', async () => {
    await using world = await setUpDirectory();
    const ours = async () => (await readMounts()).filter(({ target }) => target.startsWith(world.directory));
    const root = await prepare(world, 0);
    expect(await ours()).toEqual([{ target: root, type: 'overlay' }]);
    await prepare(world, 0);
    expect(await ours()).toHaveLength(1);
    for (const { id } of await world.driver.list(signal)) await world.driver.remove(id, signal);
    expect(await ours()).toEqual([]);
  });

  it.each(['prepare', 'remove'] as const)('%s clears what a killed tool left mounted', async (call) => {
    await using world = await setUpDirectory();
    const root = await prepare(world, 0);
    const { rootfs } = await image(world);
    const bind = path.join(path.dirname(root), 'lower');
    await run('mount', ['--bind', rootfs, bind]);
    if (call === 'prepare') await prepare(world, 0);
    for (const { id } of await world.driver.list(signal)) await world.driver.remove(id, signal);
    expect((await readMounts()).filter(({ target }) => target.startsWith(world.directory))).toEqual([]);
    expect(await readFile(path.join(rootfs, 'etc/passwd'), 'utf8')).toBe('x');
  });

  it('says what the kernel refuses, and leaves nothing mounted', async () => {
    await using world = await setUpDirectory();
    const lower = await image(world);
    await run('mount', ['-t', 'proc', 'proc', lower.rootfs]);
    try {
      const request = { id: ids[0] as InstanceId, image: lower, range, diskMib: 0 };
      const preparing = world.driver.prepare(request, signal);
      await expect(preparing).rejects.toMatchObject({ message: expect.stringContaining('mapping ids') });
    } finally {
      await run('umount', [lower.rootfs]);
    }
    expect((await readMounts()).filter(({ target }) => target.startsWith(world.directory))).toEqual([]);
  });

  it('the probe says yes here, again and again, and leaves nothing', async () => {
    await using home = await passableDirectory('probe');
    const directory = path.join(home.path, 'probe');
    const probe = { directory, run, start, id: ids[0] as InstanceId, range, signal };
    expect([await probeIdmap(probe), await probeIdmap(probe)]).toEqual(['yes', 'yes']);
    expect(await readdir(home.path)).toEqual([]);
    const none = createHostCommands({ clock: systemClock, searchPath: '/nowhere' });
    expect(await probeIdmap({ ...probe, run: none.run })).toMatch(/^no: .*is not installed/);
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
