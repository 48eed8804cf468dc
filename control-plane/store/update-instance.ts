import type { Assignment, Instance, NodeName, Placement } from '#shared/model.ts';
import { leavingOf } from './assign-addresses.ts';
import { assignVolumes, takeSlot } from './assign-volumes.ts';
import { assign } from './bind-instance.ts';
import { changeOf, type InstanceTemplate, type SpecChange } from './instance-template.ts';
import type { Transaction } from './store.ts';

export interface Update {
  readonly id: string;
  readonly project: string;
  readonly template: InstanceTemplate;
  readonly placement: Placement;
  readonly workloadGeneration: number;
  /** A new UUIDv7 each time. */
  newId(): string;
}

const updateDetails: Readonly<Record<Exclude<SpecChange, 'replace'>, string>> = {
  none: 'nothing changes for it',
  limits: 'limits set while it runs',
  anew: 'made anew on the same root, after a snapshot',
};

/** For people: what an update in place does to the guest. */
export const updateDetail = (
  change: Exclude<SpecChange, 'replace'>,
  { runtime }: InstanceTemplate,
): string =>
  change === 'anew' && runtime.startsWith('proxmox-')
    ? 'its configuration changes; what cannot while it runs does at its next start'
    : updateDetails[change];

/**
 * Gives an instance another spec where it is: its name, its node and what is its own stay. Its generation
 * grows, which orders it anew, unless nothing of it is told to its node. What is gone, is to go or has no
 * node is left alone, as what has the spec already. failed-precondition, resource-exhausted as assign:
 * nothing is written.
 */
export function updateInstance(tx: Transaction, update: Update, nowMs: number): void {
  const { id, project, template, placement, workloadGeneration, newId } = update;
  const record = tx.get('instance', id, project);
  if (record === undefined || record.intent !== 'run' || record.node === undefined) return;
  const change = changeOf(record.spec, template);
  if (change === 'replace' || record.workloadGeneration > workloadGeneration) return;

  const { metadata, node } = record;
  const generation = change === 'none' ? metadata.generation : metadata.generation + 1;
  const spec = { ...template, displayName: record.spec.displayName, assigned: record.spec.assigned };
  const updated: Instance = {
    ...record,
    metadata: { ...metadata, generation },
    workloadGeneration,
    placement,
    spec: change === 'none' ? record.spec : spec,
  };
  const assigned = assignedAfter(tx, updated, { change, node, newId }, nowMs);
  const leaving = leavingOf(record, assigned);
  const { leaving: _before, ...plain } = updated;
  tx.put(
    'instance',
    id,
    { ...plain, spec: { ...updated.spec, assigned }, ...(leaving.length > 0 && { leaving }) },
    project,
  );
  if (change === 'none') return;
  const { name } = metadata;
  tx.event(
    {
      atMs: nowMs,
      type: 'instance.updated',
      severity: 'info',
      subject: { instance: name, instanceId: id, workload: record.workload, node },
      message: `generation ${workloadGeneration} of ${record.workload}: ${updateDetail(change, template)}`,
    },
    project,
  );
}

/** What goes on running is told nothing of networks that changed meanwhile: it would have to be made anew. */
export function assignedAfter(
  tx: Transaction,
  updated: Instance,
  { change, node, newId }: { readonly change: SpecChange; readonly node: NodeName } & Pick<Update, 'newId'>,
  nowMs: number,
): Assignment {
  const { assigned } = updated.spec;
  if (change === 'none') return assigned;
  if (change !== 'limits') return assign(tx, updated, node, { newId }, nowMs);
  const slot = takeSlot(tx, updated, node, undefined);
  return { ...assigned, volumes: assignVolumes(tx, updated, { node, slot, newId }, nowMs) };
}
