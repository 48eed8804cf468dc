import { DroverError } from '#shared/errors.ts';
import type { VolumeClaim } from '#shared/model.ts';
import { poolName } from './assign-volumes.ts';
import { volumesOfWorkload } from './find-volumes.ts';
import { retireVolume } from './remove-volume.ts';
import type { Transaction } from './store.ts';

/**
 * Carries a change of claims over to the volumes that are there: whether they are kept, also when the claim
 * itself goes, and that what nobody has and nobody keeps goes with it. failed-precondition: a claim asks for
 * another pool than the one its volume lies in.
 */
export function putClaims(
  tx: Transaction,
  { workload, project }: { readonly workload: string; readonly project: string },
  before: readonly VolumeClaim[],
  after: readonly VolumeClaim[],
  nowMs: number,
): void {
  if (before.length === 0 && after.length === 0) return;
  for (const volume of volumesOfWorkload(tx, workload, project)) {
    const isThis = ({ name }: { readonly name: string }): boolean => name === volume.claim;
    const claim = after.find(isThis);
    if (claim !== undefined && claim.pool !== volume.pool && volume.removingSinceMs === undefined)
      throw movedClaim(volume.metadata.name, volume.pool, claim.pool);
    const keep = (claim ?? before.find(isThis))?.keep ?? volume.keep;
    const now = { ...volume, keep };
    if (keep !== volume.keep) tx.put('volume', volume.metadata.id, now, project);
    const isDropped = claim === undefined && before.some(isThis) && !keep && volume.instanceId === undefined;
    if (isDropped) retireVolume(tx, now, `${workload} claims it no more`, nowMs);
  }
}

const movedClaim = (name: string, from: string, to: string): DroverError =>
  new DroverError('failed-precondition', `volume ${name} lies in ${poolName(from)}, not in ${poolName(to)}`, {
    subject: { volume: name },
    reason: 'volume-elsewhere',
    nextStep: 'leave the pool as it is, or give the claim another name: it gets a new volume',
  });
