import { DroverError } from '#shared/errors.ts';
import { runningOperation } from './finish-operation.ts';
import { putOperation } from './put-operation.ts';
import { beingDeleted, type PutResult, tellChange, withSpec } from './put-workload.ts';
import { spareAdopted } from './spare-adopted.ts';
import type { Transaction } from './store.ts';

export interface ScaleWorkload {
  readonly project: string;
  readonly name: string;
  readonly replicas: number;
  /** UUIDv7. */
  readonly operationId: string;
  readonly caller: string;
  /** Guests that were adopted go with their disks. */
  readonly destroyAdopted?: boolean;
}

/**
 * Sets the replicas alone; the number it has already writes nothing, and answers what is under way.
 * not-found; failed-precondition: being deleted; reason adopted: a guest of it was there before Drover, and
 * would go, or be one of several.
 */
export function scaleWorkload(tx: Transaction, scale: ScaleWorkload, nowMs: number): PutResult {
  const { project, name, replicas, operationId, caller, destroyAdopted = false } = scale;
  const before = tx.named('workload', name, project);
  if (before === undefined)
    throw new DroverError('not-found', `there is no workload ${name}`, { subject: { workload: name } });
  if (before.deletingSinceMs !== undefined) throw beingDeleted(name);
  const { id } = before.metadata;
  if (before.spec.replicas === replicas) {
    const underWay = runningOperation(tx, name, project)?.id ?? '';
    return { workloadId: id, change: 'unchanged', operationId: underWay };
  }

  spareAdopted(tx, { project, name, replicas, destroyAdopted }, nowMs);
  const workload = withSpec(before, { ...before.spec, replicas });
  tx.put('workload', id, workload, project);
  putOperation(tx, workload, { id: operationId, kind: 'scale', caller, total: replicas }, nowMs);
  tellChange(tx, workload, `${before.spec.replicas} → ${replicas} replicas`, caller, nowMs);
  return { workloadId: id, change: 'changed', operationId };
}
