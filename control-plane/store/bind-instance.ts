import { DroverError } from '#shared/errors.ts';
import type { Instance, NodeName } from '#shared/model.ts';
import type { Transaction } from './store.ts';

export interface Binding {
  readonly id: string;
  readonly project: string;
  readonly node: NodeName;
  /** Why this node, for people. */
  readonly because: string;
}

/**
 * Gives an instance its node, once and for ever: what should run elsewhere is another instance. not-found:
 * there is no such instance; aborted: it has another node, or is to go.
 */
export function bindInstance(tx: Transaction, binding: Binding, nowMs: number): void {
  const { id, project, node, because } = binding;
  const record = tx.get('instance', id, project);
  const subject = { instance: id };
  if (record === undefined) throw new DroverError('not-found', `there is no instance ${id}`, { subject });
  if (record.node === node) return;
  const { name } = record.metadata;
  if (record.node !== undefined)
    throw new DroverError('aborted', `${name} is bound to ${record.node}, not to ${node}`, { subject });
  if (record.intent !== 'run') throw new DroverError('aborted', `${name} is to be removed`, { subject });

  const bound: Instance = { ...record, node, boundAtMs: nowMs, placedBecause: because };
  tx.put('instance', id, bound, project);
  tx.event(
    {
      atMs: nowMs,
      type: 'instance.placed',
      severity: 'info',
      subject: { instance: name, instanceId: id, workload: record.workload, node },
      message: because,
    },
    project,
  );
}

/** Keeps why an instance has no node yet. An unchanged reason writes nothing. */
export function recordUnplaceable(tx: Transaction, id: string, project: string, because: string): void {
  const record = tx.get('instance', id, project);
  if (record === undefined || record.node !== undefined || record.placedBecause === because) return;
  tx.put('instance', id, { ...record, placedBecause: because }, project);
}
