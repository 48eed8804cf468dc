import type { Clock } from '#shared/clock.ts';
import type { Instance, Workload } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import { finishOperation, recordOperationStep } from '../store/finish-operation.ts';
import { forgetWorkload } from '../store/forget-workload.ts';
import type { InstanceTemplate } from '../store/instance-template.ts';
import { drawName, newInstance, putInstances } from '../store/put-instances.ts';
import { retireInstances } from '../store/retire-instances.ts';
import type { Snapshot, Store, Transaction } from '../store/store.ts';
import { updateDetail, updateInstance } from '../store/update-instance.ts';
import { type RolloutAction, type RolloutWorld, rollout } from './rollout.ts';

/** A commit has at most 128 operations; what is left over is done by the next pass. */
const instancesPerCommit = 20;

/**
 * Decides anew inside one transaction, and writes what was decided: the copies that there should be are
 * never counted on a past that another transaction has changed.
 */
export async function applyRollout(
  workload: Workload,
  worldOf: (tx: Snapshot) => RolloutWorld,
  { store, clock, random }: { readonly store: Store; readonly clock: Clock; readonly random: Random },
): Promise<void> {
  const { id, project, name } = workload.metadata;
  await store.transact((tx) => {
    const record = tx.get('workload', id, project);
    if (record === undefined) return;
    const actions = rollout(record, tx.instancesOfWorkload(name, project), worldOf(tx));
    applyActions(tx, record, actions, { random, nowMs: clock.nowMs() });
  });
}

interface ApplyContext {
  readonly random: Random;
  readonly nowMs: number;
}

function applyActions(
  tx: Transaction,
  workload: Workload,
  actions: readonly RolloutAction[],
  context: ApplyContext,
): void {
  const { nowMs } = context;
  const { name, project } = workload.metadata;
  for (const action of actions.slice(0, instancesPerCommit)) {
    switch (action.kind) {
      case 'add': {
        const count = Math.min(action.count, instancesPerCommit);
        const added = newInstances(tx, workload, action.template, count, context);
        putInstances(tx, added, nowMs);
        break;
      }
      case 'retire': {
        retireInstances(tx, [action.instance], action.because, nowMs);
        const message = `${action.instance.metadata.name} goes: ${action.because}`;
        recordOperationStep(tx, { workload: name, project, message }, nowMs);
        break;
      }
      case 'update':
        update(tx, workload, action, context);
        break;
      case 'forget-workload':
        if (forgetWorkload(tx, workload, nowMs)) finish(tx, workload, 'nothing is left', nowMs);
        break;
      case 'finish':
        finish(tx, workload, 'all is as wanted', nowMs);
    }
  }
}

function update(
  tx: Transaction,
  { metadata, spec }: Workload,
  { instance, template, change }: Extract<RolloutAction, { kind: 'update' }>,
  { random, nowMs }: ApplyContext,
): void {
  const { project, name: workload, generation: workloadGeneration } = metadata;
  const { id, name } = instance.metadata;
  const { placement } = spec;
  const newId = (): string => random.uuidV7();
  updateInstance(tx, { id, project, template, placement, workloadGeneration, newId }, nowMs);
  const message = `${name} is updated on ${instance.node}: ${updateDetail(change, template)}`;
  if (change !== 'none') recordOperationStep(tx, { workload, project, message }, nowMs);
}

function finish(tx: Transaction, { metadata }: Workload, message: string, nowMs: number): void {
  const { name, project } = metadata;
  for (const operation of tx.list('operation', project)) {
    if (operation.state !== 'running' || operation.workload !== name) continue;
    finishOperation(tx, { id: operation.id, project, message }, nowMs);
  }
}

function newInstances(
  tx: Transaction,
  workload: Workload,
  template: InstanceTemplate,
  count: number,
  context: ApplyContext,
): Instance[] {
  const names = new Set<string>();
  return Array.from({ length: count }, () => {
    const drawn = drawName(tx, workload, names, () => context.random.uuidV7());
    names.add(drawn.name);
    return newInstance(workload, template, drawn, context.nowMs);
  });
}
