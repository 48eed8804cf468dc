import type {
  Instance as WireInstance,
  Network as WireNetwork,
  Node as WireNode,
  Operation as WireOperation,
  Workload as WireWorkload,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance, Network, Node, Operation, Workload } from '#shared/model.ts';
import { formatInstance, formatNode, formatOperation, formatWorkload } from '#shared/wire/fleet.ts';
import { formatNetwork } from '#shared/wire/network-document.ts';
import { nodeStatus } from '../node-status.ts';
import type { RolloutWorld } from '../reconciler/rollout.ts';
import { rolloutWorld } from '../rollout-world.ts';
import { instanceMessage, operationProgress, workloadStatus } from '../status.ts';
import { freeIn } from '../store/address-space.ts';
import { heldIn, spacesOf } from '../store/network-use.ts';
import { adoptedGuests, guestName } from '../store/spare-adopted.ts';
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
  const snapshot = store.snapshot();
  return { snapshot, view, world: rolloutWorld(view, snapshot, clock.nowMs()) };
}

export function workloadMessage(workload: Workload, { snapshot, world }: Moment): WireWorkload {
  const { name, project } = workload.metadata;
  const instances = snapshot.instancesOfWorkload(name, project);
  const adopted = adoptedGuests(snapshot, { name, project }).map(guestName);
  return formatWorkload(workload, workloadStatus(workload, instances, world), adopted);
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

/** What more instances can have is the least of what its subnets have left. */
export function networkMessage(
  network: Network,
  snapshot: Snapshot,
  { withHeld = false }: { readonly withHeld?: boolean } = {},
): WireNetwork {
  const { name, project } = network.metadata;
  const left = spacesOf(network).map((space) =>
    freeIn(space, snapshot.heldAddresses(name, space.cidr.family, project)),
  );
  const free = left.reduce((least, each) => (each < least ? each : least), left[0] ?? 0n);
  const held = heldIn(snapshot, network.metadata);
  return formatNetwork(network, { ...(withHeld ? { held } : {}), heldCount: held.length, free });
}
