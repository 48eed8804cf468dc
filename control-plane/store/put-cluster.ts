import { DroverError } from '#shared/errors.ts';
import type { Cluster, ClusterSpec } from '#shared/model.ts';
import { newMetadata } from './new-metadata.ts';
import type { Snapshot, Transaction } from './store.ts';

export interface PutCluster {
  readonly name: string;
  readonly spec: ClusterSpec;
  /** UUIDv7, for a cluster that is new. */
  readonly id: string;
  readonly caller: string;
}

/** not-found. */
export function foundCluster(snapshot: Pick<Snapshot, 'named'>, name: string): Cluster {
  const cluster = snapshot.named('cluster', name);
  if (cluster !== undefined) return cluster;
  throw new DroverError('not-found', `there is no cluster ${name}`, {
    subject: { cluster: name },
    nextStep: 'see `drover cluster list`',
  });
}

/** already-exists: the name is taken. */
export function checkNoCluster(snapshot: Pick<Snapshot, 'named'>, name: string): void {
  const before = snapshot.named('cluster', name);
  if (before === undefined) return;
  const isGoing = before.removingSinceMs !== undefined;
  throw new DroverError('already-exists', `there is a cluster ${name} already`, {
    subject: { cluster: name },
    nextStep: isGoing
      ? `it is being removed: drover cluster remove ${name} again`
      : `drover cluster update ${name} changes its addresses, its certificates or its credential`,
  });
}

/** Makes a cluster part of the fleet; its nodes come when its backend has learned them. already-exists. */
export function addCluster(tx: Transaction, { name, spec, id, caller }: PutCluster, nowMs: number): Cluster {
  checkNoCluster(tx, name);
  const cluster: Cluster = {
    metadata: newMetadata({ name, id }, nowMs),
    spec,
    removingSinceMs: undefined,
  };
  tx.put('cluster', id, cluster);
  tell(tx, cluster, 'cluster.added', `by ${caller}`, nowMs);
  return cluster;
}

/**
 * Gives a cluster another way in. `expected` is what was tried: aborted where it is not what is kept, since
 * something else was changed meanwhile. not-found; failed-precondition: it is being removed.
 */
export function updateCluster(
  tx: Transaction,
  {
    name,
    spec,
    caller,
    expectedGeneration,
  }: Omit<PutCluster, 'id'> & { readonly expectedGeneration: number },
  nowMs: number,
): Cluster {
  const before = foundCluster(tx, name);
  checkNotRemoving(before);
  const { metadata } = before;
  if (metadata.generation !== expectedGeneration)
    throw new DroverError('aborted', `${name} was changed by somebody else meanwhile`, {
      subject: { cluster: name },
      nextStep: 'look at it, then decide again',
    });
  const generation = metadata.generation + 1;
  const cluster: Cluster = { ...before, spec, metadata: { ...metadata, generation } };
  tx.put('cluster', metadata.id, cluster);
  tell(tx, cluster, 'cluster.changed', `${whatChanged(before.spec, spec)}, by ${caller}`, nowMs);
  return cluster;
}

export function checkNotRemoving({ metadata: { name }, removingSinceMs }: Cluster): void {
  if (removingSinceMs === undefined) return;
  throw new DroverError('failed-precondition', `${name} is being removed`, {
    subject: { cluster: name },
    nextStep: `drover cluster remove ${name} goes on with it`,
  });
}

/** For people, and so without any secret. */
function whatChanged(before: ClusterSpec, after: ClusterSpec): string {
  const isOther = (key: keyof ClusterSpec): boolean =>
    JSON.stringify(before[key]) !== JSON.stringify(after[key]);
  const parts = [
    isOther('endpoints') ? 'its addresses' : '',
    isOther('trust') ? 'the certificates that it is trusted by' : '',
    isOther('credential') ? 'its credential' : '',
  ].filter((part) => part !== '');
  return parts.length === 0 ? 'nothing new' : parts.join(' and ');
}

function tell(tx: Transaction, { metadata }: Cluster, type: string, message: string, nowMs: number): void {
  const subject = { cluster: metadata.name };
  tx.event({ atMs: nowMs, type, severity: 'info', subject, message });
}
