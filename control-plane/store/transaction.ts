import type { FleetEvent } from '#shared/model.ts';
import { type Compare, type JournalWrite, journalLimits } from './journal.ts';
import {
  createSnapshot,
  defaultProject,
  deleteRecord,
  heldRange,
  keyRange,
  parseKey,
  putRecord,
  type Replica,
  recordKey,
  type Stored,
  stampRevision,
} from './replica.ts';
import { getFrom } from './sorted-table.ts';
import type { Kind, Records, Snapshot, StoreChange, Transaction } from './store.ts';

/** What one run of a body read and wrote. */
export interface TransactionRun {
  readonly transaction: Transaction;
  hasWritten(): boolean;
  /** The replica as it is once this is durable. */
  replica(): Replica;
  compares(): readonly Compare[];
  writes(): readonly JournalWrite[];
  changes(): readonly StoreChange[];
}

/** Reads are noted as the keys and ranges that were looked at, whatever was found there. */
interface Reads {
  readonly keys: Set<string>;
  readonly ranges: Map<string, readonly [start: string, end: string]>;
}

function noteRange(reads: Reads, kind: Kind, project: string | undefined): void {
  const range = keyRange(kind, project);
  reads.ranges.set(range[0], range);
}

/** Snapshot reads of what the transaction sees, its own writes included. */
function notedReads(reads: Reads, current: () => Snapshot): Omit<Snapshot, 'revision'> {
  return {
    get: (kind, id, project = defaultProject) => {
      reads.keys.add(recordKey(kind, project, id));
      return current().get(kind, id, project);
    },
    named: (kind, name, project = defaultProject) => {
      const found = current().named(kind, name, project);
      // That a name is free is a fact about all of the kind; that it is taken is one about its owner.
      if (found === undefined) noteRange(reads, kind, project);
      else reads.keys.add(recordKey(kind, project, found.metadata.id));
      return found;
    },
    list: (kind, project) => {
      noteRange(reads, kind, project);
      return current().list(kind, project);
    },
    instancesOfWorkload: (workload, project = defaultProject) => {
      noteRange(reads, 'instance', project);
      return current().instancesOfWorkload(workload, project);
    },
    instancesOnNode: (node) => {
      noteRange(reads, 'instance', undefined);
      return current().instancesOnNode(node);
    },
    heldAddresses: (network, family, project = defaultProject) => {
      const range = heldRange(network, family, project);
      reads.ranges.set(range[0], range);
      return current().heldAddresses(network, family, project);
    },
  };
}

/**
 * The reads as compares; where there are too many keys for a commit, the ranges they are in stand for them.
 */
function toCompares(reads: Reads, base: Replica, writeCount: number): Compare[] {
  const isTooMany = reads.keys.size + reads.ranges.size + writeCount > journalLimits.operationsPerCommit;
  const { keys, ranges } = isTooMany ? widen(reads) : reads;
  const compares: Compare[] = [];
  for (const key of keys) compares.push({ key, modRevision: getFrom(base.records, key)?.revision ?? 0 });
  for (const [start, end] of ranges.values()) {
    compares.push({ start, end, notAfterRevision: base.revision });
  }
  return compares;
}

function widen({ keys, ranges }: Reads): Reads {
  const kinds = Array.from(keys, (key) => keyRange(parseKey(key).kind, undefined));
  return {
    keys: new Set(),
    ranges: new Map([...ranges, ...kinds.map((range) => [range[0], range] as const)]),
  };
}

const toWrite = (key: string, stored: Stored | undefined): JournalWrite =>
  stored === undefined ? { kind: 'delete', key } : { kind: 'put', key, value: JSON.stringify(stored.record) };

/** One change as readers see it; nothing when the key was not there and is not there. */
function toChange(revision: number, before: Stored | undefined, after: Stored | undefined) {
  const known = after ?? before;
  if (known === undefined) return [];
  const { kind, project, id } = known;
  const change = { revision, kind, project, id, record: after?.record, before: before?.record };
  return [change as StoreChange];
}

export const changesBetween = (before: Replica, after: Replica, keys: Iterable<string>): StoreChange[] =>
  [...keys].flatMap((key) =>
    toChange(after.revision, getFrom(before.records, key), getFrom(after.records, key)),
  );

const eventId = (revision: number, place: number): string =>
  `${String(revision).padStart(16, '0')}-${String(place).padStart(3, '0')}`;

/** A run of a body on a replica; what it writes carries the revision after that one. */
export function beginTransaction(base: Replica): TransactionRun {
  const revision = base.revision + 1;
  const reads: Reads = { keys: new Set(), ranges: new Map() };
  const written = new Map<string, Stored | undefined>();
  let working: Replica = base;
  let events = 0;
  let snapshot: Snapshot | undefined;

  function become(replica: Replica, key: string, stored?: Stored): void {
    working = replica;
    snapshot = undefined;
    written.set(key, stored);
  }

  function put<K extends Kind>(kind: K, id: string, record: Records[K], project = defaultProject): void {
    const stored = { kind, project, id, record: stampRevision(record, kind, revision), revision };
    const key = recordKey(kind, project, id);
    become(putRecord(working, key, stored), key, stored);
  }

  function event(fields: Omit<FleetEvent, 'revision'>, project = defaultProject): void {
    const id = eventId(revision, events++);
    reads.keys.add(recordKey('event', project, id));
    put('event', id, { ...fields, revision }, project);
  }

  const transaction: Transaction = {
    revision: base.revision,
    ...notedReads(reads, () => (snapshot ??= createSnapshot(working))),
    put,
    delete: (kind, id, project = defaultProject) => {
      const key = recordKey(kind, project, id);
      become(deleteRecord(working, key), key);
    },
    event,
  };
  return {
    transaction,
    hasWritten: () => written.size > 0,
    replica: () => ({ ...working, revision }),
    compares: () => toCompares(reads, base, written.size),
    writes: () => Array.from(written, ([key, stored]) => toWrite(key, stored)),
    changes: () =>
      [...written].flatMap(([key, stored]) => toChange(revision, getFrom(base.records, key), stored)),
  };
}
