import { DroverError, isKind } from '#shared/errors.ts';
import type { DrainProgress } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance, InstanceId, NodeName } from '#shared/model.ts';
import type { GuestMove } from '../../backends/cluster-backend.ts';
import { demandOfMove } from '../../demand.ts';
import { buildNodeViews } from '../../node-views.ts';
import { schedule } from '../../scheduler/schedule.ts';
import { nodesOfCluster } from '../../store/put-cluster-node.ts';
import type { ClusterDeps } from '../cluster/deps.ts';
import {
  awaitFound,
  choiceOf,
  moved,
  moving,
  refusalOf,
  stays,
  staysBecauseOf,
  targetsTried,
  timeIsOver,
  wayOfGuest,
} from './deps.ts';

/** Moves an instance with its guest and its volumes to another node of its cluster. */
export async function* migrateAway(
  instance: Instance,
  cluster: string,
  signal: AbortSignal,
  deps: ClusterDeps,
): AsyncGenerator<DrainProgress> {
  const excluded = new Set<NodeName>();
  for (let attempt = 1; ; attempt += 1) {
    const choice = chooseTarget(instance, cluster, excluded, deps);
    if (choice.node === undefined) {
      yield stays(instance, choice.because);
      return;
    }
    yield moving(instance, choice.node, choice.because, choice.way);
    try {
      yield await migrate(instance, choice.node, signal, deps);
      return;
    } catch (caught) {
      excluded.add(choice.node);
      const isOfTarget = isKind(caught, 'failed-precondition', 'resource-exhausted');
      const hasMore = chooseTarget(instance, cluster, excluded, deps).node !== undefined;
      if (isOfTarget && hasMore && attempt < targetsTried && !signal.aborted) continue;
      yield signal.aborted ? timeIsOver(instance) : staysBecauseOf(instance, caught);
      return;
    }
  }
}

const howMoved: Readonly<Record<GuestMove, string>> = {
  live: ', live',
  restarted: ', stopped and started again',
  stopped: ', while stopped',
  // Somebody else moved it meanwhile.
  none: '',
};

/** Its volumes go with it: nothing keeps it where it is. */
function chooseTarget(
  instance: Instance,
  cluster: string,
  excluded: ReadonlySet<NodeName>,
  { store, view }: ClusterDeps,
): { readonly node: NodeName | undefined; readonly because: string; readonly way: GuestMove } {
  const snapshot = store.snapshot();
  const members = new Set<string>(nodesOfCluster(snapshot, cluster).map(({ metadata }) => metadata.name));
  const nodes = buildNodeViews(snapshot, view.nodes()).filter(
    ({ name }) => members.has(name) && name !== instance.node && !excluded.has(name),
  );
  const { id, project } = instance.metadata;
  const now = snapshot.get('instance', id, project) ?? instance;
  const demand = demandOfMove(snapshot, now);
  const decision = schedule(demand, nodes);
  const { node } = decision;
  const way = wayOfGuest(now);
  if (nodes.length === 0) return { node, because: `${cluster} has no other node`, way };
  return { node, because: node === undefined ? refusalOf(decision) : choiceOf(decision, demand), way };
}

async function migrate(
  instance: Instance,
  target: NodeName,
  signal: AbortSignal,
  deps: ClusterDeps,
): Promise<DrainProgress> {
  const { store, clusters, random } = deps;
  const { id, project, generation, name } = instance.metadata;
  const node = instance.node ?? target;
  const order = { node, instanceId: id as InstanceId, generation, requestId: random.uuidV4() };
  const move = await clusters.migrate(order, target, signal);
  // Whoever asks next must find it where it is.
  const seen = await awaitFound(
    () => {
      const now = store.snapshot().get('instance', id, project);
      if (now === undefined) return { node: undefined };
      return now.node === node ? undefined : now;
    },
    signal,
    deps,
  );
  if (seen?.node === undefined)
    throw new DroverError('unavailable', `${name} was moved to ${target}, and was not seen there yet`);
  return moved(instance, seen.node, `from ${node}${howMoved[move]}`, move);
}
