import type { InstanceId, NodeName } from '#shared/model.ts';
import { recordOperationStep } from './finish-operation.ts';
import type { Transaction } from './store.ts';

/** Tells people, in the operation that it is part of, what is being done for an instance. */
export function recordProgress(
  tx: Transaction,
  progress: { readonly node: NodeName; readonly instanceId: InstanceId; readonly lines: readonly string[] },
  nowMs: number,
): void {
  const record = tx.get('instance', progress.instanceId);
  if (record === undefined || record.node !== progress.node) return;
  const { workload } = record;
  const { name, project } = record.metadata;
  for (const line of progress.lines)
    recordOperationStep(tx, { workload, project, message: `${name} on ${progress.node}: ${line}` }, nowMs);
}
