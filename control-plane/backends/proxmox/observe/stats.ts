import type { GuestStats, InstanceId, NodeName } from '#shared/model.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { type GuestRow, parseResources, withFigures } from './listings.ts';
import { noSuchGuest, type Orders } from '../life/orders.ts';
import type { OwnGuests } from '../life/own-guests.ts';
import { unlessAborted } from '#shared/unless-aborted.ts';

/** The list of all resources is made anew every ten seconds: asking more often tells nothing new. */
const leastIntervalMs = 10_000;
/** Less than the second between two readings of a person. */
const sharedForMs = 900;
const readWithinMs = 15_000;

/** Of all guests of ours on a node, or of one, again and again. */
export type ReadStats = (
  node: NodeName,
  instanceId: InstanceId | undefined,
  intervalMs: number,
  signal: AbortSignal,
) => AsyncIterable<GuestStats>;

/**
 * What guests use, out of the list of all resources: one request for all of them. Time of processors is told
 * there as a share, so that it is summed up from the time of the first reading on.
 */
export function createStats(
  tools: ClusterTools,
  { own, orders }: { readonly own: OwnGuests; readonly orders: Orders },
): ReadStats {
  const { api, clock, signal: closing } = tools;
  const cpu = new Map<InstanceId, { readonly atMs: number; readonly us: number }>();

  /** A share over a time is a time; before the first reading it is taken for the whole run. */
  function cpuUsOf(id: InstanceId, share: number, runS: number): number {
    const nowMs = clock.monotonicMs();
    const before = cpu.get(id);
    const overMs = before === undefined ? runS * 1000 : Math.min(nowMs - before.atMs, runS * 1000);
    const isSameRun = before !== undefined && runS * 1000 >= nowMs - before.atMs;
    const us = Math.round((isSameRun ? before.us : 0) + share * overMs * 1000);
    cpu.set(id, { atMs: nowMs, us });
    return us;
  }

  let last: { readonly atMs: number; readonly rows: Promise<readonly GuestRow[]> } | undefined;

  /** Of all nodes at once: who asks for each of them in turn gets one answer. */
  function rows(): Promise<readonly GuestRow[]> {
    const nowMs = clock.monotonicMs();
    if (last !== undefined && nowMs - last.atMs < sharedForMs) return last.rows;
    const options = { signal: closing, timeoutMs: readWithinMs };
    const answer = api.call('GET /cluster/resources', { type: 'vm' }, options);
    const rowsIn = (found: unknown) => withFigures(parseResources(found).guests, tools.memory.guests);
    const now = { atMs: nowMs, rows: answer.then(rowsIn) };
    last = now;
    now.rows.catch(() => {
      if (last === now) last = undefined;
    });
    return now.rows;
  }

  async function read(ids: ReadonlySet<InstanceId>, signal: AbortSignal): Promise<GuestStats[]> {
    const guests = await unlessAborted(rows(), signal);
    const byVmid = new Map(guests.map((row) => [row.vmid, row]));
    return [...ids].flatMap((instanceId) => {
      const { sight } = own.of(instanceId);
      const row = byVmid.get(sight.vmid);
      if (row === undefined || sight.status !== 'running') return [];
      return [
        {
          instanceId,
          atMs: Math.round(clock.nowMs()),
          cpuUs: cpuUsOf(instanceId, row.cpuShare * row.cpuCount, row.uptimeS),
          memoryBytes: Math.round(row.memoryUsedBytes),
          pids: 0,
          receivedBytes: row.receivedBytes,
          sentBytes: row.sentBytes,
        },
      ];
    });
  }

  return async function* stats(node, instanceId, intervalMs, signal) {
    orders.reach(node);
    if (instanceId !== undefined) orders.record({ instanceId });
    while (!signal.aborted) {
      const all = own.records().filter((record) => own.nodeOf(record) === node);
      const ids = new Set(instanceId === undefined ? all.map((each) => each.instanceId) : [instanceId]);
      if (instanceId !== undefined && own.record(instanceId) === undefined) throw noSuchGuest(instanceId);
      yield* await read(ids, signal);
      if (intervalMs === 0) return;
      await clock.sleep(Math.max(intervalMs, leastIntervalMs), signal).catch(() => undefined);
    }
  };
}
