import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { isKind } from '#shared/errors.ts';
import type { Digest, InstanceId, SnapshotId, VolumeId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { openZfsHost, type ZfsHost } from '../../test/zfs-host.ts';
import { openZfsWorld, type ZfsWorld } from '../../test/zfs-world.ts';
import type { HostCommands } from '../host/command.ts';
import { createZfsDriver } from './zfs.ts';
import type { VolumeDriver } from './volume-driver.ts';

const { signal } = new AbortController();
const newId = (): InstanceId => systemRandom.uuidV7() as InstanceId;
const newSnapshot = (): SnapshotId => systemRandom.uuidV7() as SnapshotId;

/** When the agent dies: in the middle of its n-th tool, or when the tool has done its work. */
type Moment = 'mid' | 'after';
/** Each life looks at what is there first; one row tries these, too. */
const toolsOfOpening = 5;
const killed = new Error('the agent was killed');

/** The host's tools, for an agent that dies at one of them, and does nothing more. */
function dyingCommands(host: ZfsHost, at: number, moment: Moment) {
  let calls = 0;
  let isDead = false;
  const die = (): never => {
    isDead = true;
    throw killed;
  };
  const run: HostCommands['run'] = async (tool, args, options) => {
    if (isDead) throw killed;
    calls += 1;
    if (calls !== at) return host.run(tool, args, options);
    // Killed somewhere in its work, and elsewhere each time.
    const timeoutMs = moment === 'mid' ? 3 + Math.floor(systemRandom.fraction() * 15) : 60_000;
    await host.run(tool, args, { ...options, timeoutMs }).catch(() => undefined);
    return die();
  };
  const start: HostCommands['start'] = async (tool, args, options) => {
    if (isDead) throw killed;
    calls += 1;
    if (calls !== at) return host.start(tool, args, options);
    const started = await host.start(tool, args, options);
    started.kill();
    return die();
  };
  return { run, start, died: () => isDead };
}

interface Scene {
  readonly world: ZfsWorld;
  readonly id: VolumeId;
  readonly other: InstanceId;
  readonly first: SnapshotId;
  readonly second: SnapshotId;
  readonly image: { digest: Digest; rootfs: string; range: { base: number; size: number } };
  readonly whole: Buffer;
  readonly changes: Buffer;
}

interface Row {
  readonly name: string;
  /** Uses so many tools that a run tries every other one, from the first or the second. */
  readonly isLong?: boolean;
  readonly act: (driver: VolumeDriver, scene: Scene) => Promise<unknown>;
  /** Before the call that is interrupted. */
  readonly prepare?: (driver: VolumeDriver, scene: Scene) => Promise<unknown>;
  /** What must be true when it was repeated. */
  readonly check: (driver: VolumeDriver, scene: Scene) => Promise<void>;
}

const contentOf = async (driver: VolumeDriver, scene: Scene, id: VolumeId): Promise<string> => {
  const { path: place } = await driver.prepareData({ id, range: scene.world.range, diskMib: 0 }, signal);
  return readFile(path.join(place, 'file'), 'utf8');
};
const idsOf = async (driver: VolumeDriver, id: VolumeId) =>
  (await driver.snapshots(id, signal)).map((each) => each.id);
async function* once(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
const write = async (driver: VolumeDriver, world: ZfsWorld, id: VolumeId, content: string) => {
  const { path: place } = await driver.prepareData({ id, range: world.range, diskMib: 0 }, signal);
  await writeFile(path.join(place, 'file'), content);
  await driver.release(id, signal);
};

const rows: readonly Row[] = [
  {
    name: 'a root of a new image',
    act: (driver, { image, other, world }) =>
      driver.prepare({ id: other, image, range: world.range, diskMib: 8 }, signal),
    async check(driver, scene) {
      const { image, other, world } = scene;
      const root = await driver.prepare({ id: other, image, range: world.range, diskMib: 8 }, signal);
      expect(await readFile(path.join(root.path, 'file'), 'utf8')).toBe('image');
      expect(await driver.listImages(signal)).toHaveLength(1);
    },
  },
  {
    name: 'a new data volume',
    act: (driver, { other, world }) =>
      driver.prepareData({ id: other, range: world.range, diskMib: 8 }, signal),
    async check(driver, { other, world }) {
      const found = await driver.prepareData({ id: other, range: world.range, diskMib: 8 }, signal);
      expect(await readdir(found.path)).toEqual([]);
    },
  },
  {
    name: 'a snapshot',
    act: (driver, { id, other, second }) => driver.snapshot([id, other], second, 'n', signal),
    prepare: (driver, { world, other }) => write(driver, world, other, 'other'),
    async check(driver, { id, other, second }) {
      expect(await idsOf(driver, id)).toContain(second);
      expect(await idsOf(driver, other)).toEqual([second]);
    },
  },
  {
    name: 'a way back',
    act: (driver, { id, first }) => driver.rollback(id, first, signal),
    async prepare(driver, { id, second, world }) {
      await write(driver, world, id, 'second');
      await driver.snapshot([id], second, '', signal);
      await write(driver, world, id, 'third');
    },
    async check(driver, scene) {
      expect(await idsOf(driver, scene.id)).toEqual([scene.first]);
      expect(await contentOf(driver, scene, scene.id)).toBe('first');
    },
  },
  {
    name: 'a clone',
    act: (driver, { id, first, other }) => driver.clone(id, first, other, signal),
    check: async (driver, scene) => expect(await contentOf(driver, scene, scene.other)).toBe('first'),
  },
  {
    name: 'a received volume',
    isLong: true,
    act: (driver, { other, whole }) => driver.receive(other, once(whole), signal),
    async check(driver, scene) {
      expect(await idsOf(driver, scene.other)).toEqual([scene.first]);
      expect(await contentOf(driver, scene, scene.other)).toBe('first');
    },
  },
  {
    name: 'received changes',
    isLong: true,
    act: (driver, { other, changes }) => driver.receive(other, once(changes), signal),
    prepare: (driver, { other, whole }) => driver.receive(other, once(whole), signal),
    async check(driver, scene) {
      expect(await driver.snapshots(scene.other, signal)).toHaveLength(2);
      expect(await contentOf(driver, scene, scene.other)).toBe('second');
    },
  },
  {
    name: 'the end of a volume',
    act: (driver, { id }) => driver.remove(id, signal),
    check: async (driver, { id }) =>
      expect((await driver.list(signal)).filter((each) => each.id === id)).toEqual([]),
  },
];

describe('an agent that is killed at each tool of it still makes', () => {
  let host: ZfsHost;
  beforeAll(async () => {
    host = await openZfsHost();
  });
  afterAll(() => host[Symbol.asyncDispose]());

  async function gather(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async function setUp(
    world: ZfsWorld,
  ): Promise<Pick<Scene, 'image' | 'whole' | 'changes' | 'first' | 'second'>> {
    const { driver, range } = world;
    const rootfs = path.join(world.directory, 'image');
    await mkdir(rootfs);
    await writeFile(path.join(rootfs, 'file'), 'image');
    const image = { digest: `sha256:${'d'.repeat(64)}` as Digest, rootfs, range };
    const [id, first, second] = [newId(), newSnapshot(), newSnapshot()];
    await write(driver, world, id, 'first');
    await driver.snapshot([id], first, 'one', signal);
    await write(driver, world, id, 'second');
    await driver.snapshot([id], second, 'two', signal);
    const whole = await gather(driver.send(id, first, {}, signal));
    const changes = await gather(driver.send(id, second, { since: first }, signal));
    await driver.remove(id, signal);
    return { image, whole, changes, first, second };
  }

  /** What the row does, interrupted at its n-th tool; then all of it again by the next agent. */
  async function interrupt(row: Row, scene: Scene, at: number, moment: Moment): Promise<boolean> {
    const { world } = scene;
    const commands = dyingCommands(host, at, moment);
    const base = { pool: 'fast', clock: systemClock, random: systemRandom };
    const places = { dataset: world.parent, mountRoot: world.mountRoot };
    const dying = createZfsDriver({ ...base, ...places, run: commands.run, start: commands.start });
    await row.act(dying, scene).catch(() => undefined);
    const next = world.reopen();
    await row.act(next, scene).catch((error: unknown) => {
      // A clone or a whole stream that was done says so.
      if (!isKind(error, 'already-exists', 'aborted')) throw error;
    });
    await row.check(next, scene);
    for (const { id } of (await next.list(signal)).toReversed())
      await next.remove(id, signal).catch(() => undefined);
    for (const { id } of await next.list(signal)) await next.remove(id, signal);
    for (const { digest } of await next.listImages(signal)) await next.removeImage(digest, signal);
    return commands.died();
  }

  it.each(rows.map((row, place) => [row.name, row, place === 0 ? 1 : toolsOfOpening + 1] as const))(
    '%s',
    async (_name, row, first) => {
      await using world = await openZfsWorld(host);
      const told = await setUp(world);
      async function strike(at: number, moment: Moment): Promise<boolean> {
        const scene: Scene = { ...told, world, id: newId(), other: newId() };
        await write(world.driver, world, scene.id, 'first');
        await world.driver.snapshot([scene.id], told.first, '', signal);
        await row.prepare?.(world.driver, scene);
        return interrupt(row, scene, at, moment);
      }
      const step = row.isLong ? 2 : 1;
      let at = first + Math.floor(systemRandom.fraction() * step);
      while (await strike(at, 'after')) at += step;
      const count = at - first;
      expect(count).toBeGreaterThan(1);
      const anywhere = (): number => first + Math.floor(systemRandom.fraction() * count);
      for (const one of [anywhere(), anywhere(), anywhere()]) await strike(one, 'mid');
      const left = await host.zfs('list', '-H', '-o', 'name', '-r', `${world.parent}/staging`);
      expect(left.trim().split('\n')).toEqual([`${world.parent}/staging`]);
    },
    240_000,
  );
});
