import { ObjectKind, type WatchResponse } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance, Network, Node, Operation, Volume, Workload } from '#shared/model.ts';
import { runningOperation } from '../../store/finish-operation.ts';
import type { StoreChange } from '../../store/store.ts';
import {
  instanceMessageOf,
  type Moment,
  networkMessage,
  nodeMessage,
  operationMessage,
  workloadMessage,
} from '../messages.ts';
import { volumeMessage } from './volumes.ts';

export type WatchedKind = 'workload' | 'instance' | 'node' | 'operation' | 'network' | 'volume';

export const watchedKinds: ReadonlyMap<ObjectKind, WatchedKind> = new Map([
  [ObjectKind.OBJECT_KIND_WORKLOAD, 'workload'],
  [ObjectKind.OBJECT_KIND_INSTANCE, 'instance'],
  [ObjectKind.OBJECT_KIND_NODE, 'node'],
  [ObjectKind.OBJECT_KIND_OPERATION, 'operation'],
  [ObjectKind.OBJECT_KIND_NETWORK, 'network'],
  [ObjectKind.OBJECT_KIND_VOLUME, 'volume'],
]);
const objectKinds = new Map([...watchedKinds].map(([wire, kind]) => [kind, wire]));

/** One object as a message, and a text that differs when what it tells differs. */
export interface Described {
  readonly key: string;
  readonly text: string;
  /** It stays so until the store or a node changes; otherwise time alone may change what it tells. */
  readonly isSettled: boolean;
  readonly event: WatchResponse['event'];
}

export interface WatchScope {
  readonly project: string;
  readonly kinds: ReadonlySet<WatchedKind>;
}

/** All objects of the kinds, as they are now. */
export function* describeAll({ project, kinds }: WatchScope, moment: Moment): Generator<Described> {
  const { snapshot } = moment;
  if (kinds.has('node')) for (const node of snapshot.list('node')) yield describeNode(node, moment);
  if (kinds.has('workload'))
    for (const workload of snapshot.list('workload', project)) yield describeWorkload(workload, moment);
  if (kinds.has('instance'))
    for (const instance of snapshot.list('instance', project)) yield describeInstance(instance, moment);
  if (kinds.has('operation'))
    for (const operation of snapshot.list('operation', project)) yield describeOperation(operation, moment);
  if (kinds.has('network'))
    for (const network of snapshot.list('network', project)) yield describeNetwork(network, moment);
  if (kinds.has('volume'))
    for (const volume of snapshot.list('volume', project)) yield describeVolume(volume, moment);
}

/** What one revision changed, and what is derived from it, as it is now. */
export function describeChanged(
  scope: WatchScope,
  moment: Moment,
  changes: readonly StoreChange[],
): Described[] {
  const found = new Map<string, Described>();
  const add = (described: Described | undefined): void => {
    if (described !== undefined) found.set(described.key, described);
  };
  for (const change of changes) {
    if (change.kind !== 'node' && change.project !== scope.project) continue;
    if (isWatched(change) && scope.kinds.has(change.kind)) add(describeChange(change, moment));
    if (change.kind === 'address' && scope.kinds.has('network')) add(describeNetworkOf(change, moment));
    const workload = workloadOf(change);
    if (workload === undefined) continue;
    const record = moment.snapshot.named('workload', workload, scope.project);
    if (record !== undefined && scope.kinds.has('workload')) add(describeWorkload(record, moment));
    const operation = runningOperation(moment.snapshot, workload, scope.project);
    if (operation !== undefined && scope.kinds.has('operation')) add(describeOperation(operation, moment));
  }
  return [...found.values()];
}

type WatchedChange = Extract<StoreChange, { kind: WatchedKind }>;

const isWatched = (change: StoreChange): change is WatchedChange =>
  objectKinds.has(change.kind as WatchedKind);

function workloadOf(change: StoreChange): string | undefined {
  if (change.kind !== 'instance' && change.kind !== 'workload') return undefined;
  const record = change.record ?? change.before;
  if (record === undefined) return undefined;
  return 'workload' in record ? record.workload : record.metadata.name;
}

function describeChange(change: WatchedChange, moment: Moment): Described | undefined {
  const { kind, id, project } = change;
  if (change.record === undefined) return describeRemoved(change);
  const { snapshot } = moment;
  switch (kind) {
    case 'workload': {
      const now = snapshot.get('workload', id, project);
      return now && describeWorkload(now, moment);
    }
    case 'instance': {
      const now = snapshot.get('instance', id, project);
      return now && describeInstance(now, moment);
    }
    case 'node': {
      const now = snapshot.get('node', id, project);
      return now && describeNode(now, moment);
    }
    case 'operation': {
      const now = snapshot.get('operation', id, project);
      return now && describeOperation(now, moment);
    }
    case 'network': {
      const now = snapshot.get('network', id, project);
      return now && describeNetwork(now, moment);
    }
    case 'volume': {
      const now = snapshot.get('volume', id, project);
      return now && describeVolume(now, moment);
    }
  }
}

/** What an instance took or gave back changes what is left. */
function describeNetworkOf(
  { record, before, project }: Extract<StoreChange, { kind: 'address' }>,
  moment: Moment,
): Described | undefined {
  const name = (record ?? before)?.network ?? '';
  const network = moment.snapshot.named('network', name, project);
  return network && describeNetwork(network, moment);
}

function describeRemoved({ kind, id, before }: WatchedChange): Described {
  const name = before !== undefined && 'metadata' in before ? before.metadata.name : id;
  const value = { kind: objectKinds.get(kind) ?? ObjectKind.OBJECT_KIND_UNSPECIFIED, id, name };
  return { key: `${kind}/${id}`, text: '', isSettled: true, event: { $case: 'removed', value } };
}

const textOf = (...parts: readonly unknown[]): string => JSON.stringify(parts);

function describeWorkload(workload: Workload, moment: Moment): Described {
  const value = workloadMessage(workload, moment);
  const { id, revision } = workload.metadata;
  const isSettled = value.status?.state === 'ready';
  const text = textOf(revision, value.status);
  return { key: `workload/${id}`, text, isSettled, event: { $case: 'workload', value } };
}

function describeInstance(instance: Instance, moment: Moment): Described {
  const value = instanceMessageOf(instance, moment);
  const { id, revision } = instance.metadata;
  const text = textOf(revision, value.stale);
  return { key: `instance/${id}`, text, isSettled: true, event: { $case: 'instance', value } };
}

/** Capacity and "last seen" change all the time: alone they are no news. */
function describeNode(node: Node, moment: Moment): Described {
  const value = nodeMessage(node, moment);
  const conditions = value.conditions.map(({ type, reason }) => [type, reason]);
  const text = textOf(node.metadata.revision, value.connected, value.ready, conditions, value.instances);
  return { key: `node/${node.metadata.id}`, text, isSettled: true, event: { $case: 'node', value } };
}

function describeOperation(operation: Operation, moment: Moment): Described {
  const value = operationMessage(operation, moment);
  const { done, total, message, state, blockedBy } = value;
  const text = textOf(operation.steps.length, state, done, total, message, blockedBy);
  const isSettled = operation.state !== 'running';
  return { key: `operation/${operation.id}`, text, isSettled, event: { $case: 'operation', value } };
}

function describeNetwork(network: Network, { snapshot }: Moment): Described {
  const value = networkMessage(network, snapshot);
  const { id, revision } = network.metadata;
  const text = textOf(revision, value.heldCount, `${value.free}`);
  return { key: `network/${id}`, text, isSettled: true, event: { $case: 'network', value } };
}

function describeVolume(volume: Volume, { snapshot }: Moment): Described {
  const { id, revision } = volume.metadata;
  const value = volumeMessage(volume, snapshot);
  return { key: `volume/${id}`, text: textOf(revision), isSettled: true, event: { $case: 'volume', value } };
}

/** What tells whether nodes came, went or feel otherwise; equal texts, nothing to look at. */
export const nodesText = ({ view }: Moment): string =>
  textOf(
    [...view.nodes().values()].map(({ name, connected, listed, conditions }) => [
      name,
      connected,
      listed,
      conditions.map(({ type, holds, reason }) => [type, holds, reason]),
    ]),
  );

/** What time alone may have changed: the objects with these keys. */
export function describeAgain({ project }: WatchScope, moment: Moment, keys: Iterable<string>): Described[] {
  return [...keys].flatMap((key) => {
    const [kind = '', id = ''] = key.split('/');
    const workload = kind === 'workload' ? moment.snapshot.get('workload', id, project) : undefined;
    if (workload !== undefined) return [describeWorkload(workload, moment)];
    const operation = kind === 'operation' ? moment.snapshot.get('operation', id, project) : undefined;
    return operation === undefined ? [] : [describeOperation(operation, moment)];
  });
}
