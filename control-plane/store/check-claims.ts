import { DroverError } from '#shared/errors.ts';
import type { VolumeClaim } from '#shared/model.ts';
import { poolName } from './assign-volumes.ts';
import { volumesOfWorkload } from './find-volumes.ts';
import type { Snapshot } from './store.ts';

/**
 * Whether a workload may claim this of the volumes that are there. failed-precondition: a claim asks for
 * another pool than the one its volume lies in. Volumes are not written for it: there may be thousands, and a
 * transaction has at most 128 operations. What is kept is the workload's to say, see isKept.
 */
export function checkClaims(
  snapshot: Pick<Snapshot, 'list'>,
  { workload, project }: { readonly workload: string; readonly project: string },
  claims: readonly VolumeClaim[],
): void {
  if (claims.length === 0) return;
  for (const volume of volumesOfWorkload(snapshot, workload, project)) {
    const claim = claims.find(({ name }) => name === volume.claim);
    if (claim !== undefined && claim.pool !== volume.pool && volume.removingSinceMs === undefined)
      throw movedClaim(volume.metadata.name, volume.pool, claim.pool);
  }
}

const movedClaim = (name: string, from: string, to: string): DroverError =>
  new DroverError('failed-precondition', `volume ${name} lies in ${poolName(from)}, not in ${poolName(to)}`, {
    subject: { volume: name },
    reason: 'volume-elsewhere',
    nextStep: 'leave the pool as it is, or give the claim another name: it gets a new volume',
  });
