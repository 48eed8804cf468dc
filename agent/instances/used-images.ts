import { DroverError, isKind } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import { checkNoneLost } from './data-volumes.ts';
import type { ImagesInUse } from './images-in-use.ts';
import type { InstanceRecord } from './record.ts';
import type { Workshop } from './tools.ts';

/** How many instances each image is used by: the image that was named, and the platform's that came of it. */
export function usedImages(shop: Workshop): Map<Digest, number> {
  const counts = new Map<Digest, number>();
  for (const record of shop.heldRecords()) {
    for (const digest of digestsOf(record, shop.imagesInUse)) {
      counts.set(digest, (counts.get(digest) ?? 0) + 1);
    }
  }
  return counts;
}

function digestsOf({ id, spec, imageDigest }: InstanceRecord, use: ImagesInUse): Set<Digest> {
  const named = /@(sha256:[0-9a-f]{64})$/.exec(spec.image)?.[1] as Digest | undefined;
  const all = [named, imageDigest, use.takenBy(id)];
  return new Set(all.filter((digest) => digest !== undefined));
}

/** Bytes that are free again. failed-precondition while an instance is made from it. */
export async function removeImage(shop: Workshop, digest: Digest, signal: AbortSignal): Promise<number> {
  const usedBy = (): number => usedImages(shop).get(digest) ?? 0;
  const count = usedBy();
  if (count > 0) {
    const users = `${count} ${count === 1 ? 'instance is' : 'instances are'} made from it`;
    throw new DroverError('failed-precondition', `image ${digest} stays: ${users}`, {
      subject: { image: digest },
      nextStep: 'remove these instances first',
    });
  }
  checkNoneLost(shop, `image ${digest}`);
  return shop.imagesInUse.whileRemoving(digest, async () => {
    const away: unknown[] = [];
    for (const pool of shop.pools.all) {
      try {
        await pool.removeImage(digest, signal);
      } catch (error) {
        // Its copy goes once the pool is back: it is listed there.
        if (!isKind(error, 'unavailable')) throw error;
        away.push(error);
      }
    }
    let freed = 0;
    for (const source of shop.images)
      freed += await source.remove(digest, signal, () => usedBy() > 0 || shop.lostInstances().length > 0);
    if (away.length > 0) throw away[0];
    return freed;
  });
}
