import type { Instance, NodeName } from '#shared/model.ts';
import { demandOf } from './demand.ts';
import type { Demand, NodeView } from './scheduler/plugin.ts';
import { type Decision, schedule } from './scheduler/schedule.ts';
import { type Slot, slotsFor } from './store/assign-volumes.ts';
import type { Snapshot } from './store/store.ts';

export interface Choice {
  readonly demand: Demand;
  readonly decision: Decision;
  /** The slot of its volumes that goes with the node; undefined: it has no volumes. */
  readonly slot: Slot | undefined;
}

/**
 * Where an instance would go. With data volumes, every slot that it can have is tried, the lowest first: one
 * whose node is away or full keeps nobody from another. Pure. failed-precondition: it can have no slot.
 */
export function chooseNode(
  snapshot: Pick<Snapshot, 'get' | 'named' | 'list'>,
  instance: Instance,
  nodes: readonly NodeView[],
): Choice {
  const choose = (slot: Slot | undefined): Choice => {
    const demand = demandOf(instance, slot);
    return { demand, decision: schedule(demand, nodes), slot };
  };
  const slots = slotsFor(snapshot, instance);
  let first: Choice | undefined;
  const tried = new Set<NodeName | undefined>();
  for (const slot of slots ?? [undefined]) {
    // Of those that are tied to one node, or to none, the others find what the first one found.
    const tie = slot?.anchor?.node;
    if (tried.has(tie)) continue;
    tried.add(tie);
    const choice = choose(slot);
    if (choice.decision.node !== undefined) return choice;
    first ??= choice;
  }
  return first ?? choose(undefined);
}
