import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { silentLog } from '#shared/log.ts';
import type { Digest } from '#shared/model.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { createFakeImageSource, createFakeImageStore } from '../../test/fakes/image-source.ts';
import { passableDirectory } from '../../test/passable-directory.ts';
import { until } from '../../test/until.ts';
import { chooseImages, type Collection, createImageCollector, type Disk, type KeptImage } from './collect.ts';

const { signal } = new AbortController();
const hour = 3_600_000;
const mib = 1024 ** 2;
const nowMs = 1000 * hour;
const digestOf = (letter: string): Digest => `sha256:${letter.repeat(64)}` as Digest;
const image = (letter: string, ageHours: number, changes: Partial<KeptImage> = {}): KeptImage => ({
  digest: digestOf(letter),
  references: [`registry.test/${letter}:1`, `registry.test/${letter}@${digestOf('f')}`],
  bytes: 10 * mib,
  lastUsedAtMs: nowMs - ageHours * hour,
  ...changes,
});

describe('the choice of images to remove', () => {
  const images = [image('a', 1), image('b', 30), image('c', 20), image('d', 10)];
  const policy = { keepUnusedHours: 100, maxUnusedMib: 0, pinned: [] };
  const plain: Collection = { nowMs, used: new Set(), policy, wantedBytes: 0 };
  const none: readonly string[] = [];
  it.each<[string, Partial<Collection>, readonly string[]]>([
    ['keeps all while they are young and the disk has room', {}, none],
    [
      'removes what is older than the policy says',
      { policy: { ...policy, keepUnusedHours: 15 } },
      ['b', 'c'],
    ],
    ['removes the oldest above the limit for all', { policy: { ...policy, maxUnusedMib: 25 } }, ['b', 'c']],
    ['frees what the disk wants, the oldest first', { wantedBytes: 11 * mib }, ['b', 'c']],
    ['keeps what is used', { wantedBytes: 20 * mib, used: new Set([digestOf('b')]) }, ['c', 'd']],
    [
      'keeps what came from an index that is used',
      { wantedBytes: 99 * mib, used: new Set([digestOf('f')]) },
      none,
    ],
    [
      'keeps a pinned reference',
      { wantedBytes: 99 * mib, policy: { ...policy, pinned: ['registry.test/b:1'] } },
      ['c', 'd', 'a'],
    ],
    [
      'keeps a pinned digest',
      { wantedBytes: 99 * mib, policy: { ...policy, pinned: [digestOf('c')] } },
      ['b', 'd', 'a'],
    ],
    [
      'keeps a pinned name without tag and digest',
      { wantedBytes: 99 * mib, policy: { ...policy, pinned: ['registry.test/d'] } },
      ['b', 'c', 'a'],
    ],
    [
      'removes all where nothing may be unused',
      { policy: { ...policy, keepUnusedHours: 0 } },
      ['b', 'c', 'd', 'a'],
    ],
  ])('%s', (_, changes, wanted) => {
    expect(chooseImages(images, { ...plain, ...changes })).toEqual(wanted.map(digestOf));
  });

  it('takes a clock that went back for no reason to remove anything', () => {
    const future = [image('a', -50)];
    expect(chooseImages(future, { ...plain, policy: { ...policy, keepUnusedHours: 1 } })).toEqual([]);
  });
});

async function setUp(disk: Disk = { freeBytes: 500, totalBytes: 1000 }) {
  const home = await passableDirectory('collect');
  const clock = createFakeClock();
  const store = createFakeImageStore();
  const source = createFakeImageSource({ directory: home.path, store });
  const reference = 'registry.test/web:1';
  const digest = store.publish(reference);
  await source.pull(
    { reference: `${reference}@${digest}`, credential: '', range: { base: 1, size: 1 } },
    signal,
  );
  const used = new Map<Digest, number>();
  const asked: Digest[] = [];
  const inPools: Digest[] = [];
  let failure: DroverError | undefined;
  const collector = createImageCollector({
    images: [source],
    pools: [
      {
        pool: 'away',
        async listImages() {
          throw new DroverError('unavailable', 'the daemon is gone');
        },
      },
      { pool: 'default', listImages: async () => inPools.map((each) => ({ digest: each, bytes: 5 })) },
    ],
    instances: {
      usedImages: () => used,
      async removeImage(wanted, given) {
        asked.push(wanted);
        if (failure !== undefined) throw failure;
        return source.remove(wanted, given);
      },
    },
    policy: { keepUnusedHours: 24, maxUnusedMib: 0, pinned: [] },
    directory: home.path,
    clock,
    log: silentLog,
    readDisk: async () => disk,
  });
  return {
    clock,
    source,
    digest,
    used,
    asked,
    inPools,
    collector,
    failWith: (error: DroverError) => void (failure = error),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

describe('the collector', () => {
  it('removes an image that nobody has used for long, from pools alone, too', async () => {
    await using world = await setUp();
    world.inPools.push(digestOf('9'));
    expect(await world.collector.collect(signal)).toBe(1_000_000);
    expect(world.asked.toSorted()).toEqual([world.digest, digestOf('9')].toSorted());
    expect(await world.source.list(signal)).toEqual([]);
  });

  it('counts the time since the last instance went, however long that ran', async () => {
    await using world = await setUp();
    world.used.set(world.digest, 1);
    await world.collector.collect(signal);
    world.used.clear();
    world.clock.jump(23 * hour);
    expect(await world.collector.collect(signal)).toBe(0);
    world.clock.jump(2 * hour);
    expect(await world.collector.collect(signal)).toBe(1_000_000);
  });

  it('keeps what a start took meanwhile, and goes on with the others', async () => {
    await using world = await setUp();
    world.inPools.push(digestOf('9'));
    world.failWith(new DroverError('aborted', 'the image is taken'));
    expect(await world.collector.collect(signal)).toBe(0);
    expect(world.asked).toHaveLength(2);
  });

  it('goes on with the others when one cannot be removed', async () => {
    await using world = await setUp();
    world.inPools.push(digestOf('9'));
    world.failWith(new DroverError('unavailable', 'the pool does not answer'));
    expect(await world.collector.collect(signal)).toBe(0);
    expect(world.asked).toHaveLength(2);
  });

  it('frees a disk that is nearly full, whatever the age', async () => {
    await using world = await setUp({ freeBytes: 10, totalBytes: 1000 });
    world.used.set(world.digest, 1);
    expect(await world.collector.collect(signal)).toBe(0);
    world.used.clear();
    expect(await world.collector.collect(signal)).toBe(1_000_000);
  });

  it('comes back every ten minutes until it is stopped', async () => {
    await using world = await setUp();
    world.failWith(new DroverError('unavailable', 'not now'));
    const stop = world.collector.start();
    await world.clock.advance(9 * 60_000);
    expect(world.asked).toHaveLength(0);
    await world.clock.advance(2 * 60_000);
    await until(() => world.asked.length === 1, { what: 'a collection' });
    stop();
    expect(world.clock.waiting()).toBe(0);
  });
});
