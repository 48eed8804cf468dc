import type { Digest, NodeVolume, VolumeId } from '#shared/model.ts';
import type { IdRange } from '../volumes/volume-driver.ts';
import { listVolumes, removeVolume } from './data-volumes.ts';
import type { Fleet } from './fleet.ts';
import { usualImageRange } from './housing.ts';
import { checkFleet } from './orders.ts';
import type { Workshop } from './tools.ts';
import { removeImage, usedImages } from './used-images.ts';

/** What outlives instances: data volumes and images. */
export interface NodeStorage {
  /** All data volumes of the node. */
  volumes(signal: AbortSignal): AsyncIterable<NodeVolume>;
  /** Succeeds when there is none. failed-precondition: an instance has it; unknown-fleet; stale-epoch. */
  removeVolume(
    from: { readonly fleetId: string; readonly fleetEpoch: number },
    id: VolumeId,
    signal: AbortSignal,
  ): Promise<void>;
  /** How many instances each image is used by; the others may be removed. */
  usedImages(): ReadonlyMap<Digest, number>;
  /** From all sources and pools; gives the bytes that are free again. failed-precondition: it is used. */
  removeImage(digest: Digest, signal: AbortSignal): Promise<number>;
  /** What images are unpacked for that are fetched before an instance asks for them. */
  imageRange(): Promise<IdRange>;
}

export const createNodeStorage = (shop: Workshop, fleet: Fleet): NodeStorage => ({
  volumes: (signal) => listVolumes(shop, signal),
  async removeVolume(from, id, signal) {
    checkFleet(from, fleet.seen());
    await fleet.raise(from.fleetEpoch);
    await removeVolume(shop, id, signal);
  },
  usedImages: () => usedImages(shop),
  removeImage: (digest, signal) => removeImage(shop, digest, signal),
  imageRange: () => usualImageRange(shop),
});
