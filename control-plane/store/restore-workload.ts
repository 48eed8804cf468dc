import { DroverError } from '#shared/errors.ts';
import { checkClaims } from './check-claims.ts';
import { checkNetworkUses } from './check-network-uses.ts';
import { putOperation } from './put-operation.ts';
import { beingDeleted, type PutResult, tellChange, withSpec } from './put-workload.ts';
import type { Transaction } from './store.ts';

export interface RestoreWorkload {
  readonly project: string;
  readonly name: string;
  /** UUIDv7. */
  readonly operationId: string;
  readonly caller: string;
  /** What the caller decided upon. */
  readonly expectedGeneration: number;
}

/**
 * Sets the spec back to what it was before the last change that told copies something new, as a new
 * generation; the number of replicas stays. That is done once: from then on there is no earlier one, or doing
 * it again would bring back what was undone. not-found; aborted: it has changed meanwhile;
 * failed-precondition: being deleted, or there was no such change; invalid-argument: it names networks or
 * addresses that cannot be had any more.
 */
export function restoreWorkload(tx: Transaction, restore: RestoreWorkload, nowMs: number): PutResult {
  const { project, name, operationId, caller, expectedGeneration } = restore;
  const before = tx.named('workload', name, project);
  const subject = { workload: name };
  if (before === undefined) throw new DroverError('not-found', `there is no workload ${name}`, { subject });
  if (before.deletingSinceMs !== undefined) throw beingDeleted(name);
  const { previous, metadata } = before;
  if (previous === undefined) {
    const message = `${name} was not changed, or its last change was undone: there is no earlier spec`;
    const nextStep = `apply the file that should be; drover snapshot list ${name} shows its earlier data`;
    throw new DroverError('failed-precondition', message, { subject, nextStep });
  }
  if (metadata.generation !== expectedGeneration)
    throw new DroverError('aborted', `${name} was changed meanwhile`, {
      subject,
      nextStep: 'read it anew, then decide again',
    });
  const { replicas } = before.spec;
  const spec = { ...previous.spec, replicas };
  const workload = { ...withSpec(before, spec), previous: undefined };
  checkClaims(tx, { workload: name, project }, spec.volumes);
  tx.put('workload', metadata.id, workload, project);
  checkNetworkUses(tx, [{ name, project, prefix: '' }]);
  putOperation(tx, workload, { id: operationId, kind: 'apply', caller, total: replicas }, nowMs);
  tellChange(tx, workload, `back to generation ${previous.generation}`, caller, nowMs);
  return { workloadId: metadata.id, change: 'changed', operationId };
}
