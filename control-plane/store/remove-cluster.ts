import { DroverError } from '#shared/errors.ts';
import type { Instance, Node } from '#shared/model.ts';
import { foundCluster } from './put-cluster.ts';
import { nodesOfCluster } from './put-cluster-node.ts';
import { releasable } from './release-guest.ts';
import { guestsOfCluster, templatesOfCluster } from './cluster-guests.ts';
import type { Kind, Snapshot, Transaction } from './store.ts';

/** A transaction has at most 128 operations. */
const deletesAtOnce = 100;

/** Instances bound to the nodes of a cluster. */
export const instancesOfCluster = (
  snapshot: Pick<Snapshot, 'list' | 'instancesOnNode'>,
  cluster: string,
): Instance[] =>
  nodesOfCluster(snapshot, cluster).flatMap(({ metadata }) => snapshot.instancesOnNode(metadata.name));

/**
 * Before its guests are released: nothing new is placed on its nodes any more. Gives the nodes that took
 * something until now. As releaseGuest, and nothing is changed: an instance there cannot be released.
 */
export function holdCluster(tx: Transaction, cluster: string): readonly Node[] {
  for (const instance of instancesOfCluster(tx, cluster)) releasable(tx, instance);
  return cordonAll(tx, cluster);
}

/** What holdCluster did is taken back. */
export function freeCluster(tx: Transaction, held: readonly Node[]): void {
  for (const { metadata } of held) {
    const node = tx.get('node', metadata.id);
    if (node !== undefined) tx.put('node', metadata.id, { ...node, cordoned: false });
  }
}

function cordonAll(tx: Transaction, cluster: string): readonly Node[] {
  const open = nodesOfCluster(tx, cluster).filter(({ cordoned }) => !cordoned);
  for (const node of open) tx.put('node', node.metadata.id, { ...node, cordoned: true });
  return open;
}

/**
 * Says that a cluster is to go: nothing is asked of it any more, and nothing new is placed on its nodes. May
 * be repeated. not-found; failed-precondition while instances are bound to its nodes, or data volumes lie
 * there.
 */
export function retireCluster(tx: Transaction, name: string, nowMs: number): void {
  const cluster = foundCluster(tx, name);
  checkIsEmpty(tx, name);
  cordonAll(tx, name);
  if (cluster.removingSinceMs === undefined)
    tx.put('cluster', cluster.metadata.id, { ...cluster, removingSinceMs: nowMs });
}

function checkIsEmpty(tx: Transaction, cluster: string): void {
  const subject = { cluster };
  const bound = instancesOfCluster(tx, cluster);
  if (bound.length > 0)
    throw new DroverError(
      'failed-precondition',
      `needs a cluster without instances, ${cluster} has ${bound.length}: ${someNames(bound)}`,
      {
        subject,
        reason: 'instances-bound',
        nextStep:
          'drover delete removes them; with --release-guests their guests run on, without Drover; of a ' +
          'node that is dead: drover node remove NODE --lost',
      },
    );
  const nodes = new Set(nodesOfCluster(tx, cluster).map(({ metadata }) => metadata.name));
  const volumes = tx.list('volume').filter(({ node }) => node !== undefined && nodes.has(node));
  if (volumes.length > 0)
    throw new DroverError(
      'failed-precondition',
      `needs a cluster without data volumes, ${cluster} has ${volumes.length}: ${someNames(volumes)}`,
      { subject, reason: 'volumes-left', nextStep: 'drover volume remove' },
    );
}

function someNames(records: readonly Pick<Instance, 'metadata'>[]): string {
  const some = records.slice(0, 3).map(({ metadata }) => metadata.name);
  return some.join(', ') + (records.length > some.length ? ', …' : '');
}

/**
 * Deletes some of what is kept of a cluster that was retired: what its guests left behind, its nodes, then
 * its own record with its credential. The answer names the nodes that went, and says whether all is gone.
 * failed-precondition as retireCluster.
 */
export function forgetCluster(
  tx: Transaction,
  { name, caller }: { readonly name: string; readonly caller: string },
  nowMs: number,
): { readonly nodes: string[]; readonly isGone: boolean } {
  const cluster = tx.named('cluster', name);
  if (cluster === undefined) return { nodes: [], isGone: true };
  checkIsEmpty(tx, name);
  const nodes = nodesOfCluster(tx, name);
  const doomed = leftOf(tx, name, nodes);
  for (const { kind, id } of doomed.slice(0, deletesAtOnce)) tx.delete(kind, id);
  if (doomed.length > deletesAtOnce) return { nodes: [], isGone: false };
  const gone = nodes.slice(0, deletesAtOnce - doomed.length);
  for (const { metadata } of gone) tx.delete('node', metadata.id);
  const isGone = gone.length === nodes.length;
  if (isGone) {
    tx.delete('cluster', cluster.metadata.id);
    const subject = { cluster: name };
    tx.event({ atMs: nowMs, type: 'cluster.removed', severity: 'info', subject, message: `by ${caller}` });
  }
  return { nodes: gone.map(({ metadata }) => metadata.name), isGone };
}

function leftOf(
  tx: Transaction,
  cluster: string,
  nodes: readonly Node[],
): { readonly kind: Kind; readonly id: string }[] {
  const names = new Set<string>(nodes.map(({ metadata }) => metadata.name));
  return [
    ...guestsOfCluster(tx, cluster).map(
      ({ instanceId }) => ({ kind: 'cluster-guest', id: instanceId }) as const,
    ),
    ...templatesOfCluster(tx, cluster).map(({ key }) => ({ kind: 'cluster-template', id: key }) as const),
    ...tx
      .list('released-instance')
      .filter(({ node }) => names.has(node))
      .map(({ id }) => ({ kind: 'released-instance', id }) as const),
  ];
}
