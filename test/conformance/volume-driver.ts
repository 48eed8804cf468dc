import { chmod, lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Digest, InstanceId, SnapshotId, VolumeId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import type {
  IdRange,
  MountedVolume,
  VolumeCapability,
  VolumeDriver,
} from '../../agent/volumes/volume-driver.ts';
import { until } from '../until.ts';

export interface VolumeWorld extends AsyncDisposable {
  readonly driver: VolumeDriver;
  /** Where test images are made; others can pass. */
  readonly directory: string;
  readonly range: IdRange;
  /** Whether images have their own ids, and roots shift them. */
  readonly unshifted: boolean;
  /** Whether files have owners here: the fake copies without. */
  readonly keepsOwners: boolean;
  /** Gives a tree to an id. */
  chownTree?(tree: string, id: number): Promise<void>;
  /** A new driver on the same directories, as after a restart. */
  reopen(): VolumeDriver;
}

const { signal } = new AbortController();
const rangeOf = async (driver: VolumeDriver, id: InstanceId) =>
  (await driver.list(signal)).find((each) => each.id === id)?.range;
const noise = (bytes: number): Uint8Array => systemRandom.bytes(bytes);
const newId = (): InstanceId => systemRandom.uuidV7() as InstanceId;
const newSnapshot = (): SnapshotId => systemRandom.uuidV7() as SnapshotId;
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
      const found = await world.reopen().list(signal);
      expect(found.map((each) => each.id).toSorted()).toEqual(ids.toSorted());
      expect(new Set(found.map((each) => each.kind))).toEqual(new Set(['root']));
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
      await writeFile(path.join(root.path, 'data'), noise(1024 * 1024));
      // Writes may be lazy; a snapshot has them all.
      await snapshot(world, id);
      const grown = async () => (await world.driver.usage(id, signal)).bytes - before.bytes >= 1024 * 1024;
      await until(grown, { what: 'usage to grow', deadlineMs: 45_000, everyMs: 100 });
      await expect(world.driver.usage(newId(), signal)).rejects.toMatchObject({ kind: 'not-found' });
    });
  });

  const has = async (world: VolumeWorld, capability: VolumeCapability) =>
    (await world.driver.fingerprint(signal)).capabilities.includes(capability);
  const prepareData = (world: VolumeWorld, id: VolumeId, range = world.range, diskMib = 0) =>
    world.driver.prepareData({ id, range, diskMib }, signal);

  /** A data volume with one file, released. */
  async function withData(world: VolumeWorld, content = 'first', id = newId()): Promise<VolumeId> {
    const { path: place } = await prepareData(world, id);
    await writeFile(path.join(place, 'file'), content);
    await world.driver.release(id, signal);
    return id;
  }
  async function write(world: VolumeWorld, id: VolumeId, content: string): Promise<void> {
    const { path: place } = await prepareData(world, id);
    await writeFile(path.join(place, 'file'), content);
    await world.driver.release(id, signal);
  }
  async function read(world: VolumeWorld, id: VolumeId): Promise<string> {
    const { path: place } = await prepareData(world, id);
    const content = await readFile(path.join(place, 'file'), 'utf8');
    await world.driver.release(id, signal);
    return content;
  }
  const snapshot = async (world: VolumeWorld, id: VolumeId, note = ''): Promise<SnapshotId> => {
    const made = newSnapshot();
    await world.driver.snapshot([id], made, note, signal);
    return made;
  };
  const idsOf = async (world: VolumeWorld, id?: VolumeId) =>
    (await world.driver.snapshots(id, signal)).map((each) => each.id);

  describe(`volume driver ${name}: data volumes`, () => {
    it('tells what it is, without throwing', async () => {
      await using world = await setUp();
      const facts = await world.driver.fingerprint(signal);
      expect(facts).toMatchObject({ name: world.driver.pool, driver: world.driver.name, healthy: true });
      expect(facts.sizeMib).toBeGreaterThan(0);
      expect(facts.freeMib).toBeGreaterThan(0);
    });

    it('makes an empty one, keeps what is in it, and lists it until it is removed', async () => {
      await using world = await setUp();
      const id = newId();
      const made = await prepareData(world, id);
      expect(await readdir(made.path)).toEqual([]);
      await writeFile(path.join(made.path, 'file'), 'kept');
      expect(await prepareData(world, id)).toEqual(made);
      await world.driver.release(id, signal);
      const reopened = world.reopen();
      expect(await reopened.list(signal)).toMatchObject([{ id, kind: 'data', range: world.range }]);
      expect(await reopened.prepareData({ id, range: world.range, diskMib: 0 }, signal)).toEqual(made);
      expect(await readFile(path.join(made.path, 'file'), 'utf8')).toBe('kept');
      await world.driver.remove(id, signal);
      await world.driver.remove(id, signal);
      expect(await world.driver.list(signal)).toEqual([]);
      await expect(stat(made.path)).rejects.toMatchObject({ code: 'ENOENT' });
    });

    it('belongs to the range that it is prepared for, setuid bits and links kept', async () => {
      await using world = await setUp();
      if (!world.keepsOwners) return;
      const id = newId();
      const first = await prepareData(world, id);
      const ownerOf = async (file: string) => {
        const { uid, gid } = await lstat(path.join(first.path, file));
        return [uid, gid];
      };
      const own = [world.range.base, world.range.base];
      expect(await ownerOf('.')).toEqual(own);
      await world.chownTree?.(first.path, world.range.base);
      await mkdir(path.join(first.path, 'deep/er'), { recursive: true });
      await writeFile(path.join(first.path, 'deep/er/su'), 'x');
      await symlink('/etc/passwd', path.join(first.path, 'deep/link'));
      await world.chownTree?.(path.join(first.path, 'deep'), world.range.base + 7);
      await chmod(path.join(first.path, 'deep/er/su'), 0o6755);
      await world.driver.release(id, signal);
      const before = await stat('/etc/passwd');
      const next = { base: world.range.base + 3 * world.range.size, size: world.range.size };
      await prepareData(world, id, next);
      expect(await ownerOf('.')).toEqual([next.base, next.base]);
      for (const file of ['deep', 'deep/er', 'deep/er/su', 'deep/link'])
        expect([file, await ownerOf(file)]).toEqual([file, [next.base + 7, next.base + 7]]);
      expect((await stat(path.join(first.path, 'deep/er/su'))).mode & 0o7777).toBe(0o6755);
      expect((await stat('/etc/passwd')).uid).toBe(before.uid);
      expect(await rangeOf(world.driver, id)).toEqual(next);
    });

    it('refuses what is no id before any tool sees it', async () => {
      await using world = await setUp();
      const { driver, range } = world;
      for (const text of ['..', '../x', '-r', 'a@b', '', 'a\nb', newId().toUpperCase()]) {
        const id = text as InstanceId;
        const wrong = { kind: 'invalid-argument' };
        if (!world.keepsOwners) continue;
        await expect(driver.prepareData({ id, range, diskMib: 0 }, signal)).rejects.toMatchObject(wrong);
        await expect(driver.remove(id, signal)).rejects.toMatchObject(wrong);
        await expect(driver.usage(id, signal)).rejects.toMatchObject(wrong);
        const known = newId();
        await prepareData(world, known);
        await expect(driver.snapshot([known], text as SnapshotId, '', signal)).rejects.toMatchObject(wrong);
        await expect(driver.clone(known, newSnapshot(), id, signal)).rejects.toBeDefined();
        await driver.remove(known, signal);
      }
    });

    it('does what it declares about quotas', async () => {
      await using world = await setUp();
      const id = newId();
      if (!(await has(world, 'quota'))) {
        await prepareData(world, id);
        const setting = world.driver.setQuota(id, 8, signal);
        await expect(setting).rejects.toMatchObject({ kind: 'unimplemented' });
        return;
      }
      const { path: place, quotaEnforced } = await prepareData(world, id, world.range, 8);
      expect(quotaEnforced).toBe(true);
      const fill = writeFile(path.join(place, 'big'), noise(12 * 1024 * 1024));
      await expect(fill).rejects.toMatchObject({ errno: -os.constants.errno.EDQUOT });
      const below = world.driver.setQuota(id, 1, signal);
      await expect(below).rejects.toMatchObject({ kind: 'failed-precondition' });
      await world.driver.setQuota(id, 64, signal);
      await writeFile(path.join(place, 'big'), noise(12 * 1024 * 1024));
      expect(await world.driver.list(signal)).toMatchObject([{ id, diskMib: 64 }]);
      await world.driver.setQuota(id, 0, signal);
      expect(await world.driver.list(signal)).toMatchObject([{ id, diskMib: 0 }]);
      const absent = world.driver.setQuota(newId(), 8, signal);
      await expect(absent).rejects.toMatchObject({ kind: 'not-found' });
    });
  });

  describe(`volume driver ${name}: snapshots`, () => {
    it('are there in order with their notes, also after a restart', async () => {
      await using world = await setUp();
      const id = await withData(world);
      const notes = ['x'.repeat(900), 'line\nand\ttab, "quotes", é', ''];
      const made: SnapshotId[] = [];
      for (const note of notes) made.push(await snapshot(world, id, note));
      const found = await world.reopen().snapshots(id, signal);
      expect(found.map((each) => [each.id, each.note, each.volumeId])).toEqual(
        made.map((each, place) => [each, notes[place], id]),
      );
      expect(await idsOf(world)).toEqual(made);
      expect(found[0]?.createdAtMs).toBeGreaterThan(1_700_000_000_000);
      const longer = world.driver.snapshot([id], newSnapshot(), 'x'.repeat(901), signal);
      await expect(longer).rejects.toMatchObject({ kind: 'invalid-argument' });
    });

    it('may be taken again with the same note, and with no other', async () => {
      await using world = await setUp();
      const id = await withData(world);
      const made = await snapshot(world, id, 'note');
      await world.driver.snapshot([id], made, 'note', signal);
      const other = world.driver.snapshot([id], made, 'other', signal);
      await expect(other).rejects.toMatchObject({ kind: 'already-exists' });
      expect(await idsOf(world, id)).toEqual([made]);
    });

    it('are of all the volumes or of none', async () => {
      await using world = await setUp();
      const id = await withData(world);
      const missing = world.driver.snapshot([id, newId()], newSnapshot(), '', signal);
      await expect(missing).rejects.toMatchObject({ kind: 'not-found' });
      expect(await idsOf(world, id)).toEqual([]);
      const both = [id, await withData(world)];
      const made = newSnapshot();
      await world.driver.snapshot(both, made, 'both', signal);
      for (const each of both) expect(await idsOf(world, each)).toEqual([made]);
    });

    it('set a volume back, and take later ones with them', async () => {
      await using world = await setUp();
      const id = await withData(world, 'first');
      const first = await snapshot(world, id);
      await write(world, id, 'second');
      const later = await snapshot(world, id);
      await prepareData(world, id);
      const mounted = world.driver.rollback(id, first, signal);
      await expect(mounted).rejects.toMatchObject({ kind: 'failed-precondition' });
      expect(await idsOf(world, id)).toEqual([first, later]);
      await world.driver.release(id, signal);
      await world.driver.rollback(id, first, signal);
      await world.driver.rollback(id, first, signal);
      expect(await read(world, id)).toBe('first');
      expect(await idsOf(world, id)).toEqual([first]);
      const none = world.driver.rollback(id, newSnapshot(), signal);
      await expect(none).rejects.toMatchObject({ kind: 'not-found' });
    });

    it('set a root back to what the guest had', async () => {
      await using world = await setUp();
      const id = newId();
      const root = await prepare(world, id);
      await writeFile(path.join(root.path, 'mine'), 'first');
      const made = await snapshot(world, id, 'before-update');
      await writeFile(path.join(root.path, 'mine'), 'second');
      await writeFile(path.join(root.path, 'etc/hostname'), 'changed');
      await world.driver.release(id, signal);
      await world.driver.rollback(id, made, signal);
      await prepare(world, id);
      expect(await readFile(path.join(root.path, 'mine'), 'utf8')).toBe('first');
      expect(await readFile(path.join(root.path, 'etc/hostname'), 'utf8')).toBe('image\n');
    });

    it('go one by one, and with their volume', async () => {
      await using world = await setUp();
      const id = await withData(world);
      const [first, second] = [await snapshot(world, id), await snapshot(world, id)];
      await world.driver.removeSnapshot(id, first, signal);
      await world.driver.removeSnapshot(id, first, signal);
      expect(await idsOf(world, id)).toEqual([second]);
      await world.driver.remove(id, signal);
      expect(await idsOf(world)).toEqual([]);
      await world.driver.removeSnapshot(id, second, signal);
      await expect(world.driver.snapshots(id, signal)).rejects.toMatchObject({ kind: 'not-found' });
    });

    it('become volumes of their own', async () => {
      await using world = await setUp();
      const id = await withData(world, 'first');
      const made = await snapshot(world, id);
      await write(world, id, 'second');
      const copy = newId();
      await world.driver.clone(id, made, copy, signal);
      expect(await read(world, copy)).toBe('first');
      await write(world, copy, 'third');
      expect(await read(world, id)).toBe('second');
      const taken = world.driver.clone(id, made, copy, signal);
      await expect(taken).rejects.toMatchObject({ kind: 'already-exists' });
      const none = world.driver.clone(id, newSnapshot(), newId(), signal);
      await expect(none).rejects.toMatchObject({ kind: 'not-found' });
      expect(await idsOf(world, copy)).toEqual([]);
      await world.driver.remove(copy, signal);
      await world.driver.remove(id, signal);
    });

    it('of a root become roots', async () => {
      await using world = await setUp();
      const [id, copy] = [newId(), newId()];
      const root = await prepare(world, id);
      await writeFile(path.join(root.path, 'mine'), 'first');
      await world.driver.clone(id, await snapshot(world, id), copy, signal);
      const cloned = await prepare(world, copy);
      expect(await readFile(path.join(cloned.path, 'mine'), 'utf8')).toBe('first');
      expect(await readFile(path.join(cloned.path, 'etc/hostname'), 'utf8')).toBe('image\n');
      for (const each of [copy, id]) await world.driver.remove(each, signal);
    });
  });

  async function gather(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks);
  }
  /** In pieces that match nothing. */
  async function* pieces(bytes: Buffer, size = 10_007): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const sent = (world: VolumeWorld, id: VolumeId, made: SnapshotId, since?: SnapshotId) =>
    gather(world.driver.send(id, made, since === undefined ? {} : { since }, signal));

  describe(`volume driver ${name}: streams`, () => {
    it('make the volume anew with its snapshot', async () => {
      await using world = await setUp();
      const id = await withData(world, 'content '.repeat(50_000));
      const made = await snapshot(world, id, 'note');
      await write(world, id, 'later');
      const stream = await sent(world, id, made);
      const copy = newId();
      await world.driver.receive(copy, pieces(stream), signal);
      expect(await world.driver.snapshots(copy, signal)).toMatchObject([{ id: made, note: 'note' }]);
      expect(await world.driver.list(signal)).toContainEqual({
        ...(await world.driver.list(signal)).find((each) => each.id === id),
        id: copy,
      });
      expect(await read(world, copy)).toBe('content '.repeat(50_000));
      const again = world.driver.receive(copy, pieces(stream), signal);
      await expect(again).rejects.toMatchObject({ kind: 'already-exists' });
      const none = sent(world, id, newSnapshot());
      await expect(none).rejects.toMatchObject({ kind: 'not-found' });
    });

    it('that are cut, damaged or longer leave nothing', async () => {
      await using world = await setUp();
      const id = await withData(world, 'content '.repeat(20_000));
      const stream = await sent(world, id, await snapshot(world, id));
      const copy = newId();
      const flipped = (at: number): Buffer => {
        const bytes = Buffer.from(stream);
        bytes[at] = (bytes[at] ?? 0) ^ 1;
        return bytes;
      };
      const half = stream.length >> 1;
      const cuts = [0, 10, 100, half, stream.length - 33, stream.length - 1];
      const wrong = [
        ...cuts.map((length) => stream.subarray(0, length)),
        ...[3, half, stream.length - 1].map(flipped),
        Buffer.concat([stream, Buffer.from('x')]),
      ];
      for (const each of wrong) {
        const receiving = world.driver.receive(copy, pieces(each), signal);
        await expect(receiving).rejects.toMatchObject({ kind: 'data-loss' });
        expect((await world.driver.list(signal)).map((one) => one.id)).toEqual([id]);
      }
      async function* torn(): AsyncGenerator<Uint8Array> {
        yield stream.subarray(0, half);
        throw new Error('the connection broke');
      }
      await expect(world.driver.receive(copy, torn(), signal)).rejects.toThrow('the connection broke');
      expect((await world.driver.list(signal)).map((one) => one.id)).toEqual([id]);
      await world.driver.receive(copy, pieces(stream), signal);
    });

    it('may be given up by who reads them', async () => {
      await using world = await setUp();
      const id = await withData(world, 'content '.repeat(200_000));
      const made = await snapshot(world, id);
      for await (const chunk of world.driver.send(id, made, {}, signal)) {
        expect(chunk.length).toBeGreaterThan(0);
        break;
      }
      await world.driver.remove(id, signal);
    });

    it('bring a volume up to date, where it is declared', async () => {
      await using world = await setUp();
      const id = await withData(world, 'first');
      const first = await snapshot(world, id, 'one');
      await write(world, id, 'second');
      const second = await snapshot(world, id, 'two');
      if (!(await has(world, 'incremental'))) {
        const sending = sent(world, id, second, first);
        await expect(sending).rejects.toMatchObject({ kind: 'unimplemented' });
        return;
      }
      const [whole, changes] = [await sent(world, id, first), await sent(world, id, second, first)];
      const copy = newId();
      const early = world.driver.receive(copy, pieces(changes), signal);
      await expect(early).rejects.toMatchObject({ kind: 'aborted' });
      expect((await world.driver.list(signal)).map((each) => each.id)).toEqual([id]);
      await world.driver.receive(copy, pieces(whole), signal);
      const cut = world.driver.receive(copy, pieces(changes.subarray(0, -40)), signal);
      await expect(cut).rejects.toMatchObject({ kind: 'data-loss' });
      expect(await idsOf(world, copy)).toEqual([first]);
      await world.driver.receive(copy, pieces(changes), signal);
      const again = world.driver.receive(copy, pieces(changes), signal);
      await expect(again).rejects.toMatchObject({ kind: 'aborted' });
      const notes = (await world.driver.snapshots(copy, signal)).map((each) => [each.id, each.note]);
      expect(notes).toEqual([
        [first, 'one'],
        [second, 'two'],
      ]);
      expect(await read(world, copy)).toBe('second');
    });
  });
}
