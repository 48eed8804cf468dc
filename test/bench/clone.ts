/**
 * A root from an image that the pool has, as a share of a bare `zfs clone` and `zfs mount` of the same
 * snapshot; and whether its size matters. On zfs-fuse, on a pool in a file.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Digest, InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import type { UnpackedImage } from '../../agent/volumes/volume-driver.ts';
import { openZfsHost, type ZfsHost } from '../zfs-host.ts';
import { openZfsWorld, type ZfsWorld } from '../zfs-world.ts';
import { type Figure, median } from './parts/figure.ts';

const rounds = 30;
const warmUps = 3;
const mib = 1024 * 1024;
const { signal } = new AbortController();
const newId = (): InstanceId => systemRandom.uuidV7() as InstanceId;

async function makeImage(world: ZfsWorld, sizeMib: number): Promise<UnpackedImage> {
  const rootfs = path.join(world.directory, `image-${sizeMib}`);
  await mkdir(rootfs);
  const fileMib = Math.min(sizeMib, 16);
  for (let file = 0; file * fileMib < sizeMib; file += 1)
    await writeFile(path.join(rootfs, `file-${file}`), systemRandom.bytes(fileMib * mib));
  const digest = `sha256:${sizeMib.toString(16).padStart(64, '0')}` as Digest;
  return { digest, rootfs, range: world.range };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

/** From the order to a mounted root. */
async function driverMs(world: ZfsWorld, image: UnpackedImage): Promise<number> {
  const id = newId();
  const tookMs = await timed(() =>
    world.driver.prepare({ id, image, range: world.range, diskMib: 0 }, signal),
  );
  await world.driver.remove(id, signal);
  return tookMs;
}

/** The same through the same door: what the tool itself takes. zfs-fuse mounts what it clones. */
async function bareMs(host: ZfsHost, world: ZfsWorld, image: UnpackedImage): Promise<number> {
  const id = newId();
  const hex = image.digest.slice('sha256:'.length);
  const name = `${world.parent}/roots/${id}`;
  const place = path.join(world.mountRoot, 'roots', id);
  const from = `${world.parent}/images/${hex}-${image.range.base}@ready`;
  const options = ['-o', `mountpoint=${place}`, '-o', 'canmount=noauto'];
  const tookMs = await timed(() => host.run('zfs', ['clone', ...options, from, name]));
  await host.run('umount', [place]);
  while ((await host.run('zfs', ['destroy', name])).exitCode !== 0) await host.run('sleep', ['0.1']);
  await host.run('rmdir', [place]);
  return tookMs;
}

const round2 = (value: number): number => Math.round(value * 100) / 100;

export async function run(): Promise<readonly Figure[]> {
  await using host = await openZfsHost({ sizeMib: 2048 });
  await using world = await openZfsWorld(host);
  const [small, large] = [await makeImage(world, 1), await makeImage(world, 1024)];
  const firstMs = await timed(() => driverMs(world, large));
  await driverMs(world, small);
  const smallMs: number[] = [];
  const largeMs: number[] = [];
  const toolMs: number[] = [];
  // In turn, so that a host that changes its pace changes it for all.
  for (let round = -warmUps; round < rounds; round += 1) {
    const [one, other, bare] = [
      await driverMs(world, small),
      await driverMs(world, large),
      await bareMs(host, world, large),
    ];
    if (round < 0) continue;
    smallMs.push(one);
    largeMs.push(other);
    toolMs.push(bare);
  }
  const [small50, large50, bare50] = [median(smallMs), median(largeMs), median(toolMs)];
  return [
    { name: 'ratio', value: round2(large50 / bare50), unit: 'driver/bare', goal: { atMost: 2 } },
    { name: 'size-ratio', value: round2(large50 / small50), unit: '1 GiB/1 MiB', goal: { atMost: 1.2 } },
    { name: 'clone-1mib', value: round2(small50), unit: 'ms' },
    { name: 'clone-1gib', value: round2(large50), unit: 'ms' },
    { name: 'bare-clone', value: round2(bare50), unit: 'ms' },
    { name: 'first-root-1gib', value: Math.round(firstMs), unit: 'ms' },
  ];
}
