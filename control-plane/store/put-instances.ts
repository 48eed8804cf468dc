import type { Instance } from '#shared/model.ts';
import type { Transaction } from './store.ts';

/**
 * Adds instances that are wanted from now on. Repeating it changes nothing: an id that is there stays as it
 * is.
 */
export function putInstances(tx: Transaction, instances: readonly Instance[], nowMs: number): void {
  for (const instance of instances) {
    const { id, name, project } = instance.metadata;
    if (tx.get('instance', id, project) !== undefined) continue;
    tx.put('instance', id, instance, project);
    tx.event(
      {
        atMs: nowMs,
        type: 'instance.created',
        severity: 'info',
        subject: { instance: name, instanceId: id, workload: instance.workload },
        message: `wanted by generation ${instance.workloadGeneration} of ${instance.workload}`,
      },
      project,
    );
  }
}
