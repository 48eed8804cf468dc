import { DroverError } from '#shared/errors.ts';
import type { Transaction } from './store.ts';

/**
 * Deletes an instance of which nothing is left: its node said so, it never had one, or its node was
 * declared lost. Repeating it changes nothing. failed-precondition: it is wanted and has a node.
 */
export function forgetInstance(
  tx: Transaction,
  instance: { readonly id: string; readonly project: string },
  because: string,
  nowMs: number,
): void {
  const { id, project } = instance;
  const record = tx.get('instance', id, project);
  if (record === undefined) return;
  const node = record.node;
  const isNodeLost = node !== undefined && tx.named('node', node) === undefined;
  if (record.intent === 'run' && !isNodeLost)
    throw new DroverError('failed-precondition', `${record.metadata.name} is still wanted`, {
      subject: { instance: id },
    });
  tx.delete('instance', id, project);
  tx.event(
    {
      atMs: nowMs,
      type: isNodeLost ? 'instance.lost' : 'instance.removed',
      severity: isNodeLost ? 'warning' : 'info',
      subject: {
        instance: record.metadata.name,
        instanceId: id,
        workload: record.workload,
        ...(node === undefined ? {} : { node }),
      },
      message: because,
    },
    project,
  );
}
