import { asDroverError, type DroverError } from '#shared/errors.ts';
import type { Instance, InstanceId, Snapshot } from '#shared/model.ts';
import { fanOut } from '../fan-out.ts';
import type { HandlerDeps } from '../handler.ts';
import { presentMoment } from '../messages.ts';
import { nodeOfReachable } from './instances.ts';

const atOnce = 16;

/**
 * By the instance's id: the last snapshot that is wanted, or the error for which nobody knows: what fails for
 * one leaves the others. An instance that is not in it has no such snapshot.
 */
export async function findSnapshots(
  instances: readonly Instance[],
  isWanted: (snapshot: Snapshot, instance: Instance) => boolean,
  deps: HandlerDeps,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Snapshot | DroverError>> {
  const moment = presentMoment(deps);
  const found = new Map<string, Snapshot | DroverError>();
  const look = async (instance: Instance): Promise<void> => {
    const id = instance.metadata.id as InstanceId;
    try {
      const node = nodeOfReachable(instance, moment);
      for await (const one of deps.backendOf(node).listSnapshots(node, id, signal))
        if (isWanted(one, instance)) found.set(id, one);
    } catch (caught) {
      found.set(id, asDroverError(caught));
    }
  };
  for await (const _ of fanOut(instances, atOnce, look));
  return found;
}
