import { formatTime } from '#shared/clock.ts';
import type { Instance, Operation, Workload } from '#shared/model.ts';
import type { OperationProgress, WorkloadStatus } from '#shared/progress.ts';
import { formatDuration } from '#shared/units.ts';
import {
  blockedChange,
  currentState,
  isComplete,
  isDone,
  isSettled,
  isUnplaceable,
  readyInMs,
  type RolloutWorld,
  runningState,
} from './reconciler/rollout.ts';
import { currentResolution, isOutdated } from './store/instance-template.ts';
import type { Snapshot } from './store/store.ts';

interface Blocker {
  readonly by: Exclude<OperationProgress['blockedBy'], ''>;
  readonly message: string;
}

/** How far a workload is. Pure, as all of this file. */
export function workloadStatus(
  workload: Workload,
  instances: readonly Instance[],
  world: RolloutWorld,
): WorkloadStatus {
  const alive = instances.filter(({ intent }) => intent === 'run');
  const deleting = workload.deletingSinceMs !== undefined;
  const outdated = alive.filter((each) => isOutdated(each, workload));
  const blocker = findBlocker(workload, instances, world);
  const isReady = isSettled(workload, instances, world);
  const state = deleting ? 'deleting' : isReady ? 'ready' : blocker ? 'blocked' : 'progressing';
  return {
    wanted: deleting ? 0 : workload.spec.replicas,
    running: alive.filter((each) => runningState(each) !== undefined && !world.stale(each)).length,
    ready: doneCopies(workload, alive, world).length,
    unplaced: alive.filter(isUnplaceable).length,
    outdated: outdated.length,
    imageDigest: currentResolution(workload)?.digest ?? '',
    runtimeBecause: currentResolution(workload)?.runtimeBecause ?? '',
    runtime: workload.spec.runtime || (workload.resolved?.runtime ?? ''),
    deleting,
    message: isReady && !deleting ? '' : (blocker?.message ?? ''),
    state,
  };
}

/** How far an operation is; what has ended is told from its record alone. */
export function operationProgress(
  operation: Operation,
  snapshot: Snapshot,
  world: RolloutWorld,
): OperationProgress {
  const { total } = operation;
  if (operation.state === 'superseded')
    return { done: 0, total, message: 'a later change took its place', blockedBy: '' };
  if (operation.state === 'succeeded') return { done: total, total, message: 'done', blockedBy: '' };

  const { project } = operation;
  const workload = snapshot.named('workload', operation.workload, project);
  if (workload === undefined) return { done: total, total, message: 'nothing is left', blockedBy: '' };
  const instances = snapshot.instancesOfWorkload(operation.workload, project);
  const blocker = findBlocker(workload, instances, world);
  const blockedBy = blocker?.by ?? '';
  if (workload.deletingSinceMs !== undefined) {
    const done = Math.max(0, total - instances.length);
    return { done, total, message: blocker?.message ?? `${instances.length} left to remove`, blockedBy };
  }
  const done = Math.min(total, doneCopies(workload, instances, world).length);
  return { done, total, message: blocker?.message ?? nowDoing(workload, instances, world), blockedBy };
}

/** Copies of what is wanted now that need nothing more. */
const doneCopies = (workload: Workload, instances: readonly Instance[], world: RolloutWorld): Instance[] =>
  instances.filter(
    (each) => each.intent === 'run' && !isOutdated(each, workload) && isDone(each, workload, world),
  );

/** What waits for somebody: it goes on by itself once that has changed. */
function findBlocker(
  workload: Workload,
  instances: readonly Instance[],
  world: RolloutWorld,
): Blocker | undefined {
  const wanted = instances.filter(({ intent }) => intent === 'run');
  const isDeleting = workload.deletingSinceMs !== undefined;
  if (!isDeleting) {
    if (currentResolution(workload) === undefined && workload.resolveMessage !== '')
      return { by: 'image', message: `image ${workload.spec.image}: ${workload.resolveMessage}` };
    const unplaced = wanted.find(isUnplaceable);
    // What goes makes room: until it is gone, that nothing fits is no answer yet.
    const isMakingRoom = instances.some(
      (each) => each.intent === 'remove' && each.node !== undefined && !world.stale(each),
    );
    if (unplaced !== undefined && !isMakingRoom)
      return { by: 'unplaceable', message: `${unplaced.metadata.name}: ${unplaced.placedBecause}` };
    const failed = wanted.find((each) => !world.stale(each) && !isOutdated(each, workload) && isFailed(each));
    if (failed !== undefined)
      return {
        by: 'guest-failed',
        message: `${failed.metadata.name}: ${instanceMessage(failed, workload, world)}`,
      };
    const blocked = blockedChange(workload, instances, world);
    if (blocked !== undefined) {
      const { metadata } = blocked.instance;
      return { by: 'unplaceable', message: `${metadata.name} stays as it is: ${blocked.because}` };
    }
  }
  const away = instances.filter((each) => world.stale(each));
  if (away.length === 0) return undefined;
  const nodes = nodeNames(away);
  return { by: 'node-away', message: `${countCopies(away.length)} on nodes that do not answer: ${nodes}` };
}

function isFailed(instance: Instance): boolean {
  const phase = currentState(instance)?.phase;
  if (phase === 'exited') return !isComplete(instance);
  return phase === 'failed' || phase === 'backing-off' || phase === 'stopped' || phase === 'paused';
}

function nowDoing(workload: Workload, instances: readonly Instance[], world: RolloutWorld): string {
  if (currentResolution(workload) === undefined) return `finding out what ${workload.spec.image} is`;
  const { replicas } = workload.spec;
  const done = doneCopies(workload, instances, world).length;
  const removing = instances.filter(({ intent }) => intent === 'remove').length;
  if (done < replicas) return `${done} of ${replicas} ready`;
  const old = instances.filter((each) => each.intent === 'run' && isOutdated(each, workload)).length;
  if (old > 0) return `${countCopies(old)} of an older generation to change`;
  return removing > 0 ? `removing ${countCopies(removing)}` : 'settling';
}

/** Each once, by name: "h1, h2". */
export const nodeNames = (instances: readonly Instance[]): string =>
  [...new Set(instances.flatMap(({ node }) => node ?? []))].toSorted((a, b) => (a < b ? -1 : 1)).join(', ');

const countCopies = (count: number): string => (count === 1 ? '1 copy' : `${count} copies`);

/**
 * Why an instance is as it is, for people; empty when all is well. The workload is undefined when it is
 * gone.
 */
export function instanceMessage(
  instance: Instance,
  workload: Workload | undefined,
  world: RolloutWorld,
): string {
  const { node, observed, intent, metadata } = instance;
  if (node === undefined) return instance.placedBecause || 'waits for a node';
  if (world.stale(instance)) {
    const seen =
      observed === undefined || observed === 'absent' ? 'not seen yet' : `${observed.phase} when last seen`;
    return `${node} does not answer: ${seen}, unknown now`;
  }
  if (intent === 'remove') return observed === 'absent' ? 'removed' : `being removed from ${node}`;
  if (observed === undefined) return `ordered on ${node}, not reported yet`;
  if (observed === 'absent') return `${node} holds it no more; another takes its place`;
  if (observed.generation < metadata.generation) return `${node} has not taken in the newest order yet`;
  return phaseMessage(instance, workload, world);
}

function phaseMessage(instance: Instance, workload: Workload | undefined, world: RolloutWorld): string {
  const state = currentState(instance);
  if (state === undefined) return '';
  const { message, exit, nextStartAtMs } = state;
  const how =
    exit === undefined
      ? ''
      : exit.unknown
        ? 'ended, its exit code was lost'
        : `ended with ${exit.code}${exit.outOfMemory ? ', out of memory' : ''}`;
  const again = nextStartAtMs > 0 ? `again at ${formatTime(nextStartAtMs)}` : '';
  const join = (...parts: string[]): string => parts.filter((part) => part !== '').join('; ');
  switch (state.phase) {
    case 'running': {
      const waitMs = workload && readyInMs(instance, workload, world);
      return join(message, waitMs ? `ready in ${formatDuration(Math.ceil(waitMs / 100) * 100)}` : '');
    }
    case 'preparing':
      return message || 'its image is fetched or its root made';
    case 'exited':
      return isComplete(instance) ? message : join(how, message, 'its restart policy leaves it so');
    case 'backing-off':
      return join(how, message, again);
    case 'failed':
      return join(message || 'it could not be made', again);
    case 'paused':
      return join('paused', message);
    case 'stopped':
      return join('stopped on its node', message);
    case 'stopping':
      return message || 'being stopped';
    case 'unknown':
      return message || 'its node cannot tell how it is';
  }
}
