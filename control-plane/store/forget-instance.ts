import { DroverError } from '#shared/errors.ts';
import { freeAddresses } from './assign-addresses.ts';
import { freeVolumes } from './assign-volumes.ts';
import type { Transaction } from './store.ts';

/**
 * Deletes an instance of which nothing is left: its node said so, or it never had one. Repeating it changes
 * nothing. Its data volumes and addresses are free from here on, and not before: its guest used them.
 * failed-precondition: it is wanted.
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
  const { node, workload } = record;
  const { name } = record.metadata;
  if (record.intent === 'run')
    throw new DroverError('failed-precondition', `${name} is still wanted`, { subject: { instance: id } });
  freeVolumes(tx, record, nowMs);
  freeAddresses(tx, record);
  tx.delete('instance', id, project);
  const subject = { instance: name, instanceId: id, workload, ...(node === undefined ? {} : { node }) };
  tx.event({ atMs: nowMs, type: 'instance.removed', severity: 'info', subject, message: because }, project);
}

/**
 * Deletes what is kept of an instance of a lost node: nothing of it is there. Repeating it changes nothing.
 */
export function forgetReleased(tx: Transaction, id: string, project: string, nowMs: number): void {
  const released = tx.get('released-instance', id, project);
  if (released === undefined) return;
  tx.delete('released-instance', id, project);
  const { name: instance, node, workload } = released;
  const message = `${node} came back: nothing of it is left there`;
  const subject = { instance, instanceId: id, workload, node };
  tx.event({ atMs: nowMs, type: 'instance.removed', severity: 'info', subject, message }, project);
}
