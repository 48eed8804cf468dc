import type { Instance } from '#shared/model.ts';
import type { Transaction } from './store.ts';

/**
 * Says that instances are to go. The generation grows, so that an order to run one, sent before and
 * delivered after, is refused as old by its node. Repeating it changes nothing.
 */
export function retireInstances(
  tx: Transaction,
  instances: readonly Instance[],
  because: string,
  nowMs: number,
): void {
  for (const { metadata } of instances) {
    const record = tx.get('instance', metadata.id, metadata.project);
    if (record === undefined || record.intent === 'remove') continue;
    const generation = record.metadata.generation + 1;
    const retired: Instance = {
      ...record,
      intent: 'remove',
      metadata: { ...record.metadata, generation },
    };
    tx.put('instance', metadata.id, retired, metadata.project);
    tx.event(
      {
        atMs: nowMs,
        type: 'instance.retired',
        severity: 'info',
        subject: { instance: metadata.name, instanceId: metadata.id, workload: record.workload },
        message: because,
      },
      metadata.project,
    );
  }
}
