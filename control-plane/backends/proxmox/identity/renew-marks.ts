import type { ClusterGuest, InstanceId } from '#shared/model.ts';
import { isBeingAdopted } from '../../../store/put-cluster-guest.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { MarkAnew } from './mark-anew.ts';
import { epochTagOf } from './marks.ts';
import type { GuestRow } from '../observe/listings.ts';
import type { OwnGuests } from '../life/own-guests.ts';

/** Guests that are marked anew at the same time. */
const atOnce = 4;
/** The list of all guests is some seconds late, and what could not be marked is not tried all the time. */
const againAfterMs = 60_000;

/**
 * After the epoch of the fleet rose: writes it to every guest of ours that the list shows without it, some at
 * a time. Where all bear it, as they do for good then, nothing is asked.
 */
export function createRenewal(
  tools: ClusterTools,
  { own, markAnew }: { readonly own: OwnGuests; readonly markAnew: MarkAnew },
): (rows: readonly GuestRow[]) => void {
  const { clock, signal, log, memory, fleetEpoch, name: cluster } = tools;
  const tag = epochTagOf(fleetEpoch);
  const notBeforeMs = new Map<InstanceId, number>();
  let isRunning = false;

  async function mark(instance: InstanceId): Promise<void> {
    try {
      await markAnew(instance);
    } catch (err) {
      if (!signal.aborted) log.warn({ event: 'guest.unmarked', cluster, instance, err });
    }
  }

  async function markAll(records: readonly ClusterGuest[]): Promise<void> {
    const queue = records.values();
    const markers = Array.from({ length: atOnce }, async () => {
      for (const { instanceId } of queue) if (memory.heldBy === undefined) await mark(instanceId);
    });
    await Promise.all(markers);
  }

  return (rows) => {
    if (tag === undefined || isRunning || memory.heldBy !== undefined || !memory.quorate) return;
    const nowMs = clock.monotonicMs();
    for (const [id, atMs] of notBeforeMs) if (atMs <= nowMs) notBeforeMs.delete(id);
    const bearing = new Set(rows.filter(({ tags }) => tags.includes(tag)).map(({ vmid }) => vmid));
    const due = own.records().filter((record) => {
      const { sight } = own.of(record.instanceId);
      if (record.made !== true || isBeingAdopted(record) || sight.presence !== 'present') return false;
      return !bearing.has(sight.vmid) && !notBeforeMs.has(record.instanceId);
    });
    if (due.length === 0) return;
    for (const { instanceId } of due) notBeforeMs.set(instanceId, nowMs + againAfterMs);
    isRunning = true;
    void markAll(due).finally(() => {
      isRunning = false;
    });
  };
}
