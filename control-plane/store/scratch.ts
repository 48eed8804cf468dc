import type { FleetEvent, Instance } from '#shared/model.ts';
import { scratchAddresses } from './scratch-addresses.ts';
import type { HeldAddress, Kind, NamedKind, Records, Snapshot, Transaction } from './store.ts';

const absent = Symbol('absent');
type Written = Map<string, unknown>;

/**
 * A transaction that is never committed: what a change would do, by the code that does it. Its writes lie
 * over the snapshot, and are lost with it; events are dropped.
 */
export function scratchTransaction(base: Snapshot): Transaction {
  const written: Record<Kind, Written> = Object.fromEntries(
    kinds.map((kind) => [kind, new Map<string, unknown>()]),
  ) as Record<Kind, Written>;
  const addresses = scratchAddresses(base);
  const key = (project: string, id: string): string => `${project}/${id}`;

  function overlay<K extends Kind>(
    kind: K,
    records: readonly Records[K][],
    idOf: (record: Records[K]) => string,
    project: string | undefined,
    holds: (record: Records[K]) => boolean,
  ): Records[K][] {
    const changes = written[kind];
    const projectOf = (record: Records[K]): string =>
      project ?? (record as { metadata?: { project: string } }).metadata?.project ?? 'default';
    const kept = records.filter((record) => !changes.has(key(projectOf(record), idOf(record))));
    const added = [...changes]
      .filter(([id, record]) => record !== absent && (project === undefined || id.startsWith(`${project}/`)))
      .map(([, record]) => record as Records[K])
      .filter(holds);
    return [...kept, ...added].sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
  }

  const idOfNamed = ({ metadata }: { readonly metadata: { readonly id: string } }): string => metadata.id;
  const instances = (records: readonly Instance[], holds: (record: Instance) => boolean, project?: string) =>
    overlay('instance', records, idOfNamed, project, holds);

  return {
    revision: base.revision,
    get<K extends Kind>(kind: K, id: string, project = 'default') {
      const record = written[kind].get(key(project, id));
      if (record === absent) return undefined;
      return record === undefined ? base.get(kind, id, project) : (record as Records[K]);
    },
    named<K extends NamedKind>(kind: K, name: string, project = 'default') {
      for (const [id, record] of written[kind]) {
        if (record === absent || !id.startsWith(`${project}/`)) continue;
        if ((record as Records[K]).metadata.name === name) return record as Records[K];
      }
      const found = base.named(kind, name, project);
      return found && written[kind].has(key(project, found.metadata.id)) ? undefined : found;
    },
    list<K extends Kind>(kind: K, project?: string) {
      return overlay(kind, base.list(kind, project), idOfRecord, project, () => true);
    },
    instancesOfWorkload: (workload, project = 'default') =>
      instances(base.instancesOfWorkload(workload, project), (each) => each.workload === workload, project),
    instancesOnNode: (node) => instances(base.instancesOnNode(node), (each) => each.node === node),
    heldAddresses: (network, family, project = 'default') => addresses.held(network, family, project),
    put<K extends Kind>(kind: K, id: string, record: Records[K], project = 'default') {
      written[kind].set(key(project, id), record);
      if (kind === 'address') addresses.put(record as HeldAddress, project);
    },
    delete: (kind, id, project = 'default') => {
      written[kind].set(key(project, id), absent);
      if (kind === 'address') addresses.delete(id, project);
    },
    event: (_event: Omit<FleetEvent, 'revision'>) => undefined,
  };
}

const kindTable: Readonly<Record<Kind, true>> = {
  workload: true,
  instance: true,
  'released-instance': true,
  volume: true,
  network: true,
  address: true,
  cluster: true,
  'cluster-guest': true,
  'cluster-template': true,
  node: true,
  operation: true,
  event: true,
  'join-token': true,
  'revoked-certificate': true,
  request: true,
  fleet: true,
  routing: true,
};
const kinds = Object.keys(kindTable) as readonly Kind[];

/** Enough to tell records of one kind apart. */
function idOfRecord(record: Records[Kind]): string {
  if ('metadata' in record) return record.metadata.id;
  if ('id' in record) return record.id;
  if ('key' in record) return record.key;
  if ('vmid' in record) return record.instanceId;
  return JSON.stringify(record);
}
