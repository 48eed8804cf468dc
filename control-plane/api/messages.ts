import type {
  Instance as WireInstance,
  Node as WireNode,
  Operation as WireOperation,
  Workload as WireWorkload,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance, Node, Operation, Workload } from '#shared/model.ts';
import { formatInstance, formatNode, formatOperation, formatWorkload } from '#shared/wire/fleet.ts';
import { rolloutWorld } from '../fleet-view.ts';
import { nodeStatus } from '../node-status.ts';
import type { RolloutWorld } from '../reconciler/rollout.ts';
import { instanceMessage, operationProgress, workloadStatus } from '../status.ts';
import type { Snapshot } from '../store/store.ts';
import type { HandlerDeps } from './handler.ts';

/**
 * One moment: the records, and how the nodes were. Everything that an answer holds is told from one of
 * them.
 */
export interface Moment {
  readonly snapshot: Snapshot;
  readonly view: HandlerDeps['view'];
  readonly world: RolloutWorld;
}

export function presentMoment({ store, view, clock }: Pick<HandlerDeps, 'store' | 'view' | 'clock'>): Moment {
  return { snapshot: store.snapshot(), view, world: rolloutWorld(view, clock.nowMs()) };
}

export function workloadMessage(workload: Workload, { snapshot, world }: Moment): WireWorkload {
  const { name, project } = workload.metadata;
  const instances = snapshot.instancesOfWorkload(name, project);
  return formatWorkload(workload, workloadStatus(workload, instances, world));
}

export function instanceMessageOf(instance: Instance, { snapshot, world }: Moment): WireInstance {
  const workload = snapshot.named('workload', instance.workload, instance.metadata.project);
  return formatInstance(instance, {
    stale: world.stale(instance),
    message: instanceMessage(instance, workload, world),
  });
}

export const operationMessage = (operation: Operation, { snapshot, world }: Moment): WireOperation =>
  formatOperation(operation, operationProgress(operation, snapshot, world));

export const nodeMessage = (node: Node, { snapshot, view }: Moment): WireNode =>
  formatNode(node, nodeStatus(node, snapshot, view));
