import type { Instance } from '#shared/model.ts';
import { freeAddresses } from './assign-addresses.ts';
import { volumesOfWorkload } from './find-volumes.ts';
import { runningOperation } from './finish-operation.ts';
import { withSpec } from './put-workload.ts';
import type { Transaction } from './store.ts';

/**
 * Deletes all that is kept of an instance whose guest stays as it is: its volumes among it, so that nobody
 * removes them. Its workload wants one copy less, and goes with the last one.
 */
export function forgetGuestRecords(tx: Transaction, instance: Instance, nowMs: number): void {
  const { id, project } = instance.metadata;
  for (const volume of volumesOfWorkload(tx, instance.workload, project))
    if (volume.instanceId === id) tx.delete('volume', volume.metadata.id, project);
  freeAddresses(tx, instance);
  tx.delete('instance', id, project);
  const workload = tx.named('workload', instance.workload, project);
  if (workload === undefined || instance.intent !== 'run') return;
  const { replicas } = workload.spec;
  const workloadId = workload.metadata.id;
  if (replicas > 1) {
    const spec = { ...workload.spec, replicas: replicas - 1 };
    return tx.put('workload', workloadId, withSpec(workload, spec), project);
  }
  tx.delete('workload', workloadId, project);
  const operation = runningOperation(tx, instance.workload, project);
  if (operation === undefined) return;
  const ended = { ...operation, state: 'superseded', endedAtMs: nowMs } as const;
  tx.put('operation', operation.id, ended, project);
}
