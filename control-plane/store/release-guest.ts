import { DroverError } from '#shared/errors.ts';
import type { ClusterGuest, Instance, InstanceId } from '#shared/model.ts';
import { forgetGuestRecords } from './forget-guest-records.ts';
import { type Before, notingChanges } from './noted-changes.ts';
import type { Transaction } from './store.ts';

export interface ReleasedGuest {
  readonly guest: ClusterGuest;
  readonly generation: number;
  /** What takes the release back. */
  readonly before: readonly Before[];
}

/**
 * Gives up an instance whose guest runs on: from here on nobody stops, changes or replaces it. The guest's
 * own record stays until its mark is gone. not-found; unimplemented: it is no guest of a cluster;
 * failed-precondition: it is being removed.
 */
export function releaseGuest(
  tx: Transaction,
  { id, project, caller }: { readonly id: string; readonly project: string; readonly caller: string },
  nowMs: number,
): ReleasedGuest {
  const instance = tx.get('instance', id, project);
  if (instance === undefined)
    throw new DroverError('not-found', `there is no instance ${id}`, { subject: { instance: id } });
  const guest = releasable(tx, instance);
  const { name, generation } = instance.metadata;
  const { node, workload } = instance;

  const { noting, before } = notingChanges(tx);
  forgetGuestRecords(noting, instance, nowMs);
  // Until its mark is gone: whatever keeps us from that, nobody acts on it any more.
  noting.put('cluster-guest', id, { ...guest, intent: 'removed', changedAtMs: nowMs });
  tx.event(
    {
      atMs: nowMs,
      type: 'guest.released',
      severity: 'info',
      subject: {
        instance: name,
        instanceId: id as InstanceId,
        workload,
        ...(node !== undefined && { node }),
      },
      message: `${guest.vmid} of ${guest.cluster} runs on by itself; by ${caller}`,
    },
    project,
  );
  return { guest, generation, before };
}

/** The guest that would run on. unimplemented and failed-precondition as releaseGuest. */
export function releasable(
  tx: Pick<Transaction, 'get' | 'named'>,
  { intent, node, workload, metadata: { id, name, project } }: Instance,
): ClusterGuest {
  const subject = { instance: name, ...(node === undefined ? {} : { node }) };
  const guest = tx.get('cluster-guest', id);
  const hasCluster = node !== undefined && tx.named('node', node)?.cluster !== undefined;
  if (!hasCluster)
    throw new DroverError('unimplemented', `${name} is no guest of a cluster: nobody would look after it`, {
      subject,
      nextStep: `drover delete ${workload} stops and removes it`,
    });
  if (guest?.made !== true)
    throw new DroverError('failed-precondition', `${name} has no guest yet: there is nothing to release`, {
      subject,
      nextStep: `drover delete ${workload}`,
    });
  const owner = tx.named('workload', workload, project);
  if (intent !== 'run' || guest.intent === 'removed' || owner?.deletingSinceMs !== undefined)
    throw new DroverError('failed-precondition', `${name} is being removed`, { subject });
  return guest;
}
