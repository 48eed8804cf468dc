import { rangeOf } from './sorted-table.ts';
import { keyRange, recordKey, type Replica, type Stored } from './replica.ts';
import type { Kind, Records } from './store.ts';

const retention = {
  events: 10_000,
  requestMs: 24 * 60 * 60 * 1000,
  requestsPerCaller: 10_000,
  /** Of those that have ended. */
  operations: 1000,
  releasedInstances: 10_000,
  /** Guests of clusters of which nothing is left. */
  removedGuests: 10_000,
} as const;

/** The keys of records that need not be kept any longer, at most `limit` of them. Pure. */
export function findExpired(replica: Replica, nowMs: number, limit: number): readonly string[] {
  const all = <K extends Kind>(kind: K): Stored[] => rangeOf(replica.records, ...keyRange(kind, undefined));
  const events = all('event');
  const requests = all('request');
  const released = all('released-instance');
  const gone = all('cluster-guest')
    .filter(({ record }) => (record as Records['cluster-guest']).intent === 'removed')
    .toSorted((a, b) => changedAtMs(a) - changedAtMs(b));
  const ended = all('operation').filter(({ record }) => (record as Records['operation']).state !== 'running');
  return [
    ...events.slice(0, Math.max(0, events.length - retention.events)),
    ...requests.filter(({ record }) => (record as Records['request']).atMs < nowMs - retention.requestMs),
    ...beyondTheirCallersShare(requests),
    ...ended.slice(0, Math.max(0, ended.length - retention.operations)),
    ...released.slice(0, Math.max(0, released.length - retention.releasedInstances)),
    ...gone.slice(0, Math.max(0, gone.length - retention.removedGuests)),
    ...all('join-token').filter(({ record }) => (record as Records['join-token']).expiresAtMs < nowMs),
    ...all('revoked-certificate').filter(
      ({ record }) => (record as Records['revoked-certificate']).expiresAtMs < nowMs,
    ),
  ]
    .slice(0, limit)
    .map(({ kind, project, id }) => recordKey(kind, project, id));
}

const changedAtMs = ({ record }: Stored): number => (record as Records['cluster-guest']).changedAtMs;

function beyondTheirCallersShare(requests: readonly Stored[]): Stored[] {
  if (requests.length <= retention.requestsPerCaller) return [];
  const newestFirst = requests.toSorted(
    (a, b) => (b.record as Records['request']).atMs - (a.record as Records['request']).atMs,
  );
  const seen = new Map<string, number>();
  return newestFirst.filter(({ record }) => {
    const { caller } = record as Records['request'];
    const count = (seen.get(caller) ?? 0) + 1;
    seen.set(caller, count);
    return count > retention.requestsPerCaller;
  });
}
