import { statfs } from 'node:fs/promises';
import type { Clock } from '#shared/clock.ts';
import { asDroverError, isKind } from '#shared/errors.ts';
import type { Log } from '#shared/log.ts';
import type { Digest, Image } from '#shared/model.ts';
import type { VolumeDriver } from '../volumes/volume-driver.ts';
import type { ImageSource } from './image-source.ts';

/** How long images stay that no instance is made from. */
export interface ImagePolicy {
  readonly keepUnusedHours: number;
  /** Of all unused images together; the oldest go above it. Zero: no limit. */
  readonly maxUnusedMib: number;
  /** References and digests that always stay. */
  readonly pinned: readonly string[];
}

/** One image with all its copies on the node. */
export interface KeptImage {
  readonly digest: Digest;
  readonly references: readonly string[];
  readonly bytes: number;
  /** Zero: nobody knows. */
  readonly lastUsedAtMs: number;
}

export interface Collection {
  /** The wall clock: a jump costs a pull, never an instance. */
  readonly nowMs: number;
  /** Digests that instances are made from: of an image, or of an index that one came from. */
  readonly used: ReadonlySet<Digest>;
  readonly policy: ImagePolicy;
  /** Bytes that the disk wants freed. Zero: it has room. */
  readonly wantedBytes: number;
}

const digestIn = (reference: string): string => reference.split('@')[1] ?? '';

/** Whether the policy keeps the image: by its digest, or by a reference with or without one. */
export const isPinned = (
  { digest, references }: Pick<Image, 'digest' | 'references'>,
  pinned: readonly string[],
): boolean =>
  pinned.some(
    (wanted) =>
      wanted === digest ||
      references.some((reference) =>
        [reference, reference.split('@')[0], digestIn(reference)].includes(wanted),
      ),
  );

/** Whether an instance is made from it, or is about to be. */
export const isUsed = (
  { digest, references }: Pick<Image, 'digest' | 'references'>,
  used: { has(digest: Digest): boolean },
): boolean => used.has(digest) || references.some((reference) => used.has(digestIn(reference) as Digest));

/** What to remove, in this order. Pure. What is used or pinned is never among it. */
export function chooseImages(images: readonly KeptImage[], collection: Collection): Digest[] {
  const { nowMs, used, policy, wantedBytes } = collection;
  const unused = images
    .filter((image) => !isUsed(image, used) && !isPinned(image, policy.pinned))
    .toSorted((one, other) => one.lastUsedAtMs - other.lastUsedAtMs);
  const maxUnusedBytes = policy.maxUnusedMib === 0 ? Infinity : policy.maxUnusedMib * 1024 ** 2;
  let left = unused.reduce((sum, { bytes }) => sum + bytes, 0);
  let freed = 0;
  const chosen: Digest[] = [];
  for (const { digest, bytes, lastUsedAtMs } of unused) {
    const isOld = nowMs - lastUsedAtMs > policy.keepUnusedHours * 3_600_000;
    if (!isOld && left <= maxUnusedBytes && freed >= wantedBytes) break;
    chosen.push(digest);
    left -= bytes;
    freed += bytes;
  }
  return chosen;
}

type ImagePool = Pick<VolumeDriver, 'pool' | 'listImages'>;
type PoolImages = Awaited<ReturnType<VolumeDriver['listImages']>>;

export interface ImageCollectorOptions {
  readonly images: readonly ImageSource[];
  readonly pools: readonly ImagePool[];
  /** From Instances: removeImage refuses with failed-precondition or aborted what a start has taken. */
  readonly instances: {
    usedImages(): ReadonlyMap<Digest, number>;
    removeImage(digest: Digest, signal: AbortSignal): Promise<number>;
  };
  readonly policy: ImagePolicy;
  /** Whose disk must have room. */
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  /** In place of the disk's own, where it is given. */
  readonly readDisk?: (directory: string) => Promise<Disk>;
}

export interface Disk {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export interface ImageCollector {
  /** Removes what the policy and the disk do not let stay. Gives the bytes that are free again. */
  collect(signal: AbortSignal): Promise<number>;
  /** From now on again and again; the returned function ends it. */
  start(): () => void;
}

const intervalMs = 10 * 60_000;
const collectMs = 30 * 60_000;
/** Of the whole disk; below it unused images go, the oldest first. */
const freeShare = 0.1;

export function createImageCollector(options: ImageCollectorOptions): ImageCollector {
  const { images, pools, instances, policy, directory, clock, log, readDisk = diskOf } = options;
  // An image is touched when an instance starts from it, and its instance may run for months after that.
  const seenUsedAtMs = new Map<Digest, number>();

  async function kept(signal: AbortSignal): Promise<KeptImage[]> {
    const found = new Map<Digest, KeptImage>();
    for (const source of images) {
      for (const { digest, references, sizeBytes, lastUsedAtMs } of await source.list(signal)) {
        found.set(digest, { digest, references, bytes: sizeBytes, lastUsedAtMs });
      }
    }
    for (const pool of pools) {
      for (const { digest, bytes } of await listed(pool, signal)) {
        const known = found.get(digest) ?? { digest, references: [], bytes: 0, lastUsedAtMs: 0 };
        found.set(digest, { ...known, bytes: known.bytes + bytes });
      }
    }
    return [...found.values()];
  }

  /** Those of a pool that is away are collected once it is back. */
  async function listed(pool: ImagePool, signal: AbortSignal): Promise<PoolImages> {
    try {
      return await pool.listImages(signal);
    } catch (err) {
      log.warn({ event: 'pool.unlisted', pool: pool.pool, err });
      return [];
    }
  }

  function noteUse(all: readonly KeptImage[], used: ReadonlySet<Digest>, nowMs: number): KeptImage[] {
    for (const image of all) if (isUsed(image, used)) seenUsedAtMs.set(image.digest, nowMs);
    return all.map((image) => ({
      ...image,
      lastUsedAtMs: Math.max(image.lastUsedAtMs, seenUsedAtMs.get(image.digest) ?? 0),
    }));
  }

  async function removeOne(digest: Digest, signal: AbortSignal): Promise<number> {
    try {
      const freedBytes = await instances.removeImage(digest, signal);
      seenUsedAtMs.delete(digest);
      log.info({ event: 'image.collected', digest, freedBytes });
      return freedBytes;
    } catch (error) {
      // A start took it meanwhile, or a root in a pool stands on it: it stays, and the others go.
      const isRefused = isKind(error, 'failed-precondition', 'aborted');
      log[isRefused ? 'debug' : 'warn']({ event: 'image.kept', digest, err: error });
      return 0;
    }
  }

  async function collect(signal: AbortSignal): Promise<number> {
    const listed = await kept(signal);
    const used = new Set(instances.usedImages().keys());
    const nowMs = clock.nowMs();
    const { freeBytes, totalBytes } = await readDisk(directory);
    const wantedBytes = Math.max(0, totalBytes * freeShare - freeBytes);
    const chosen = chooseImages(noteUse(listed, used, nowMs), { nowMs, used, policy, wantedBytes });
    let freed = 0;
    for (const digest of chosen) freed += await removeOne(digest, signal);
    return freed;
  }

  return {
    collect,
    start() {
      const ending = new AbortController();
      let underWay = false;
      const stop = clock.every(intervalMs, () => {
        if (underWay) return;
        underWay = true;
        collect(clock.timeout(collectMs, ending.signal))
          .catch((error: unknown) => {
            if (!ending.signal.aborted) log.warn({ event: 'collection.failed', err: asDroverError(error) });
          })
          .finally(() => {
            underWay = false;
          });
      });
      return () => {
        stop();
        ending.abort();
      };
    },
  };
}

async function diskOf(directory: string): Promise<Disk> {
  const { bavail, blocks, bsize } = await statfs(directory);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}
