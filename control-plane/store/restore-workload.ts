import { DroverError } from '#shared/errors.ts';
import { putOperation } from './put-operation.ts';
import { beingDeleted, type PutResult, tellChange, withSpec } from './put-workload.ts';
import type { Transaction } from './store.ts';

export interface RestoreWorkload {
  readonly project: string;
  readonly name: string;
  /** UUIDv7. */
  readonly operationId: string;
  readonly caller: string;
}

/**
 * Sets the spec back to what it was before the last change that told copies something new, as a new
 * generation; the number of replicas stays. not-found; failed-precondition: being deleted, or there was no
 * such change.
 */
export function restoreWorkload(tx: Transaction, restore: RestoreWorkload, nowMs: number): PutResult {
  const { project, name, operationId, caller } = restore;
  const before = tx.named('workload', name, project);
  const subject = { workload: name };
  if (before === undefined) throw new DroverError('not-found', `there is no workload ${name}`, { subject });
  if (before.deletingSinceMs !== undefined) throw beingDeleted(name);
  const { previous, metadata } = before;
  if (previous === undefined) {
    const message = `${name} has not been changed: there is no earlier spec to go back to`;
    throw new DroverError('failed-precondition', message, { subject });
  }
  const { replicas } = before.spec;
  const workload = withSpec(before, { ...previous.spec, replicas });
  tx.put('workload', metadata.id, workload, project);
  putOperation(tx, workload, { id: operationId, kind: 'apply', caller, total: replicas }, nowMs);
  tellChange(tx, workload, `back to generation ${previous.generation}`, caller, nowMs);
  return { workloadId: metadata.id, change: 'changed', operationId };
}
