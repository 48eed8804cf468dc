import { DroverError } from '#shared/errors.ts';
import type { ClusterApi } from '../cluster-api.ts';
import type { ClusterMemory } from '../cluster-memory.ts';
import { numberOf } from '../guests/properties.ts';

export const leastVmid = 100;
const greatestVmid = 999_999_999;
const hintTimeoutMs = 5000;

/** What the cluster would take, of the range that it was given; it reserves nothing. NaN: it does not say. */
export async function nextVmid(api: ClusterApi, signal: AbortSignal): Promise<number> {
  try {
    return numberOf(await api.call('GET /cluster/nextid', {}, { signal, timeoutMs: hintTimeoutMs }));
  } catch (error) {
    if (signal.aborted) throw error;
    return Number.NaN;
  }
}

/**
 * A number for a new guest: the first from the hint on that no guest has and nothing of ours has claimed. The
 * cluster's own next number reserves nothing, so it is a hint alone. resource-exhausted.
 */
export function chooseVmid(hint: number, isTaken: (vmid: number) => boolean): number {
  const first = Number.isSafeInteger(hint) && hint >= leastVmid && hint <= greatestVmid ? hint : leastVmid;
  for (let vmid = first; vmid <= greatestVmid; vmid += 1) if (!isTaken(vmid)) return vmid;
  for (let vmid = leastVmid; vmid < first; vmid += 1) if (!isTaken(vmid)) return vmid;
  throw new DroverError('resource-exhausted', 'wanted a free number for a guest, found all taken');
}

/** As chooseVmid, for a transaction that knows what is claimed. */
export function vmidChooser({ guests }: Pick<ClusterMemory, 'guests'>, hint: number) {
  const taken = new Set(guests.map(({ vmid }) => vmid));
  return (claimed: ReadonlySet<number>): number =>
    chooseVmid(hint, (vmid) => claimed.has(vmid) || taken.has(vmid));
}
