import { isKind } from '#shared/errors.ts';
import type { DrainProgress } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance, InstanceId, NodeName } from '#shared/model.ts';
import { demandOf, demandOfMove, bridgesOf } from '../../demand.ts';
import { buildNodeViews } from '../../node-views.ts';
import { withDemand } from '../../planner/node-room.ts';
import type { Demand, NodeView } from '../../scheduler/plugin.ts';
import { schedule } from '../../scheduler/schedule.ts';
import { nodesOfCluster } from '../../store/put-cluster-node.ts';
import type { ClusterDeps } from '../cluster/deps.ts';
import { choiceOf, refusalOf, stays, staysBecauseOf, targetsTried, wouldMove } from './deps.ts';
import { whyNotReplaced } from './replace.ts';

/** One drain that is only thought of: each instance finds the others where they would be by then. */
export interface DryRun {
  next(instance: Instance, signal: AbortSignal): Promise<DrainProgress>;
}

export function startDryRun(node: NodeName, cluster: string | undefined, deps: ClusterDeps): DryRun {
  const { store, view, clusters, random } = deps;
  const members =
    cluster === undefined
      ? undefined
      : new Set<string>(nodesOfCluster(store.snapshot(), cluster).map(({ metadata }) => metadata.name));
  let nodes: readonly NodeView[] = buildNodeViews(store.snapshot(), view.nodes()).filter(
    ({ name }) => name !== node && members?.has(name) !== false,
  );

  const take = (name: NodeName, demand: Demand): void => {
    nodes = withDemand(nodes, name, demand);
  };

  function replaced(instance: Instance): DrainProgress {
    const obstacle = whyNotReplaced(instance);
    if (obstacle !== undefined) return obstacle;
    const { workload, spec, placement, metadata } = instance;
    const demand = demandOf(
      { workload, spec, placement },
      undefined,
      bridgesOf(store.snapshot(), spec, metadata.project),
    );
    const decision = schedule(demand, nodes);
    if (decision.node === undefined) return stays(instance, refusalOf(decision), 'resource-exhausted');
    take(decision.node, demand);
    return wouldMove(instance, decision.node, 'another takes its place', 'replaced');
  }

  async function migrated(instance: Instance, signal: AbortSignal): Promise<DrainProgress> {
    const { id, generation } = instance.metadata;
    const demand = demandOfMove(store.snapshot(), instance);
    let last: DrainProgress | undefined;
    let left = nodes;
    for (let attempt = 1; attempt <= targetsTried; attempt += 1) {
      const decision = schedule(demand, left);
      const target = decision.node;
      if (target === undefined)
        return (
          last ?? stays(instance, left.length === 0 ? `${cluster} has no other node` : refusalOf(decision))
        );
      left = left.filter(({ name }) => name !== target);
      const order = { node, instanceId: id as InstanceId, generation, requestId: random.uuidV4() };
      try {
        const way = await clusters.planMove(order, target, signal);
        take(target, demand);
        return wouldMove(instance, target, choiceOf(decision, demand), way);
      } catch (caught) {
        last = staysBecauseOf(instance, caught);
        if (!isKind(caught, 'failed-precondition', 'resource-exhausted')) return last;
      }
    }
    return last ?? stays(instance, `${cluster} has no other node`);
  }

  return {
    next: async (instance, signal) =>
      cluster === undefined ? replaced(instance) : migrated(instance, signal),
  };
}
