import {
  type ApplyResult as WireApplyResult,
  type Event as WireEvent,
  type Instance as WireInstance,
  InstanceIntent as WireIntent,
  type Node as WireNode,
  type Operation as WireOperation,
  OperationState as WireOperationState,
  type Workload as WireWorkload,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type {
  Condition,
  FleetEvent,
  Instance,
  Node,
  NodeCapacity,
  Operation,
  OperationState,
  Resources,
  Workload,
} from '#shared/model.ts';
import type { OperationProgress, WorkloadStatus } from '#shared/progress.ts';
import { formatInstanceSpec, formatInstanceState, formatResources } from '#shared/wire/instance.ts';
import { formatCondition, formatNodeCapacity, formatNodeFacts } from '#shared/wire/node.ts';
import { formatAssignment } from '#shared/wire/network.ts';
import { formatMetadata, formatWorkloadSpec } from '#shared/wire/workload.ts';

export const formatWorkload = (
  workload: Workload,
  status: WorkloadStatus,
  adoptedGuests: readonly string[],
): WireWorkload => ({
  metadata: formatMetadata(workload.metadata),
  spec: formatWorkloadSpec(workload.spec),
  status: { ...status, adoptedGuests: [...adoptedGuests] },
});

const intents = {
  run: WireIntent.INSTANCE_INTENT_RUN,
  remove: WireIntent.INSTANCE_INTENT_REMOVE,
} as const;

export const formatInstance = (
  instance: Instance,
  { stale, message }: { readonly stale: boolean; readonly message: string },
): WireInstance => ({
  metadata: formatMetadata(instance.metadata),
  workload: instance.workload,
  node: instance.node ?? '',
  workloadGeneration: BigInt(instance.workloadGeneration),
  intent: intents[instance.intent],
  observed:
    instance.observed === undefined || instance.observed === 'absent'
      ? undefined
      : formatInstanceState(instance.observed),
  stale,
  spec: formatInstanceSpec(instance.spec),
  message,
  // Without a node, the record keeps there why none fits; that is the message's.
  placedBecause: instance.node === undefined ? '' : instance.placedBecause,
  assigned: instance.node === undefined ? undefined : formatAssignment(instance.spec.assigned),
});

/** What is known of a node beyond its record. */
export interface NodeStatus {
  readonly connected: boolean;
  readonly ready: boolean;
  readonly capacity: NodeCapacity | undefined;
  readonly conditions: readonly Condition[];
  readonly reserved: Resources;
  readonly instances: number;
  readonly lastSeenAtMs: number;
}

export const formatNode = (node: Node, status: NodeStatus): WireNode => ({
  metadata: formatMetadata({
    ...node.metadata,
    labels: { ...node.facts?.labels, ...node.metadata.labels },
  }),
  cordoned: node.cordoned,
  connected: status.connected,
  ready: status.ready,
  facts: node.facts === undefined ? undefined : formatNodeFacts(node.facts),
  capacity: status.capacity === undefined ? undefined : formatNodeCapacity(status.capacity),
  conditions: status.conditions.map(formatCondition),
  reserved: formatResources(status.reserved),
  instances: status.instances,
  lastSeenAtMs: BigInt(Math.round(status.lastSeenAtMs)),
  incarnation: node.incarnation,
  cluster: node.cluster ?? '',
});

const operationStates: Readonly<Record<OperationState, WireOperationState>> = {
  running: WireOperationState.OPERATION_STATE_RUNNING,
  succeeded: WireOperationState.OPERATION_STATE_SUCCEEDED,
  superseded: WireOperationState.OPERATION_STATE_SUPERSEDED,
};

export const formatOperation = (operation: Operation, progress: OperationProgress): WireOperation => ({
  id: operation.id,
  kind: operation.kind,
  project: operation.project,
  workload: operation.workload,
  generation: BigInt(operation.generation),
  state: operationStates[operation.state],
  done: progress.done,
  total: progress.total,
  message: progress.message,
  blocked: progress.blockedBy !== '',
  blockedBy: progress.blockedBy,
  caller: operation.caller,
  createdAtMs: BigInt(Math.round(operation.createdAtMs)),
  endedAtMs: BigInt(Math.round(operation.endedAtMs)),
  steps: operation.steps.map(({ atMs, message }) => ({ atMs: BigInt(Math.round(atMs)), message })),
});

export const formatEvent = (event: FleetEvent): WireEvent => ({
  revision: BigInt(event.revision),
  atMs: BigInt(Math.round(event.atMs)),
  type: event.type,
  severity: event.severity,
  subject: { ...event.subject },
  message: event.message,
});

/** "created", "changed" or "unchanged". */
export type Change = 'created' | 'changed' | 'unchanged';

export const formatApplyResult = (
  workload: WireWorkload | undefined,
  { change, operationId }: { readonly change: Change; readonly operationId: string },
): WireApplyResult => ({ workload, change, operationId });
