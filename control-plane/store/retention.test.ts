import { describe, expect, it } from 'vitest';
import { emptyReplica, putRecord, type Replica, recordKey } from './replica.ts';
import { findExpired } from './retention.ts';
import type { Kind, Records } from './store.ts';

const dayMs = 24 * 60 * 60 * 1000;
const nowMs = 100 * dayMs;

type Row = readonly [kind: Kind, id: string, record: unknown];

const replicaOf = (rows: readonly Row[]): Replica =>
  rows.reduce(
    (replica, [kind, id, record]) =>
      putRecord(replica, recordKey(kind, 'default', id), {
        kind,
        project: 'default',
        id,
        record: record as Records[Kind],
        revision: 1,
      }),
    emptyReplica,
  );
const many = (count: number, row: (place: string) => Row): Row[] =>
  Array.from({ length: count }, (_, place) => row(String(place).padStart(6, '0')));

const rows = [
  {
    title: 'keeps an answer for a day',
    records: [['request', 'a', { caller: 'c', atMs: nowMs - dayMs }]],
    gone: [],
  },
  {
    title: 'forgets an older answer',
    records: [['request', 'a', { caller: 'c', atMs: nowMs - dayMs - 1 }]],
    gone: ['request/default/a'],
  },
  {
    title: "forgets the oldest answers of a caller with more than 10,000, and nobody else's",
    records: [
      ...many(10_001, (place) => [
        'request',
        place,
        { caller: 'busy', atMs: nowMs - 20_000 + Number(place) },
      ]),
      ['request', 'x', { caller: 'quiet', atMs: nowMs - 30_000 }],
    ],
    gone: ['request/default/000000'],
  },
  {
    title: 'forgets the oldest of more than 10,000 events',
    records: many(10_002, (place) => ['event', place, {}]),
    gone: ['event/default/000000', 'event/default/000001'],
  },
  {
    title: 'forgets the oldest of more than 10,000 instances of lost nodes',
    records: many(10_001, (place) => ['released-instance', place, {}]),
    gone: ['released-instance/default/000000'],
  },
  {
    title: 'forgets a token that has expired',
    records: [
      ['join-token', 'a', { expiresAtMs: nowMs - 1 }],
      ['join-token', 'b', { expiresAtMs: nowMs }],
    ],
    gone: ['join-token/default/a'],
  },
  {
    title: 'forgets a revoked certificate that has ended by itself',
    records: [['revoked-certificate', 'a', { expiresAtMs: nowMs - 1 }]],
    gone: ['revoked-certificate/default/a'],
  },
] satisfies readonly { title: string; records: Row[]; gone: string[] }[];

describe('retention', () => {
  it.each(rows)('$title', ({ records, gone }) => {
    expect(findExpired(replicaOf(records), nowMs, 100)).toEqual(gone);
  });
});
