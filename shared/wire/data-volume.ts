import type { Volume as WireVolume } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Volume } from '#shared/model.ts';
import { formatMetadata } from '#shared/wire/workload.ts';

/** A data volume as people see it; `instance` is what they call the one that has it, empty: none. */
export const formatDataVolume = (volume: Volume, instance: string): WireVolume => ({
  metadata: formatMetadata(volume.metadata),
  workload: volume.workload,
  claim: volume.claim,
  slot: volume.slot,
  node: volume.node ?? '',
  instance,
  sizeMib: volume.sizeMib,
  pool: volume.pool,
  keep: volume.keep,
  removing: volume.removingSinceMs !== undefined,
});
