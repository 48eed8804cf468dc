import { DroverError } from '#shared/errors.ts';
import type { ClusterGuest } from '#shared/model.ts';
import type { Snapshot, Transaction } from './store.ts';

interface Wish {
  readonly project: string;
  readonly name: string;
  /** Copies that are wanted. */
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
 * way. Whatever else ends its instance leaves the guest as it is. failed-precondition: nobody said it; or
 * there are to be more copies than what was adopted, which nothing but itself could be made from.
 */
export function spareAdopted(tx: Transaction, wish: Wish, nowMs: number): void {
  const adopted = adoptedGuests(tx, wish);
  const before = tx.named('workload', wish.name, wish.project)?.spec.replicas ?? 0;
  if (adopted.length > 0 && wish.replicas > Math.max(before, adopted.length))
    throw refusalOfMore(wish, adopted);
  const isLess = adopted.length > wish.replicas;
  if (isLess && !wish.destroyAdopted) throw refusal(wish.name, adopted);
  for (const guest of adopted) {
    if ((guest.mayDestroy ?? false) === isLess) continue;
    const { mayDestroy: _before, ...rest } = guest;
    const next = { ...rest, ...(isLess && { mayDestroy: true }), changedAtMs: nowMs };
    tx.put('cluster-guest', guest.instanceId, next);
  }
}

/** A copy would have its fixed addresses too, and what runs in a container cannot be copied. */
function refusalOfMore({ name, replicas }: Wish, adopted: readonly ClusterGuest[]): DroverError {
  const [first] = adopted.map(guestName);
  return new DroverError(
    'failed-precondition',
    `${adopted.map(guestName).join(', ')} of ${name} was adopted: there is one of it, and not ${replicas}`,
    {
      subject: { workload: name },
      reason: 'adopted',
      nextStep: `drover clone ${first ?? name} --as NAME makes a workload that is a copy`,
    },
  );
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
