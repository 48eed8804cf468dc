import { DroverError } from '#shared/errors.ts';
import { runningOperation } from './finish-operation.ts';
import { putOperation } from './put-operation.ts';
import { spareAdopted } from './spare-adopted.ts';
import type { Transaction } from './store.ts';

export interface DeleteWorkload {
  readonly project: string;
  readonly name: string;
  /** UUIDv7. */
  readonly operationId: string;
  readonly caller: string;
  /** Guests that were adopted go with their disks. */
  readonly destroyAdopted?: boolean;
}

/**
 * Asks for the end of a workload: it stays until nothing of it is left anywhere. Answers the operation that
 * carries it out, the one under way where it is being deleted already. not-found; failed-precondition, reason
 * adopted: a guest of it was there before Drover.
 */
export function deleteWorkload(tx: Transaction, request: DeleteWorkload, nowMs: number): string {
  const { project, name, operationId, caller } = request;
  const before = tx.named('workload', name, project);
  if (before === undefined)
    throw new DroverError('not-found', `there is no workload ${name}`, { subject: { workload: name } });
  if (before.deletingSinceMs !== undefined) {
    const running = runningOperation(tx, name, project);
    if (running?.kind === 'delete') return running.id;
  } else {
    const { destroyAdopted = false } = request;
    spareAdopted(tx, { project, name, replicas: 0, destroyAdopted }, nowMs);
  }

  const generation = before.metadata.generation + 1;
  const workload = {
    ...before,
    metadata: { ...before.metadata, generation },
    deletingSinceMs: before.deletingSinceMs ?? nowMs,
  };
  tx.put('workload', before.metadata.id, workload, project);
  const total = tx.instancesOfWorkload(name, project).length;
  putOperation(tx, workload, { id: operationId, kind: 'delete', caller, total }, nowMs);
  const message = `${name} is deleted by ${caller}`;
  tx.event(
    { atMs: nowMs, type: 'workload.retired', severity: 'info', subject: { workload: name }, message },
    project,
  );
  return operationId;
}
