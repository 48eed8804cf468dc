import type { Operation, Workload } from '#shared/model.ts';
import { runningOperation } from './finish-operation.ts';
import type { Transaction } from './store.ts';

export interface NewOperation {
  /** UUIDv7; drawn before the transaction, which may run more than once. */
  readonly id: string;
  readonly kind: Operation['kind'];
  readonly caller: string;
  readonly total: number;
}

/** Begins the operation that carries a change out; what was under way for the workload is superseded. */
export function putOperation(
  tx: Transaction,
  { metadata }: Workload,
  { id, kind, caller, total }: NewOperation,
  nowMs: number,
): void {
  const { project, name, generation } = metadata;
  const before = runningOperation(tx, name, project);
  if (before !== undefined)
    tx.put('operation', before.id, { ...before, state: 'superseded', endedAtMs: nowMs }, project);
  const operation: Operation = {
    id,
    kind,
    project,
    workload: name,
    generation,
    state: 'running',
    total,
    caller,
    createdAtMs: nowMs,
    endedAtMs: 0,
    steps: [],
  };
  tx.put('operation', id, operation, project);
}
