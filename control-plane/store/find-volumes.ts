import type { Volume } from '#shared/model.ts';
import type { Snapshot } from './store.ts';

/** By slot, then by claim. */
export const volumesOfWorkload = (
  snapshot: Pick<Snapshot, 'list'>,
  workload: string,
  project: string,
): readonly Volume[] =>
  snapshot
    .list('volume', project)
    .filter((volume) => volume.workload === workload)
    .sort((a, b) => a.slot - b.slot || (a.claim < b.claim ? -1 : 1));
