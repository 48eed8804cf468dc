import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Digest, InstanceId, SnapshotId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { until } from '../../test/until.ts';
import { openZfsHost, type ZfsHost } from '../../test/zfs-host.ts';
import { openZfsWorld, type ZfsWorld } from '../../test/zfs-world.ts';
import { mountsAt } from './mounts.ts';
import { writeVolumeStream } from './volume-stream.ts';

const { signal } = new AbortController();
const newId = (): InstanceId => systemRandom.uuidV7() as InstanceId;
const newSnapshot = (): SnapshotId => systemRandom.uuidV7() as SnapshotId;
const digest = `sha256:${'b'.repeat(64)}` as Digest;

async function imageOf(world: ZfsWorld) {
  const rootfs = path.join(world.directory, 'image');
  await mkdir(path.join(rootfs, 'etc'), { recursive: true });
  await writeFile(path.join(rootfs, 'etc/hostname'), 'image\n');
  return { digest, rootfs, range: world.range };
}
async function prepareRoot(world: ZfsWorld, id: InstanceId, driver = world.driver) {
  const root = { id, image: await imageOf(world), range: world.range, diskMib: 0 };
  return driver.prepare(root, signal);
}
/** Busy for a moment after its use. */
const destroy = (host: ZfsHost, name: string) =>
  until(
    () =>
      host.zfs('destroy', name).then(
        () => true,
        () => false,
      ),
    { what: `${name} to go` },
  );
const prepareData = (world: ZfsWorld, id: InstanceId, diskMib = 0) =>
  world.driver.prepareData({ id, range: world.range, diskMib }, signal);

describe('what is not ours', () => {
  let host: ZfsHost;
  beforeAll(async () => {
    host = await openZfsHost();
  });
  afterAll(() => host[Symbol.asyncDispose]());

  it.each([
    ['a snapshot', (name: string) => [['snapshot', `${name}@theirs`]], (name: string) => [`${name}@theirs`]],
    ['a child', (name: string) => [['create', `${name}/theirs`]], (name: string) => [`${name}/theirs`]],
  ])('%s below a volume keeps the volume, and is named', async (_what, make, gone) => {
    await using world = await openZfsWorld(host);
    const id = newId();
    await prepareData(world, id);
    const name = `${world.parent}/data/${id}`;
    for (const args of make(name)) await host.zfs(...args);
    const removing = world.driver.remove(id, signal);
    await expect(removing).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringContaining('theirs'),
    });
    const left = await host.zfs('list', '-H', '-o', 'name', '-r', '-t', 'all', name);
    expect(left).toContain('theirs');
    for (const each of gone(name)) await destroy(host, each);
    await world.driver.remove(id, signal);
  });

  it('a clone and a hold keep the snapshot and its volume', async () => {
    await using world = await openZfsWorld(host);
    const [id, made] = [newId(), newSnapshot()];
    await prepareData(world, id);
    await world.driver.snapshot([id], made, '', signal);
    const name = `${world.parent}/data/${id}@${made}`;
    const theirs = `${world.parent}/theirs`;
    await host.zfs('clone', '-o', 'mountpoint=none', name, theirs);
    const refused = { kind: 'failed-precondition', message: expect.stringContaining('theirs') };
    await expect(world.driver.removeSnapshot(id, made, signal)).rejects.toMatchObject(refused);
    await expect(world.driver.remove(id, signal)).rejects.toMatchObject(refused);
    await destroy(host, theirs);
    await host.zfs('hold', 'theirs', name);
    const held = { kind: 'failed-precondition', message: expect.stringContaining('held') };
    await expect(world.driver.removeSnapshot(id, made, signal)).rejects.toMatchObject(held);
    await expect(world.driver.remove(id, signal)).rejects.toMatchObject(held);
    expect(await world.driver.snapshots(id, signal)).toHaveLength(1);
    await host.zfs('release', 'theirs', name);
    await world.driver.remove(id, signal);
  });

  it('a later snapshot keeps a volume from being set back', async () => {
    await using world = await openZfsWorld(host);
    const [id, made, later] = [newId(), newSnapshot(), newSnapshot()];
    await prepareData(world, id);
    for (const each of [made, later]) await world.driver.snapshot([id], each, '', signal);
    await world.driver.release(id, signal);
    const [name, clone] = [`${world.parent}/data/${id}`, `${world.parent}/theirs`];
    await host.zfs('snapshot', `${name}@theirs`);
    await host.zfs('clone', '-o', 'mountpoint=none', `${name}@${later}`, clone);
    for (const theirs of [`${name}@theirs`, clone]) {
      await expect(world.driver.rollback(id, made, signal)).rejects.toMatchObject({
        kind: 'failed-precondition',
        message: expect.stringContaining('theirs'),
      });
      expect((await world.driver.snapshots(id, signal)).map((each) => each.id)).toEqual([made, later]);
      await destroy(host, theirs);
    }
    await world.driver.rollback(id, made, signal);
    expect((await world.driver.snapshots(id, signal)).map((each) => each.id)).toEqual([made]);
  });

  it('a dataset with one of our names is refused, and not listed', async () => {
    await using world = await openZfsWorld(host);
    await world.driver.list(signal);
    const id = newId();
    const name = `${world.parent}/data/${id}`;
    await host.zfs('create', name);
    expect(await world.driver.list(signal)).toEqual([]);
    const refused = { kind: 'failed-precondition', message: expect.stringContaining(id) };
    await expect(prepareData(world, id)).rejects.toMatchObject(refused);
    await expect(world.driver.remove(id, signal)).rejects.toMatchObject(refused);
    await destroy(host, name);
  });

  it('a child that inherits our marks is no volume', async () => {
    await using world = await openZfsWorld(host);
    const id = newId();
    await prepareData(world, id);
    const child = `${world.parent}/data/theirs`;
    await host.zfs('create', child);
    await host.zfs('set', 'drover:kind=data', `${world.parent}/data`);
    expect((await world.driver.list(signal)).map((each) => each.id)).toEqual([id]);
    await destroy(host, child);
  });

  it('the dataset of an agent with other directories is refused', async () => {
    await using world = await openZfsWorld(host);
    await world.driver.list(signal);
    await host.zfs('set', 'drover:mount-root=b3RoZXI', `${world.parent}/data`);
    const other = world.reopen().list(signal);
    await expect(other).rejects.toMatchObject({ kind: 'failed-precondition' });
    expect(await world.reopen().fingerprint(signal)).toMatchObject({ healthy: false });
  });

  it('a stream with properties or several datasets is refused unseen', async () => {
    await using world = await openZfsWorld(host);
    await world.driver.list(signal);
    const made = newSnapshot();
    const theirs = `${world.parent}/theirs`;
    await host.zfs('create', '-o', 'mountpoint=none', theirs);
    await host.zfs('snapshot', `${theirs}@${made}`);
    const file = path.join(world.directory, 'stream');
    const { exitCode } = await host.run('sh', [
      '-c',
      `nsenter --mount=/proc/${host.pid()}/ns/mnt -- zfs send -p ${theirs}@${made} > ${file}`,
    ]);
    expect(exitCode).toBe(0);
    const told = { format: 'zfs', kind: 'data', snapshot: made, since: undefined, note: '' } as const;
    const header = { ...told, createdAtMs: 0, diskMib: 0, image: '', range: world.range };
    const body = (async function* () {
      yield await readFile(file);
    })();
    const id = newId();
    const receiving = world.driver.receive(id, writeVolumeStream(header, body), signal);
    await expect(receiving).rejects.toMatchObject({ kind: 'data-loss' });
    expect(await world.driver.list(signal)).toEqual([]);
    expect(await host.zfs('list', '-H', '-o', 'name', '-r', `${world.parent}/staging`)).toBe(
      `${world.parent}/staging\n`,
    );
    await destroy(host, `${theirs}@${made}`);
    await destroy(host, theirs);
  });
});

describe('roots and images', () => {
  let host: ZfsHost;
  beforeAll(async () => {
    host = await openZfsHost();
  });
  afterAll(() => host[Symbol.asyncDispose]());

  it('are mounted without devices, and data without setuid programs', async () => {
    await using world = await openZfsWorld(host);
    const root = await prepareRoot(world, newId());
    expect((await mountsAt(root.path)).at(-1)?.options).toContain('nodev');
    const data = await prepareData(world, newId());
    expect((await mountsAt(data.path)).at(-1)?.options).toMatch(/nosuid.*nodev|nodev.*nosuid/);
  });

  it('come from one copy, however many ask at once, and go when nobody needs them', async () => {
    await using world = await openZfsWorld(host);
    const ids = Array.from({ length: 6 }, newId);
    await Promise.all(ids.map((id) => prepareRoot(world, id)));
    const images = await world.driver.listImages(signal);
    expect(images).toMatchObject([{ digest }]);
    expect(images[0]?.bytes).toBeGreaterThan(0);
    const removing = world.driver.removeImage(digest, signal);
    await expect(removing).rejects.toMatchObject({ kind: 'failed-precondition' });
    for (const id of ids) await world.driver.remove(id, signal);
    await world.driver.removeImage(digest, signal);
    await world.driver.removeImage(digest, signal);
    expect(await world.driver.listImages(signal)).toEqual([]);
    expect(await readdir(path.join(world.mountRoot, 'roots'))).toEqual([]);
    expect(await readdir(path.join(world.mountRoot, 'staging'))).toEqual([]);
  });

  it('say that the disk is smaller than the image', async () => {
    await using world = await openZfsWorld(host);
    const image = await imageOf(world);
    await writeFile(path.join(image.rootfs, 'big'), systemRandom.bytes(3 * 1024 * 1024));
    const root = { id: newId(), image, range: world.range, diskMib: 1 };
    const preparing = world.driver.prepare(root, signal);
    await expect(preparing).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringContaining('image alone takes'),
    });
  });

  it('refuse another image for a root that is there', async () => {
    await using world = await openZfsWorld(host);
    const id = newId();
    await prepareRoot(world, id);
    const image = { ...(await imageOf(world)), digest: `sha256:${'c'.repeat(64)}` as Digest };
    const second = world.driver.prepare({ id, image, range: world.range, diskMib: 0 }, signal);
    await expect(second).rejects.toMatchObject({ kind: 'failed-precondition' });
  });

  it('name who holds a mount in another mount namespace', async () => {
    await using world = await openZfsWorld(host);
    const id = newId();
    await prepareData(world, id);
    const holder = spawn('unshare', ['-m', '--propagation', 'private', 'sleep', '600'], { stdio: 'ignore' });
    try {
      const holds = async () => {
        const [own, other] = await Promise.all(
          ['self', String(holder.pid)].map((pid) => readFile(`/proc/${pid}/mountinfo`, 'utf8')),
        );
        const name = await readFile(`/proc/${holder.pid}/comm`, 'utf8');
        return own !== undefined && other?.includes(id) && name === 'sleep\n';
      };
      await until(holds, { what: 'the holder to have its mounts' });
      const removing = world.driver.remove(id, signal);
      await expect(removing).rejects.toMatchObject({
        kind: 'unavailable',
        message: expect.stringContaining(`${holder.pid} (sleep)`),
      });
    } finally {
      holder.kill('SIGKILL');
    }
    await until(() => world.driver.remove(id, signal).then(() => true), { what: 'the volume to go' });
  });
});

describe('a full pool', () => {
  let host: ZfsHost;
  beforeAll(async () => {
    host = await openZfsHost({ sizeMib: 160 });
  });
  afterAll(() => host[Symbol.asyncDispose]());

  it('refuses what is new, lets old things go, and takes new ones then', async () => {
    await using world = await openZfsWorld(host);
    const [id, small] = [newId(), newId()];
    const { path: place } = await prepareData(world, id);
    await prepareData(world, small, 64);
    const file = path.join(place, 'big');
    await until(
      () =>
        writeFile(file, systemRandom.bytes(4 * 1024 * 1024), { flag: 'a' }).then(
          () => false,
          (error: NodeJS.ErrnoException) => error.code === 'ENOSPC',
        ),
      { what: 'the pool to be full', deadlineMs: 60_000 },
    );
    await until(async () => (await world.driver.fingerprint(signal)).freeMib === 0, {
      what: 'no room left',
      deadlineMs: 40_000,
      everyMs: 200,
    });
    expect(await world.driver.fingerprint(signal)).toMatchObject({ healthy: true, freeMib: 0 });
    await expect(prepareData(world, newId())).rejects.toMatchObject({ kind: 'resource-exhausted' });
    await expect(world.driver.snapshot([id], newSnapshot(), '', signal)).rejects.toMatchObject({
      kind: 'resource-exhausted',
    });
    // A mark needs room; the reserve is given up for it.
    await world.driver.setQuota(small, 96, signal);
    await world.driver.remove(id, signal);
    const hasRoom = async () => (await world.driver.fingerprint(signal)).freeMib > 64;
    await until(hasRoom, { what: 'room again', deadlineMs: 40_000, everyMs: 200 });
    await prepareData(world, newId());
    const reserve = await host.zfs('get', '-Hp', '-o', 'value', 'refreservation', `${world.parent}/reserve`);
    expect(Number(reserve)).toBeGreaterThan(0);
  }, 180_000);
});

describe('the daemon', () => {
  it('may die and come back: volumes are mounted again, with what was in them', async () => {
    await using host = await openZfsHost();
    await using world = await openZfsWorld(host);
    const [id, root] = [newId(), newId()];
    const { path: place } = await prepareData(world, id);
    await prepareRoot(world, root);
    await writeFile(path.join(place, 'file'), 'kept');
    await world.driver.snapshot([id], newSnapshot(), '', signal);
    await host.killDaemon();
    expect(await world.driver.fingerprint(signal)).toMatchObject({ healthy: false, name: 'fast' });
    await expect(prepareData(world, id)).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(prepareData(world, newId())).rejects.toMatchObject({ kind: 'unavailable' });
    await host.startDaemon();
    expect(await prepareData(world, id)).toMatchObject({ path: place });
    expect(await readFile(path.join(place, 'file'), 'utf8')).toBe('kept');
    const again = await prepareRoot(world, root);
    expect((await stat(path.join(again.path, 'etc'))).isDirectory()).toBe(true);
    expect(await mountsAt(place)).toHaveLength(1);
    expect(await world.driver.fingerprint(signal)).toMatchObject({ healthy: true });
  });

  it('may not have imported the pool: nothing is taken for gone', async () => {
    await using host = await openZfsHost();
    await using world = await openZfsWorld(host);
    const id = newId();
    const { path: place } = await prepareData(world, id);
    await writeFile(path.join(place, 'file'), 'kept');
    await world.driver.release(id, signal);
    const exported = () =>
      host.zpool('export', host.pool).then(
        () => true,
        () => false,
      );
    await until(exported, { what: 'the pool to be exported' });
    const unknown = { kind: 'unavailable' };
    await expect(world.driver.remove(id, signal)).rejects.toMatchObject(unknown);
    await expect(world.driver.list(signal)).rejects.toMatchObject(unknown);
    await expect(world.driver.usage(id, signal)).rejects.toMatchObject(unknown);
    await expect(world.driver.snapshots(id, signal)).rejects.toMatchObject(unknown);
    await expect(world.driver.listImages(signal)).rejects.toMatchObject(unknown);
    expect(await world.driver.fingerprint(signal)).toMatchObject({ healthy: false });
    expect(await world.reopen().fingerprint(signal)).toMatchObject({ healthy: false });
    await host.zpool('import', '-d', path.join(host.directory, '../disk'), host.pool);
    await prepareData(world, id);
    expect(await readFile(path.join(place, 'file'), 'utf8')).toBe('kept');
    expect(await world.driver.fingerprint(signal)).toMatchObject({ healthy: true });
  });

  it('may stand still: that is told in time, and the agent goes on', async () => {
    await using host = await openZfsHost();
    await using world = await openZfsWorld(host);
    await prepareData(world, newId());
    host.signalDaemon('SIGSTOP');
    try {
      const facts = await world.driver.fingerprint(AbortSignal.timeout(8000));
      expect(facts).toMatchObject({ healthy: false });
    } finally {
      host.signalDaemon('SIGCONT');
    }
    const isWell = async () => (await world.driver.fingerprint(signal)).healthy;
    await until(isWell, { what: 'the pool to be well', deadlineMs: 30_000 });
  });

  it('may have a disk that takes no writes: the pool is unhealthy, and takes nothing new', async () => {
    await using host = await openZfsHost({ sizeMib: 400, diskMib: 40 });
    const world = await openZfsWorld(host);
    const { path: place } = await prepareData(world, newId());
    const args = ['-c', `head -c 100M /dev/urandom > ${path.join(place, 'big')}`];
    const writing = spawn('sh', args, { stdio: 'ignore' });
    try {
      const isIll = async () => (await world.driver.fingerprint(AbortSignal.timeout(9000))).healthy === false;
      await until(isIll, { what: 'the write probe to trip', deadlineMs: 60_000 });
      const refused = { kind: 'unavailable' };
      await expect(prepareData(world, newId())).rejects.toMatchObject(refused);
    } finally {
      writing.kill('SIGKILL');
      // Nothing in that pool can be removed any more; the daemon is killed.
      await rm(world.directory, { recursive: true, force: true });
    }
  }, 120_000);
});
