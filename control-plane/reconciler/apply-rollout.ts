import type { Clock } from '#shared/clock.ts';
import type { Instance, Workload } from '#shared/model.ts';
import { displayName } from '#shared/names.ts';
import type { Random } from '#shared/random.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { finishOperation, recordOperationStep } from '../store/finish-operation.ts';
import { forgetWorkload } from '../store/forget-workload.ts';
import type { InstanceTemplate } from '../store/instance-template.ts';
import { putInstances } from '../store/put-instances.ts';
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
    const { id, name } = drawName(tx, workload, names, context.random);
    names.add(name);
    return newInstance(workload, template, { id, name }, context.nowMs);
  });
}

/** Five characters are few: an id whose name is taken is drawn again. */
function drawName(
  tx: Transaction,
  { metadata }: Workload,
  taken: ReadonlySet<string>,
  random: Random,
): { id: string; name: string } {
  for (;;) {
    const id = random.uuidV7();
    const name = displayName(metadata.name, id);
    if (!taken.has(name) && tx.named('instance', name, metadata.project) === undefined) return { id, name };
  }
}

function newInstance(
  { metadata, spec }: Workload,
  template: InstanceTemplate,
  { id, name }: { readonly id: string; readonly name: string },
  nowMs: number,
): Instance {
  const { project, labels, generation } = metadata;
  return {
    metadata: { project, name, id, labels, annotations: {}, revision: 0, generation: 1, createdAtMs: nowMs },
    workload: metadata.name,
    workloadGeneration: generation,
    intent: 'run',
    spec: { ...template, displayName: name, assigned: emptyAssignment },
    placement: spec.placement,
    node: undefined,
    boundAtMs: 0,
    placedBecause: '',
    observed: undefined,
  };
}
