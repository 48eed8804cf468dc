import type { Instance, NodeName } from '#shared/model.ts';
import { bridgesOf, demandOf, withBonds } from './demand.ts';
import { withImagePlaces } from './image-places.ts';
import { orRefusal } from './or-refusal.ts';
import type { Demand, NodeVerdict, NodeView } from './scheduler/plugin.ts';
import { type Decision, schedule } from './scheduler/schedule.ts';
import { type Slot, slotsFor } from './store/assign-volumes.ts';
import { bindInstance, recordUnplaceable } from './store/bind-instance.ts';
import type { Snapshot, Transaction } from './store/store.ts';

interface Choice {
  readonly demand: Demand;
  readonly decision: Decision;
  /** The slot of its volumes that goes with the node; undefined: it has no volumes. */
  readonly slot: Slot | undefined;
}

/**
 * Where an instance would go. With data volumes, every slot that it can have is tried, the lowest first: one
 * whose node is away or full keeps nobody from another. Pure. failed-precondition: it can have no slot.
 */
function chooseNode(
  snapshot: Pick<Snapshot, 'get' | 'named' | 'list'>,
  instance: Instance,
  nodes: readonly NodeView[],
): Choice {
  const choose = (slot: Slot | undefined): Choice => {
    const bridges = bridgesOf(snapshot, instance.spec, instance.metadata.project);
    const demand = withImagePlaces(demandOf(instance, slot, bridges), nodes);
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

/**
 * What an instance asks of a node, with the slot that it has, or would be tried first; of another one, where
 * it has a guest. Pure.
 */
export function demandIn(snapshot: Pick<Snapshot, 'get' | 'named' | 'list'>, instance: Instance): Demand {
  const slots = orRefusal(() => slotsFor(snapshot, instance));
  const bridges = bridgesOf(snapshot, instance.spec, instance.metadata.project);
  return withBonds(demandOf(instance, typeof slots === 'string' ? undefined : slots?.[0], bridges), instance);
}

export interface Placed {
  /** Undefined: none, and the instance says why. */
  readonly node: NodeName | undefined;
  /** Why this node, or why none, for people. */
  readonly because: string;
  /** What it takes up there. */
  readonly demand: Demand;
  /** Every node's verdict. */
  explain(): readonly NodeVerdict[];
}

/**
 * Decides where an instance goes and binds it there, with all that is its own; or keeps why there is no place
 * for it. In one transaction: what another placement bound before is seen, so none overcommits.
 */
export function placeInstance(
  tx: Transaction,
  instance: Instance,
  nodes: readonly NodeView[],
  { newId, nowMs }: { newId(): string; readonly nowMs: number },
): Placed {
  const { id, project } = instance.metadata;
  const refuse = (because: string, { decision, demand }: Partial<Choice>): Placed => {
    recordUnplaceable(tx, id, project, because);
    const explain = (): readonly NodeVerdict[] => decision?.explain() ?? [];
    return { node: undefined, because, demand: demand ?? demandOf(instance), explain };
  };
  const choice = orRefusal(() => chooseNode(tx, instance, nodes));
  if (typeof choice === 'string') return refuse(choice, {});
  const { decision, demand, slot } = choice;
  const because = decision.summary();
  const { node } = decision;
  if (node === undefined) return refuse(because, choice);
  // No address or port may be left there: then nothing was written.
  const refusal = orRefusal(() =>
    bindInstance(tx, { id, project, node, because, newId, slot: slot?.number }, nowMs),
  );
  if (typeof refusal === 'string') return refuse(refusal, choice);
  return { node, because, demand, explain: () => decision.explain() };
}
