import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Instance } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { FleetView } from '../fleet-view.ts';
import { buildNodeViews } from '../node-views.ts';
import { placeInstance } from '../placement.ts';
import { recordOperationStep } from '../store/finish-operation.ts';
import type { Store } from '../store/store.ts';

interface PlaceContext {
  readonly store: Store;
  readonly view: FleetView;
  readonly clock: Clock;
  readonly random: Random;
}

/** resource-exhausted with the reason "unplaceable": no node fits, or none has what would be its own. */
export async function runPlace(
  instance: Instance,
  { store, view, clock, random }: PlaceContext,
): Promise<void> {
  const { id, project, name } = instance.metadata;
  const { result } = await store.transact((tx) => {
    const record = tx.get('instance', id, project);
    if (record === undefined || record.node !== undefined || record.intent !== 'run') return undefined;
    const nowMs = clock.nowMs();
    const nodes = buildNodeViews(tx, view.nodes());
    const { node, because } = placeInstance(tx, record, nodes, { newId: () => random.uuidV7(), nowMs });
    const how = node === undefined ? 'has no node' : `goes to ${node}`;
    const { workload } = record;
    recordOperationStep(tx, { workload, project, message: `${name} ${how}: ${because}` }, nowMs);
    return node === undefined ? because : undefined;
  });
  if (result !== undefined)
    throw new DroverError('resource-exhausted', result, {
      subject: { instance: id },
      reason: 'unplaceable',
    });
}
