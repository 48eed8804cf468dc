import type { Operation } from '#shared/model.ts';
import type { Snapshot, Transaction } from './store.ts';

const stepsKept = 100;

/** The operation that is changing a workload now. */
export function runningOperation(
  snapshot: Snapshot,
  workload: string,
  project: string,
): Operation | undefined {
  return snapshot
    .list('operation', project)
    .find((operation) => operation.state === 'running' && operation.workload === workload);
}

/** Tells people how far the running operation of a workload has come; nothing where none runs. */
export function recordOperationStep(
  tx: Transaction,
  { workload, project, message }: { workload: string; project: string; message: string },
  nowMs: number,
): void {
  const operation = runningOperation(tx, workload, project);
  if (operation === undefined || operation.steps.at(-1)?.message === message) return;
  const steps = [...operation.steps, { atMs: nowMs, message }].slice(-stepsKept);
  tx.put('operation', operation.id, { ...operation, steps }, project);
}

/** Ends an operation well. Repeating it changes nothing, and one that was superseded stays so. */
export function finishOperation(
  tx: Transaction,
  { id, project, message }: { id: string; project: string; message: string },
  nowMs: number,
): void {
  const operation = tx.get('operation', id, project);
  if (operation?.state !== 'running') return;
  const steps = [...operation.steps, { atMs: nowMs, message }].slice(-stepsKept);
  tx.put('operation', id, { ...operation, state: 'succeeded', endedAtMs: nowMs, steps }, project);
}
