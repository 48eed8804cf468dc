import { DroverError } from '#shared/errors.ts';
import type { Digest, InstanceId } from '#shared/model.ts';

/** Which images roots are made from, while they are made. What is done is in the records. */
export interface ImagesInUse {
  /**
   * From here until it is in the record, for the root that is being made. aborted: the image is being
   * removed.
   */
  take(id: InstanceId, digest: Digest): void;
  takenBy(id: InstanceId): Digest | undefined;
  free(id: InstanceId): void;
  /** Nobody can take it meanwhile. */
  whileRemoving<T>(digest: Digest, work: () => Promise<T>): Promise<T>;
}

export function createImagesInUse(): ImagesInUse {
  const taken = new Map<InstanceId, Digest>();
  const removing = new Set<Digest>();
  return {
    take(id, digest) {
      if (removing.has(digest)) throw new DroverError('aborted', `image ${digest} is being removed`);
      taken.set(id, digest);
    },
    takenBy: (id) => taken.get(id),
    free: (id) => void taken.delete(id),
    async whileRemoving(digest, work) {
      removing.add(digest);
      try {
        return await work();
      } finally {
        removing.delete(digest);
      }
    },
  };
}
