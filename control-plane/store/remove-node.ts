import { DroverError } from '#shared/errors.ts';
import type { Instance, InstanceId, NodeName } from '#shared/model.ts';
import { foundNode } from './put-node.ts';
import { revokeNodeCertificates } from './revoke-certificate.ts';
import type { Transaction } from './store.ts';

/** A transaction has at most 128 operations, and releasing one instance costs some. */
const releasedPerTransaction = 25;

/**
 * The operator's word that a host is dead: nothing new goes there, and its certificates are worth nothing
 * from now on. From here its instances may be given up. not-found.
 */
export function giveUpNode(
  tx: Transaction,
  lost: { readonly node: string; readonly caller: string; readonly certificateLifeMs: number },
  nowMs: number,
): void {
  const node = foundNode(tx, lost.node);
  revokeNodeCertificates(tx, node, lost.certificateLifeMs, nowMs);
  tx.put('node', node.metadata.id, { ...node, cordoned: true, certificateSerial: '' });
  tx.event({
    atMs: nowMs,
    type: 'node.given-up',
    severity: 'warning',
    subject: { node: lost.node },
    message: `${lost.caller} says that its host is dead`,
  });
}

/**
 * Gives up some of the instances of a node that was given up; the answer names them, empty when none is
 * left. Others, with other ids, take their places: an id has one node for ever, and its guest may still run
 * on a host that was not as dead as it seemed. So it is kept which they were.
 */
export function releaseInstances(tx: Transaction, node: NodeName, nowMs: number): string[] {
  const some = tx.instancesOnNode(node).slice(0, releasedPerTransaction);
  for (const instance of some) release(tx, instance, node, nowMs);
  return some.map(({ metadata }) => metadata.name);
}

function release(tx: Transaction, instance: Instance, node: NodeName, nowMs: number): void {
  const { id, name, project, generation } = instance.metadata;
  const { workload } = instance;
  const { stopGraceMs } = instance.spec;
  const released = { name, project, workload, node, generation: generation + 1, stopGraceMs };
  tx.delete('instance', id, project);
  tx.put('released-instance', id, { id: id as InstanceId, ...released }, project);
  tx.event(
    {
      atMs: nowMs,
      type: 'instance.released',
      severity: 'warning',
      subject: { instance: name, instanceId: id, workload, node },
      message: `${node} is lost: another takes its place if it is still wanted`,
    },
    project,
  );
}

/**
 * Takes a node out of the fleet and revokes its certificates. not-found; failed-precondition while instances
 * are bound to it: they may still run there.
 */
export function removeNode(
  tx: Transaction,
  removal: { readonly node: string; readonly caller: string; readonly certificateLifeMs: number },
  nowMs: number,
): void {
  const node = foundNode(tx, removal.node);
  const bound = tx.instancesOnNode(removal.node);
  if (bound.length > 0) {
    const some = bound.slice(0, 3).map(({ metadata }) => metadata.name);
    const names = some.join(', ') + (bound.length > some.length ? ', …' : '');
    throw new DroverError(
      'failed-precondition',
      `needs a node without instances, ${removal.node} has ${bound.length}: ${names}`,
      {
        subject: { node: removal.node },
        reason: 'instances-bound',
        nextStep: 'cordon it and delete or scale down what runs there, or say --lost if its host is dead',
      },
    );
  }
  revokeNodeCertificates(tx, node, removal.certificateLifeMs, nowMs);
  tx.delete('node', node.metadata.id);
  tx.event({
    atMs: nowMs,
    type: 'node.removed',
    severity: 'info',
    subject: { node: removal.node },
    message: `by ${removal.caller}`,
  });
}
