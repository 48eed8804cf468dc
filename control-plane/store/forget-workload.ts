import type { Workload } from '#shared/model.ts';
import { retireUnkept } from './remove-volume.ts';
import type { Transaction } from './store.ts';

/**
 * Deletes a workload that is being deleted and of which no instance is left; else it changes nothing, or
 * retires some of its volumes: those that are not to be kept go before it.
 */
export function forgetWorkload(
  tx: Transaction,
  workload: Pick<Workload, 'metadata'>,
  nowMs: number,
): boolean {
  const { id, project, name } = workload.metadata;
  const record = tx.get('workload', id, project);
  if (record?.deletingSinceMs === undefined) return false;
  if (tx.instancesOfWorkload(name, project).length > 0) return false;
  if (!retireUnkept(tx, record, nowMs)) return false;
  tx.delete('workload', id, project);
  tx.event(
    {
      atMs: nowMs,
      type: 'workload.deleted',
      severity: 'info',
      subject: { workload: name },
      message: `nothing is left of ${name}`,
    },
    project,
  );
  return true;
}
