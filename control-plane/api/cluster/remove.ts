import type { RemoveClusterRequest, RemoveClusterResponse } from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { NodeName } from '#shared/model.ts';
import { parseClusterName } from '#shared/wire/cluster.ts';
import {
  forgetCluster,
  freeCluster,
  holdCluster,
  instancesOfCluster,
  retireCluster,
} from '../../store/remove-cluster.ts';
import { callerName, type HandlerContext } from '../handler.ts';
import { type ClusterDeps, findCluster } from './deps.ts';
import { releaseOne } from './release.ts';

export async function removeCluster(
  request: RemoveClusterRequest,
  context: HandlerContext,
  deps: ClusterDeps,
): Promise<RemoveClusterResponse> {
  const { store, clusters, clock, wake } = deps;
  const name = parseClusterName(request.name);
  const caller = callerName(context.caller);
  findCluster(store.snapshot(), name);
  const released = request.releaseGuests ? await releaseAll(name, caller, deps) : [];
  await store.transact((tx) => retireCluster(tx, name, clock.nowMs()));
  const nodes: string[] = [];
  for (let isGone = false; !isGone; ) {
    const { result } = await store.transact((tx) => forgetCluster(tx, { name, caller }, clock.nowMs()));
    nodes.push(...result.nodes);
    isGone = result.isGone;
  }
  for (const node of nodes) clusters.disconnect(node as NodeName, 'its cluster was removed from the fleet');
  wake();
  return { released, nodes };
}

/** All or, where one cannot be released, none. A mark that cannot be taken off ends it; may be repeated. */
async function releaseAll(cluster: string, caller: string, deps: ClusterDeps): Promise<string[]> {
  const { store } = deps;
  const { result: held } = await store.transact((tx) => holdCluster(tx, cluster));
  const released: string[] = [];
  try {
    for (const instance of instancesOfCluster(store.snapshot(), cluster))
      released.push((await releaseOne(instance, caller, deps)).instance);
  } catch (error) {
    await store.transact((tx) => freeCluster(tx, held));
    throw error;
  }
  return released;
}
