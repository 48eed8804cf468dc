import type { Instance } from '#shared/model.ts';
import { recordOperationStep } from './finish-operation.ts';
import type { Transaction } from './store.ts';

/** Tells people that an order for an instance was refused or failed. What is gone needs no telling. */
export function recordStepFailure(
  tx: Transaction,
  { metadata, workload, node }: Instance,
  failure: { readonly step: string; readonly message: string },
  nowMs: number,
): void {
  const { id, name, project } = metadata;
  if (tx.get('instance', id, project) === undefined) return;
  const message = `${failure.step} failed: ${failure.message}`;
  tx.event(
    {
      atMs: nowMs,
      type: 'order.failed',
      severity: 'warning',
      subject: {
        instance: name,
        instanceId: id,
        workload,
        ...(node === undefined ? {} : { node }),
      },
      message,
    },
    project,
  );
  recordOperationStep(tx, { workload, project, message: `${name}: ${message}` }, nowMs);
}
