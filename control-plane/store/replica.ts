import type { Family } from '#shared/addresses.ts';
import type { Instance } from '#shared/model.ts';
import type { JournalChange } from './journal.ts';
import { deleteFrom, emptyTable, getFrom, putInto, rangeOf, type SortedTable } from './sorted-table.ts';
import type { HeldAddress, Kind, NamedKind, Records, Snapshot } from './store.ts';
import { upgradeRecord } from './upgrade-record.ts';

export const defaultProject = 'default';

/** One record as the replica holds it, stamped with the revision that last wrote it. */
export interface Stored {
  readonly kind: Kind;
  readonly project: string;
  readonly id: string;
  readonly record: Records[Kind];
  readonly revision: number;
}

/** All that the store knows at one revision. Immutable: a change makes a new one that shares the rest. */
export interface Replica {
  readonly revision: number;
  readonly records: SortedTable<Stored>;
  /** By kind, project and name. */
  readonly names: SortedTable<Stored>;
  /** Instances by project, workload and id. */
  readonly byWorkload: SortedTable<Stored>;
  /** Instances by node and id. */
  readonly byNode: SortedTable<Stored>;
}

export const emptyReplica: Replica = {
  revision: 0,
  records: emptyTable,
  names: emptyTable,
  byWorkload: emptyTable,
  byNode: emptyTable,
};

export const recordKey = (kind: Kind, project: string, id: string): string => `${kind}/${project}/${id}`;

/** The keys of a kind, in one project or in all, as [start, end). */
export function keyRange(kind: Kind, project: string | undefined): readonly [start: string, end: string] {
  const prefix = project === undefined ? kind : `${kind}/${project}`;
  return [`${prefix}/`, endOf(prefix)];
}

/** "0" follows "/": nothing that begins with the prefix and a slash sorts after it. */
const endOf = (prefix: string): string => `${prefix}0`;

/** The keys of what is held in a network in one family. */
export const heldRange = (
  network: string,
  family: Family,
  project: string,
): readonly [start: string, end: string] => {
  const prefix = recordKey('address', project, `ip/${network}/${family}`);
  return [`${prefix}/`, endOf(prefix)];
};

export function parseKey(key: string): { kind: Kind; project: string; id: string } {
  const first = key.indexOf('/');
  const second = key.indexOf('/', first + 1);
  return {
    kind: key.slice(0, first) as Kind,
    project: key.slice(first + 1, second),
    id: key.slice(second + 1),
  };
}

/** The record as it will be read: its revision is the one that writes it. */
export function stampRevision(record: Records[Kind], kind: Kind, revision: number): Records[Kind] {
  if (kind === 'event' || kind === 'routing')
    return { ...(record as Records['event'] | Records['routing']), revision };
  if (!('metadata' in record)) return record;
  return { ...record, metadata: { ...record.metadata, revision } };
}

const nameOf = ({ kind, project, record }: Stored): string | undefined =>
  'metadata' in record ? `${kind}/${project}/${record.metadata.name}` : undefined;

const workloadOf = ({ project, id, record }: Stored): string =>
  `${project}/${(record as Instance).workload}/${id}`;

function nodeOf({ id, record }: Stored): string | undefined {
  const { node } = record as Instance;
  return node === undefined ? undefined : `${node}/${id}`;
}

/** Moves one record's place in an index from the old key to the new one. */
function reindex(
  table: SortedTable<Stored>,
  oldKey: string | undefined,
  newKey: string | undefined,
  stored: Stored,
  owner: string,
): SortedTable<Stored> {
  let changed = table;
  // A name may have gone to another record in the meantime: only the owner's own entry is taken away.
  if (oldKey !== undefined && oldKey !== newKey && getFrom(table, oldKey)?.id === owner) {
    changed = deleteFrom(changed, oldKey);
  }
  return newKey === undefined ? changed : putInto(changed, newKey, stored);
}

/** The key is the record's own. */
export function putRecord(replica: Replica, key: string, stored: Stored): Replica {
  const records = putInto(replica.records, key, stored);
  const newName = nameOf(stored);
  if (newName === undefined) return { ...replica, records };
  const before = getFrom(replica.records, key);
  const oldName = before && nameOf(before);
  const names = reindex(replica.names, oldName, newName, stored, stored.id);
  if (stored.kind !== 'instance') return { ...replica, records, names };
  const oldWorkload = before && workloadOf(before);
  return {
    ...replica,
    records,
    names,
    byWorkload: reindex(replica.byWorkload, oldWorkload, workloadOf(stored), stored, stored.id),
    byNode: reindex(replica.byNode, before && nodeOf(before), nodeOf(stored), stored, stored.id),
  };
}

export function deleteRecord(replica: Replica, key: string): Replica {
  const before = getFrom(replica.records, key);
  if (before === undefined) return replica;
  const records = deleteFrom(replica.records, key);
  const name = nameOf(before);
  if (name === undefined) return { ...replica, records };
  const names = reindex(replica.names, name, undefined, before, before.id);
  if (before.kind !== 'instance') return { ...replica, records, names };
  return {
    ...replica,
    records,
    names,
    byWorkload: reindex(replica.byWorkload, workloadOf(before), undefined, before, before.id),
    byNode: reindex(replica.byNode, nodeOf(before), undefined, before, before.id),
  };
}

/** One record from its JSON text, of this version or an earlier one. */
export function putText(replica: Replica, key: string, value: string, revision: number): Replica {
  const { kind, project, id } = parseKey(key);
  const record = stampRevision(upgradeRecord(kind, JSON.parse(value) as Records[Kind]), kind, revision);
  return putRecord(replica, key, { kind, project, id, record, revision });
}

export function applyChange(replica: Replica, { revision, writes }: JournalChange): Replica {
  let changed = replica;
  for (const write of writes) {
    if (write.kind === 'put') changed = putText(changed, write.key, write.value, revision);
    else changed = deleteRecord(changed, write.key);
  }
  return { ...changed, revision };
}

const recordsOf = <Record>(stored: readonly Stored[]): Record[] =>
  stored.map(({ record }) => record as Record);

/**
 * Reads of one replica. A project that is left out is the default one; `list` without a project lists all.
 */
export function createSnapshot(replica: Replica): Snapshot {
  return {
    revision: replica.revision,
    get: <K extends Kind>(kind: K, id: string, project = defaultProject) =>
      getFrom(replica.records, recordKey(kind, project, id))?.record as Records[K] | undefined,
    named: <K extends NamedKind>(kind: K, name: string, project = defaultProject) =>
      getFrom(replica.names, `${kind}/${project}/${name}`)?.record as Records[K] | undefined,
    list: <K extends Kind>(kind: K, project?: string) =>
      recordsOf<Records[K]>(rangeOf(replica.records, ...keyRange(kind, project))),
    instancesOfWorkload: (workload, project = defaultProject) =>
      recordsOf<Instance>(
        rangeOf(replica.byWorkload, `${project}/${workload}/`, endOf(`${project}/${workload}`)),
      ),
    instancesOnNode: (node) => recordsOf<Instance>(rangeOf(replica.byNode, `${node}/`, endOf(node))),
    heldAddresses: (network, family, project = defaultProject) =>
      recordsOf<HeldAddress>(rangeOf(replica.records, ...heldRange(network, family, project))),
  };
}
