import type { Instance, InstanceSpec, NodeName } from '#shared/model.ts';
import { bridgesOf, demandOf } from './demand.ts';
import { type FleetView, isKnown } from './fleet-view.ts';
import { buildNodeViews } from './node-views.ts';
import { withImagePlaces } from './image-places.ts';
import { orRefusal } from './or-refusal.ts';
import { withoutDemand } from './planner/node-room.ts';
import type { CopyChange, RolloutWorld } from './reconciler/rollout.ts';
import type { Demand, NodeView } from './scheduler/plugin.ts';
import { schedule } from './scheduler/schedule.ts';
import { slotsFor } from './store/assign-volumes.ts';
import { volumesOfWorkload } from './store/find-volumes.ts';
import { changeOf } from './store/instance-template.ts';
import { scratchTransaction } from './store/scratch.ts';
import type { Snapshot } from './store/store.ts';
import { assignedAfter } from './store/update-instance.ts';

type View = Pick<FleetView, 'node' | 'nodes'>;

/** The world of rollout.ts, from the records and from what is known of the nodes now. Pure. */
export function rolloutWorld(view: View, snapshot: Snapshot, nowMs: number): RolloutWorld {
  return {
    nowMs,
    stale: ({ node }) => node !== undefined && !isKnown(view.node(node)),
    skewMs: ({ node }) => (node === undefined ? 0 : (view.node(node)?.clockSkewMs ?? 0)),
    slotOf: ({ metadata, workload }) =>
      volumesOfWorkload(snapshot, workload, metadata.project).find(
        ({ instanceId }) => instanceId === metadata.id,
      )?.slot,
    isAdopted: ({ metadata }) => snapshot.get('cluster-guest', metadata.id)?.adopted === true,
    obstacle: (instance, change) =>
      change.kind === 'update'
        ? obstacleToUpdate(instance, change, view, snapshot)
        : obstacleToReplacement(instance, change, view, snapshot),
  };
}

const withChange = (instance: Instance, { template, placement }: CopyChange): Instance => {
  const { displayName, assigned } = instance.spec;
  return { ...instance, placement, spec: { ...template, displayName, assigned } };
};

/**
 * Why its node cannot keep the instance with another spec: rules, room for what it grows by, or its own
 * things.
 */
function obstacleToUpdate(
  instance: Instance,
  change: CopyChange,
  view: View,
  snapshot: Snapshot,
): string | undefined {
  const { node } = instance;
  if (node === undefined) return undefined;
  const updated = withChange(instance, change);
  const how = { change: changeOf(instance.spec, change.template), node, newId: () => 'not-made' };
  const assigned = orRefusal(() => assignedAfter(scratchTransaction(snapshot), updated, how, 0));
  if (typeof assigned === 'string') return assigned;
  const [slot] = slotsFor(snapshot, updated) ?? [];
  const bridges = bridgesOf(snapshot, updated.spec, updated.metadata.project);
  const grown = growth(demandOf(instance), demandOf(updated, slot, bridges));
  // What is there already needs no node that takes something new.
  const nodes = nodeAlone(node, view, snapshot).map((each) => ({ ...each, ready: true, cordoned: false }));
  const [verdict] = schedule(grown, nodes).explain();
  if (verdict === undefined || verdict.fits) return undefined;
  const isRoom = verdict.failed.every(({ amount }) => amount !== undefined);
  return isRoom
    ? `${node} has no room for what it grows by: it ${verdict.reason}`
    : `${node} cannot keep it so: ${verdict.reason}`;
}

/** What it asks for beyond what it has already. */
function growth(before: Demand, after: Demand): Demand {
  const beyond = (now: number, was: number): number => Math.max(0, now - was);
  const { resources } = before;
  const rootMib = resources.diskMib;
  const [root, ...rest] = after.storage;
  const grownMib = beyond(root?.mib ?? 0, rootMib);
  // Its root is there already.
  const rootGrowth = root === undefined ? [] : [{ ...root, mib: grownMib, isNew: grownMib > 0 }];
  return {
    ...after,
    resources: {
      ...after.resources,
      cpuMillicores: beyond(after.resources.cpuMillicores, resources.cpuMillicores),
      memoryMib: beyond(after.resources.memoryMib, resources.memoryMib),
      diskMib: beyond(after.resources.diskMib, rootMib),
    },
    storage: [...rootGrowth, ...rest],
  };
}

function nodeAlone(name: NodeName, view: View, snapshot: Snapshot): NodeView[] {
  const node = snapshot.named('node', name);
  const records = {
    node: node === undefined ? [] : [node],
    instance: snapshot.instancesOnNode(name),
    volume: snapshot.list('volume').filter((volume) => volume.node === name),
  };
  const alone = { list: (kind: keyof typeof records) => records[kind] } as Pick<Snapshot, 'list'>;
  return buildNodeViews(alone, view.nodes());
}

/** Why there would be no place for its replacement once the instance is gone. */
function obstacleToReplacement(
  instance: Instance,
  change: CopyChange,
  view: View,
  snapshot: Snapshot,
): string | undefined {
  const { node } = instance;
  if (node === undefined) return undefined;
  const updated = withChange(instance, change);
  const bridges = bridgesOf(snapshot, updated.spec, updated.metadata.project);
  const demand = orRefusal(() => demandOf(updated, slotsFor(snapshot, updated)?.[0], bridges));
  if (typeof demand === 'string') return demand;
  // Data volumes leave no choice.
  const choice =
    demand.anchor === undefined
      ? buildNodeViews(snapshot, view.nodes())
      : nodeAlone(demand.anchor.node, view, snapshot);
  const nodes = withoutDemand(choice, node, demandOf(rootOnly(instance)));
  const decision = schedule(withImagePlaces(demand, nodes), nodes);
  return decision.node === undefined ? `nothing could take its place: ${decision.summary()}` : undefined;
}

/** What goes with it: its data volumes stay. */
const rootOnly = (instance: Instance): Omit<Instance, 'spec'> & { readonly spec: InstanceSpec } => ({
  ...instance,
  spec: { ...instance.spec, volumes: [] },
});
