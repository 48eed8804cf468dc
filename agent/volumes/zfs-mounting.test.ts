import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { Digest, InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { openZfsHost, type ZfsHost } from '../../test/zfs-host.ts';
import { openZfsWorld } from '../../test/zfs-world.ts';

const atOnce = 8;
const rounds = 4;
const soon = (): AbortSignal => systemClock.timeout(20_000);

/** The same host, and how many of its tools ever mounted something at once. */
function counting(host: ZfsHost): { readonly host: ZfsHost; most(): number } {
  let now = 0;
  let most = 0;
  const run: ZfsHost['run'] = async (tool, args, options) => {
    if (tool !== 'zfs' || !['clone', 'mount'].includes(args[0] ?? '')) return host.run(tool, args, options);
    now += 1;
    most = Math.max(most, now);
    return host.run(tool, args, options).finally(() => (now -= 1));
  };
  return { host: { ...host, run }, most: () => most };
}

it('mounts one root at a time on zfs-fuse, also of two pools', { timeout: 60_000 }, async () => {
  await using host = await openZfsHost();
  const counted = counting(host);
  await using one = await openZfsWorld(counted.host);
  await using other = await openZfsWorld(counted.host);
  const rootfs = path.join(one.directory, 'image');
  await mkdir(rootfs);
  const { range } = one;
  const image = { digest: `sha256:${'a'.repeat(64)}` as Digest, rootfs, range };
  for (let round = 0; round < rounds; round += 1) {
    const ends = Array.from({ length: atOnce }, async (_, place) => {
      const { driver } = place % 2 === 0 ? one : other;
      const id = systemRandom.uuidV7() as InstanceId;
      await driver.prepare({ id, image, range, diskMib: 0 }, soon());
      await driver.remove(id, soon());
    });
    await Promise.all(ends);
  }
  expect(counted.most()).toBe(1);
});
