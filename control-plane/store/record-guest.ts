import { DroverError } from '#shared/errors.ts';
import type { ClusterGuest, InstanceId } from '#shared/model.ts';
import type { Snapshot, Transaction } from './store.ts';

/**
 * Guests of clusters that are ours: each record is written before its guest is made, so that what was begun
 * is found again. A number is reserved from then on, until nothing is left of the guest.
 */
const isReserved = ({ intent }: ClusterGuest): boolean => intent !== 'removed';

export const guestsOfCluster = (snapshot: Pick<Snapshot, 'list'>, cluster: string): ClusterGuest[] =>
  snapshot.list('cluster-guest').filter((guest) => guest.cluster === cluster);

export const guestWithVmid = (
  snapshot: Pick<Snapshot, 'list'>,
  cluster: string,
  vmid: number,
): ClusterGuest | undefined =>
  guestsOfCluster(snapshot, cluster).find((guest) => guest.vmid === vmid && isReserved(guest));

/**
 * Reserves a number for an instance. already-exists: another instance has it, or the instance has another one
 * that is not given up.
 */
export function reserveGuest(
  tx: Transaction,
  guest: Omit<ClusterGuest, 'changedAtMs'>,
  nowMs: number,
): ClusterGuest {
  const { instanceId, cluster, vmid } = guest;
  const subject = { instance: instanceId, cluster, vmid: `${vmid}` };
  const other = guestWithVmid(tx, cluster, vmid);
  if (other !== undefined && other.instanceId !== instanceId)
    throw new DroverError('already-exists', `${vmid} of ${cluster} is the instance ${other.instanceId}`, {
      subject,
      reason: 'vmid-taken',
    });
  const before = tx.get('cluster-guest', instanceId);
  if (before !== undefined && isReserved(before) && (before.vmid !== vmid || before.cluster !== cluster))
    throw new DroverError(
      'already-exists',
      `the instance ${instanceId} is ${before.vmid} of ${before.cluster}`,
      { subject, reason: 'guest-reserved' },
    );
  const record = { ...guest, changedAtMs: nowMs };
  tx.put('cluster-guest', instanceId, record);
  return record;
}

/** Forgets a guest: nothing says any more that it was ours. May be repeated. */
export function forgetGuest(tx: Transaction, instanceId: InstanceId): void {
  if (tx.get('cluster-guest', instanceId) !== undefined) tx.delete('cluster-guest', instanceId);
}
