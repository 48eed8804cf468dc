import { DroverError } from '#shared/errors.ts';
import type { ClusterGuest } from '#shared/model.ts';
import type { Snapshot, Transaction } from './store.ts';

interface Wish {
  readonly project: string;
  readonly name: string;
  /** Copies that are left. */
  readonly replicas: number;
  /** A person said that guests which were adopted are to go with their disks. */
  readonly destroyAdopted: boolean;
}

/** Guests that were there before Drover, and are copies of a workload that are wanted. */
export function adoptedGuests(
  snapshot: Pick<Snapshot, 'get' | 'instancesOfWorkload'>,
  { project, name }: Pick<Wish, 'project' | 'name'>,
): ClusterGuest[] {
  return snapshot
    .instancesOfWorkload(name, project)
    .filter(({ intent }) => intent === 'run')
    .map(({ metadata }) => snapshot.get('cluster-guest', metadata.id))
    .filter((guest) => guest !== undefined)
    .filter(({ adopted, intent }) => adopted && intent !== 'removed');
}

/** "lab/101". */
export const guestName = ({ cluster, vmid }: ClusterGuest): string => `${cluster}/${vmid}`;

/**
 * What was adopted has data that Drover did not make: it goes where somebody said just that, and in no other
 * way. Whatever else ends its instance leaves the guest as it is. failed-precondition: nobody said it.
 */
export function spareAdopted(tx: Transaction, wish: Wish, nowMs: number): void {
  const adopted = adoptedGuests(tx, wish);
  const isLess = adopted.length > wish.replicas;
  if (isLess && !wish.destroyAdopted) throw refusal(wish.name, adopted);
  for (const guest of adopted) {
    if ((guest.mayDestroy ?? false) === isLess) continue;
    const { mayDestroy: _before, ...rest } = guest;
    const next = { ...rest, ...(isLess && { mayDestroy: true }), changedAtMs: nowMs };
    tx.put('cluster-guest', guest.instanceId, next);
  }
}

function refusal(name: string, adopted: readonly ClusterGuest[]): DroverError {
  const names = adopted.map(guestName).join(', ');
  return new DroverError(
    'failed-precondition',
    `${names} of ${name} was adopted: Drover did not make it, and would remove it with its disks`,
    {
      subject: { workload: name },
      reason: 'adopted',
      nextStep: `drover release ${name} keeps it, and it runs on; --destroy-adopted removes it`,
    },
  );
}
