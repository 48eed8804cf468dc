import type { Instance, NodeName, Phase, Volume, Workload } from '#shared/model.ts';
import { currentResolution } from '../store/instance-template.ts';
import { isAbandoned } from '../store/remove-volume.ts';
import type { ReleasedInstance } from '../store/store.ts';

/** One thing to do next. Each may be repeated; steps.ts has one executor for each kind. */
export type Step =
  /**
   * Asks an eligible node what the image stands for, and records digest and runtime for the present
   * generation.
   */
  | { readonly kind: 'resolve-image'; readonly workload: Workload }
  /** Chooses a node and binds the instance to it. */
  | { readonly kind: 'place'; readonly instance: Instance }
  /** Tells the node what should be, once for each generation. */
  | { readonly kind: 'ensure'; readonly instance: Instance; readonly node: NodeName }
  /** No guest of before an update runs any more: gives back the addresses that only that one had. */
  | { readonly kind: 'let-go'; readonly instance: Instance }
  /** Stops and removes it on the node. When the order resolves, nothing is left there. */
  | { readonly kind: 'remove'; readonly instance: Instance; readonly node: NodeName }
  /** Deletes the record: nothing of it is anywhere. */
  | { readonly kind: 'forget'; readonly instance: Instance }
  /** Removes what is left on a host that came back after it was given up, then forgets it. */
  | { readonly kind: 'clear'; readonly released: ReleasedInstance }
  /** Removes a data volume that nobody wants from its node, then forgets it. */
  | { readonly kind: 'remove-volume'; readonly volume: Volume };

export interface StepWorld {
  /**
   * Its node does not answer, or has not told yet all that it holds, so what we know of the instance is the
   * past.
   */
  stale(instance: Instance): boolean;
}

/** The next step for one instance, or none when it is as wanted or when only waiting helps. Pure. */
export function nextStep(instance: Instance, world: StepWorld): Step | undefined {
  const { node, observed } = instance;
  const wanted = instance.intent === 'run';
  if (node === undefined) return { kind: wanted ? 'place' : 'forget', instance };
  if (world.stale(instance)) return undefined; // A silent node is not an empty one: wait until it speaks.
  if (!wanted)
    return observed === 'absent' ? { kind: 'forget', instance } : { kind: 'remove', instance, node };
  if (observed === undefined) return { kind: 'ensure', instance, node };
  if (observed === 'absent') return undefined; // It was there and is gone: another takes its place.
  if (observed.generation < instance.metadata.generation) return { kind: 'ensure', instance, node };
  if (instance.leaving !== undefined && isOfItsGeneration(observed.phase))
    return { kind: 'let-go', instance };
  return undefined; // Running, exited, backing off: the agent follows the restart policy, we only watch.
}

/** While a guest is made anew, or cannot be, the one of before may run, whatever its node was ordered. */
const isOfItsGeneration = (phase: Phase): boolean =>
  phase === 'running' ||
  phase === 'paused' ||
  phase === 'exited' ||
  phase === 'backing-off' ||
  phase === 'stopped';

/** The step that a data volume needs: none while it is wanted, had by an instance, or out of reach. Pure. */
export function volumeStep(
  volume: Volume,
  workload: Workload | undefined,
  isReachable: (node: NodeName) => boolean,
): Step | undefined {
  if (!isAbandoned(volume, workload)) return undefined;
  if (volume.node !== undefined && !isReachable(volume.node)) return undefined;
  return { kind: 'remove-volume', volume };
}

/** The step that must come before any copy of the present generation can be made. Pure. */
export function resolveStep(workload: Workload): Step | undefined {
  if (workload.deletingSinceMs !== undefined) return undefined;
  return currentResolution(workload) === undefined ? { kind: 'resolve-image', workload } : undefined;
}

/** What a step is about, for the log. */
export function aboutStep(step: Step): Readonly<Record<string, string>> {
  const { kind } = step;
  if (kind === 'resolve-image') return { workload: step.workload.metadata.name, step: kind };
  if (kind === 'remove-volume') return { volume: step.volume.metadata.name, step: kind };
  if (kind === 'clear') return { instance: step.released.name, step: kind };
  return { instance: step.instance.metadata.name, step: kind };
}
