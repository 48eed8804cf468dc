import { DroverError } from '#shared/errors.ts';
import type { Instance, InstanceId, NodeName } from '#shared/model.ts';
import { freeAddresses, heldCount } from './assign-addresses.ts';
import { foundNode } from './put-node.ts';
import { revokeNodeCertificates } from './revoke-certificate.ts';
import type { Transaction } from './store.ts';

/** A transaction has at most 128 operations, and releasing one instance costs some. */
const operationsOfRelease = 100;

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
  const released: string[] = [];
  let operations = 0;
  for (const instance of tx.instancesOnNode(node)) {
    operations += 4 + heldCount(instance);
    if (released.length > 0 && operations > operationsOfRelease) break;
    release(tx, instance, node, nowMs);
    released.push(instance.metadata.name);
  }
  return released;
}

function release(tx: Transaction, instance: Instance, node: NodeName, nowMs: number): void {
  const { id, name, project, generation } = instance.metadata;
  const { workload } = instance;
  const { stopGraceMs } = instance.spec;
  const released = { name, project, workload, node, generation: generation + 1, stopGraceMs };
  // The operator's word counts as proof: a chosen address must be free for whoever takes its place.
  freeAddresses(tx, instance);
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

function someNames(records: readonly Pick<Instance, 'metadata'>[]): string {
  const some = records.slice(0, 3).map(({ metadata }) => metadata.name);
  return some.join(', ') + (records.length > some.length ? ', …' : '');
}

/**
 * Takes a node out of the fleet and revokes its certificates. not-found; failed-precondition while instances
 * are bound to it, for they may still run there, or data volumes lie on it.
 */
export function removeNode(
  tx: Transaction,
  removal: { readonly node: string; readonly caller: string; readonly certificateLifeMs: number },
  nowMs: number,
): void {
  const node = foundNode(tx, removal.node);
  const bound = tx.instancesOnNode(removal.node);
  if (bound.length > 0) {
    throw new DroverError(
      'failed-precondition',
      `needs a node without instances, ${removal.node} has ${bound.length}: ${someNames(bound)}`,
      {
        subject: { node: removal.node },
        reason: 'instances-bound',
        nextStep: 'cordon it and delete or scale down what runs there, or say --lost if its host is dead',
      },
    );
  }
  const volumes = tx.list('volume').filter((volume) => volume.node === removal.node);
  if (volumes.length > 0)
    throw new DroverError(
      'failed-precondition',
      `needs a node without data volumes, ${removal.node} has ${volumes.length}: ${someNames(volumes)}`,
      {
        subject: { node: removal.node },
        reason: 'volumes-left',
        nextStep: 'drover volume remove, or say --lost if its host is dead',
      },
    );
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
