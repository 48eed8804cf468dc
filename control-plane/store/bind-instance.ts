import { DroverError } from '#shared/errors.ts';
import type { Assignment, Instance, NodeName } from '#shared/model.ts';
import { assignAddresses } from './assign-addresses.ts';
import { assignVolumes, takeSlot } from './assign-volumes.ts';
import type { Transaction } from './store.ts';

export interface AssignmentChoice {
  /** The slot that was chosen with the node; undefined: its own, or the lowest that the node can take. */
  readonly slot?: number | undefined;
  /** Hardware addresses that its guest has already, by its networks; empty or left out: drawn. */
  readonly macs?: readonly string[];
  /** A new UUIDv7 each time. */
  newId(): string;
}

export interface Binding extends AssignmentChoice {
  readonly id: string;
  readonly project: string;
  readonly node: NodeName;
  /** Why this node, for people. */
  readonly because: string;
}

/**
 * All that is an instance's own on its node: kept for its life, as far as its spec still asks for it. Called
 * when it gets its node, and again when it gets another spec where it is. failed-precondition,
 * resource-exhausted: why it cannot have them, which makes it unplaceable; then nothing is written.
 */
export function assign(
  tx: Transaction,
  instance: Instance,
  node: NodeName,
  { slot: number, macs, newId }: AssignmentChoice,
  nowMs: number,
): Assignment {
  // All that may refuse comes before anything is written.
  const slot = takeSlot(tx, instance, node, number);
  const { attachments, ports } = assignAddresses(tx, instance, node, macs);
  const volumes = assignVolumes(tx, instance, { node, slot, newId }, nowMs);
  return { attachments, volumes, ports };
}

/**
 * Gives an instance its node, once and for ever, and what is its own there: what should run elsewhere is
 * another instance. not-found: there is no such instance; aborted: it has another node, or is to go;
 * failed-precondition, resource-exhausted as assign.
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

  const assigned = assign(tx, record, node, binding, nowMs);
  const spec = { ...record.spec, assigned };
  const bound: Instance = { ...record, spec, node, boundAtMs: nowMs, placedBecause: because };
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
