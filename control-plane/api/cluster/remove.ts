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
  const released = await retire(request, { name, caller }, deps);
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

/**
 * Gives the instances that were released. All or, where one cannot be, none. A mark that cannot be taken off
 * ends it, and its nodes are used on; may be repeated.
 */
async function retire(
  { releaseGuests }: RemoveClusterRequest,
  { name, caller }: { readonly name: string; readonly caller: string },
  deps: ClusterDeps,
): Promise<string[]> {
  const { store, clock } = deps;
  const held = releaseGuests ? (await store.transact((tx) => holdCluster(tx, name))).result : [];
  const bound = releaseGuests ? instancesOfCluster(store.snapshot(), name) : [];
  const released: string[] = [];
  try {
    for (const instance of bound) released.push((await releaseOne(instance, caller, deps)).instance);
    await store.transact((tx) => retireCluster(tx, name, clock.nowMs()));
  } catch (error) {
    if (held.length > 0) await store.transact((tx) => freeCluster(tx, held));
    throw error;
  }
  return released;
}
