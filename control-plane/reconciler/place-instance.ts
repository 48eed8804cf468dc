import { DroverError, isKind } from '#shared/errors.ts';
import type { Instance } from '#shared/model.ts';
import { buildNodeViews } from '../node-views.ts';
import { type Choice, chooseNode } from '../placement.ts';
import { bindInstance, recordUnplaceable } from '../store/bind-instance.ts';
import { recordOperationStep } from '../store/finish-operation.ts';
import type { Transaction } from '../store/store.ts';
import type { StepContext } from './steps.ts';

/**
 * Decides and binds in one transaction: what another placement bound before is seen, so none overcommits.
 * resource-exhausted with the reason "unplaceable": no node fits, or none has what would be its own.
 */
export async function placeInstance(
  instance: Instance,
  { store, view, clock, random }: StepContext,
): Promise<void> {
  const { id, project, name } = instance.metadata;
  const { result } = await store.transact((tx) => {
    const record = tx.get('instance', id, project);
    if (record === undefined || record.node !== undefined || record.intent !== 'run') return undefined;
    const nowMs = clock.nowMs();
    const tell = (message: string): void =>
      recordOperationStep(tx, { workload: record.workload, project, message }, nowMs);
    const unplaceable = (because: string): string => {
      recordUnplaceable(tx, id, project, because);
      tell(`${name} has no node: ${because}`);
      return because;
    };
    const choice = chosen(() => chooseNode(tx, record, buildNodeViews(tx, view.nodes())));
    if (typeof choice === 'string') return unplaceable(choice);
    const because = choice.decision.summary();
    if (choice.decision.node === undefined) return unplaceable(because);
    const refused = chosen(() => bind(tx, record, choice, { newId: () => random.uuidV7(), nowMs }));
    if (refused !== undefined) return unplaceable(refused);
    tell(`${name} goes to ${choice.decision.node}: ${because}`);
    return undefined;
  });
  if (result !== undefined)
    throw new DroverError('resource-exhausted', result, {
      subject: { instance: id },
      reason: 'unplaceable',
    });
}

function bind(
  tx: Transaction,
  { metadata }: Instance,
  { decision, slot }: Choice,
  { newId, nowMs }: { newId(): string; readonly nowMs: number },
): undefined {
  if (decision.node === undefined) return undefined;
  const { id, project } = metadata;
  const because = decision.summary();
  bindInstance(tx, { id, project, node: decision.node, because, newId, slot: slot?.number }, nowMs);
  return undefined;
}

/** What it answers, or what refuses it: no slot of its volumes, no address or port. Then nothing was written. */
function chosen<T>(choose: () => T): T | string {
  try {
    return choose();
  } catch (error) {
    if (!isKind(error, 'failed-precondition', 'resource-exhausted')) throw error;
    return error.message;
  }
}
