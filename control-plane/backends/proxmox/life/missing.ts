import { isKind } from '#shared/errors.ts';
import type { ClusterGuest, InstanceId } from '#shared/model.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { FindMarked } from '../identity/find-marked.ts';
import type { Look } from './look.ts';
import type { MarkAnew } from '../identity/mark-anew.ts';
import type { OwnGuests } from './own-guests.ts';

/** A credential that lost its rights sees no guest at all: not all of them are asked for at once then. */
const mostAtOnce = 10;

export interface Missing {
  /**
   * Looks for guests of ours that a whole list does not have, or has without their tag: only their
   * configuration says that they are gone. Of many, those first that were not looked at for longest.
   */
  lookAt(records: readonly ClusterGuest[]): Promise<void>;
}

export function createMissing(
  { clock, signal, log, name: cluster }: ClusterTools,
  parts: {
    readonly own: OwnGuests;
    readonly look: Look;
    readonly findMarked: FindMarked;
    readonly markAnew: MarkAnew;
  },
): Missing {
  const { own, look, findMarked, markAnew } = parts;
  const lookedAtMs = new Map<InstanceId, number>();
  const underWay = new Set<InstanceId>();

  /** Its tag is what it is known by at a glance. Nobody waits for that: the guest may be busy for long. */
  async function markAgain(instanceId: InstanceId): Promise<void> {
    if (underWay.has(instanceId)) return;
    underWay.add(instanceId);
    try {
      await markAnew(instanceId);
    } catch (err) {
      if (!signal.aborted) log.debug({ event: 'guest.unmarked', cluster, instance: instanceId, err });
    } finally {
      underWay.delete(instanceId);
    }
  }

  /** Its number is nobody's, or somebody else's: it may have been restored under another. */
  async function lookElsewhere(record: ClusterGuest): Promise<void> {
    const { instanceId } = record;
    try {
      const found = await findMarked.elsewhere(record, signal);
      if (found === undefined) return own.see(instanceId, { presence: 'absent', status: 'unknown' });
      await look.status(found, signal);
    } catch (err) {
      // Which of several it is, or what one is, cannot be known: it is not gone.
      if (!signal.aborted) log.debug({ event: 'guest.unseen', cluster, instance: instanceId, err });
    }
  }

  async function lookAgain(record: ClusterGuest): Promise<void> {
    const { instanceId } = record;
    lookedAtMs.set(instanceId, clock.monotonicMs());
    try {
      const found = await look.config(record, signal);
      await look.status({ ...record, vmid: found.place.vmid }, signal);
      void markAgain(instanceId);
    } catch (err) {
      if (isKind(err, 'not-found')) await lookElsewhere(record);
      else if (!signal.aborted) log.debug({ event: 'guest.unseen', cluster, instance: instanceId, err });
    }
  }

  return {
    async lookAt(records) {
      if (records.length === 0) return lookedAtMs.clear();
      const last = ({ instanceId }: ClusterGuest): number => lookedAtMs.get(instanceId) ?? 0;
      const some = records.toSorted((a, b) => last(a) - last(b)).slice(0, mostAtOnce);
      await Promise.all(some.map(lookAgain));
    },
  };
}
