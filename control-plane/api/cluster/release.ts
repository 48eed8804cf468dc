import { asDroverError, DroverError, isKind, wordsOf } from '#shared/errors.ts';
import type { Release, ReleaseInstancesRequest } from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { Instance, InstanceId } from '#shared/model.ts';
import { takeBack } from '../../store/noted-changes.ts';
import { forgetGuest } from '../../store/put-cluster-guest.ts';
import { releaseGuest } from '../../store/release-guest.ts';
import { callerName, type HandlerContext } from '../handler.ts';
import { findTargets, parseProject } from '../resolve-name.ts';
import type { ClusterDeps } from './deps.ts';

/** Also where the caller has hung up: nothing is left half done. */
const markTimeoutMs = 60_000;

export async function* releaseInstances(
  { project, target }: ReleaseInstancesRequest,
  { caller, signal }: HandlerContext,
  deps: ClusterDeps,
): AsyncGenerator<Release> {
  const targets = findTargets(deps.store.snapshot(), target, parseProject(project));
  const by = callerName(caller);
  const [only, ...others] = targets;
  if (only === undefined)
    throw new DroverError('failed-precondition', `${target} has no instances: there is nothing to release`, {
      subject: { workload: target },
    });
  if (others.length === 0) {
    yield await releaseOne(only, by, deps);
    return;
  }
  for (const instance of targets) {
    if (signal.aborted) return;
    yield await releaseOrTell(instance, by, deps);
  }
}

async function releaseOrTell(instance: Instance, caller: string, deps: ClusterDeps): Promise<Release> {
  try {
    return await releaseOne(instance, caller, deps);
  } catch (caught) {
    const { kind } = asDroverError(caught);
    const { node = '', metadata } = instance;
    return { instance: metadata.name, node, cluster: '', vmid: 0, error: wordsOf(caught), errorKind: kind };
  }
}

/**
 * The records first, so that nobody takes the guest for lost once its mark is gone; where the mark stays,
 * they come back.
 */
export async function releaseOne(
  { metadata, node }: Instance,
  caller: string,
  { store, clusters, clock, random, wake }: ClusterDeps,
): Promise<Release> {
  const { id, name, project } = metadata;
  const instanceId = id as InstanceId;
  const { result } = await store.transact((tx) => releaseGuest(tx, { id, project, caller }, clock.nowMs()));
  const { guest, generation, before } = result;
  const at = node ?? guest.node;
  const order = { node: at, instanceId, generation, requestId: random.uuidV4() };
  try {
    await clusters.release(order, clock.timeout(markTimeoutMs));
  } catch (caught) {
    // Its guest is gone: there is nothing that a mark could be on.
    if (!isKind(caught, 'not-found')) {
      await store.transact((tx) => takeBack(tx, before));
      throw caught;
    }
  } finally {
    wake();
  }
  await store.transact((tx) => forgetGuest(tx, instanceId));
  const { cluster, vmid } = guest;
  return { instance: name, node: at, cluster, vmid, error: '', errorKind: '' };
}
