import type {
  Caller,
  Condition,
  Digest,
  GuestStats,
  Image,
  InstanceId,
  InstanceSpec,
  InstanceState,
  NodeCapacity,
  NodeFacts,
  NodeName,
  NodeVolume,
  Snapshot,
  SnapshotId,
  VolumeId,
} from '#shared/model.ts';
import type { ExecInput, ExecOutput, ExecStart, LogLine, LogOptions } from '#shared/streams.ts';

/** What a backend tells of a node and its instances; observe.ts is its only reader. */
export type Observation =
  /** The node answers from now on. What it held before is unknown until 'complete'. */
  | {
      readonly kind: 'connected';
      readonly node: NodeName;
      readonly facts: NodeFacts;
      readonly incarnation: string;
      readonly bootId: string;
      readonly clockSkewMs: number;
    }
  /** It stopped answering: everything on it is as it was last seen, and unknown. */
  | { readonly kind: 'disconnected'; readonly node: NodeName; readonly reason: string }
  | { readonly kind: 'facts'; readonly node: NodeName; readonly facts: NodeFacts }
  | {
      readonly kind: 'feeling';
      readonly node: NodeName;
      readonly capacity: NodeCapacity;
      readonly conditions: readonly Condition[];
      readonly clockSkewMs: number;
    }
  | { readonly kind: 'instance'; readonly node: NodeName; readonly state: InstanceState }
  | { readonly kind: 'absent'; readonly node: NodeName; readonly instanceId: InstanceId }
  /** What is being done for an instance just now, for people; oldest first. */
  | {
      readonly kind: 'progress';
      readonly node: NodeName;
      readonly instanceId: InstanceId;
      readonly lines: readonly string[];
    }
  /**
   * All instances of the node have been told since 'connected' or the last resync; what was not named is
   * absent.
   */
  | { readonly kind: 'complete'; readonly node: NodeName; readonly present: ReadonlySet<InstanceId> };

/** How far a pull on a node is. */
export interface PullProgress {
  readonly step: string;
  readonly bytesDone: number;
  /** Zero while unknown. */
  readonly bytesTotal: number;
  readonly done: boolean;
  /** Undefined while unknown. */
  readonly digest: Digest | undefined;
}

/** What an order is bound to; the backend adds fleet id and epoch. */
export interface OrderHead {
  readonly node: NodeName;
  readonly instanceId: InstanceId;
  readonly generation: number;
  readonly requestId: string;
}

export interface ExecChannel {
  readonly output: AsyncIterable<ExecOutput>;
  /** failed-precondition once it has ended. */
  send(input: ExecInput): Promise<void>;
  close(): void;
}

/**
 * Backend reaches nodes. The rest of the control plane cannot tell one from another.
 *
 * Every method about a node that does not answer throws unavailable at once; a call whose answer was lost
 * throws unavailable or deadline-exceeded, which mean that the outcome is unknown. Orders may be repeated
 * with the same request id. test/conformance/backend.ts holds every backend to this.
 */
export interface Backend {
  /** "agent". */
  readonly name: string;
  /** Everything seen, from the moment of the call on, until the signal. One reader. */
  watch(signal: AbortSignal): AsyncIterable<Observation>;
  /** Answers when the order is durable on the node; what comes of it is observed. */
  ensureInstance(order: OrderHead, spec: InstanceSpec, signal: AbortSignal): Promise<InstanceState>;
  stopInstance(order: OrderHead, graceMs: number | undefined, signal: AbortSignal): Promise<InstanceState>;
  signalInstance(order: OrderHead, signalNumber: number, signal: AbortSignal): Promise<void>;
  /** Resolves when nothing is left. */
  removeInstance(order: OrderHead, graceMs: number | undefined, signal: AbortSignal): Promise<void>;
  /** `runtime`: for which, where that is known: what it cannot run may be refused before it is fetched. */
  resolveImage(
    node: NodeName,
    reference: string,
    credential: string,
    signal: AbortSignal,
    runtime?: string,
  ): Promise<{ digest: Digest; platforms: string[] }>;
  listImages(node: NodeName, signal: AbortSignal): AsyncIterable<Image>;
  /** Fetches an image whose reference has a digest; the last progress has 'ready'. */
  pullImage(
    node: NodeName,
    image: { readonly reference: string; readonly credential: string },
    signal: AbortSignal,
  ): AsyncIterable<PullProgress>;
  /** Bytes that are free again. failed-precondition while something is made from it. */
  removeImage(node: NodeName, digest: Digest, signal: AbortSignal): Promise<number>;
  /** As RuntimeService's of the same name; unimplemented where the guest's runtime cannot. */
  pauseInstance(order: OrderHead, signal: AbortSignal): Promise<InstanceState>;
  resumeInstance(order: OrderHead, signal: AbortSignal): Promise<InstanceState>;
  /**
   * Has the file systems inside stand still until they are thawed; whether they did already. May be repeated.
   * unimplemented where its runtime cannot; failed-precondition: nobody inside answers, or it refuses.
   */
  freezeInstance(order: OrderHead, signal: AbortSignal): Promise<boolean>;
  /** Lets them go on. May be repeated. Errors as freezeInstance. */
  thawInstance(order: OrderHead, signal: AbortSignal): Promise<void>;
  /** One reading, then one every interval; of one instance, or of all that run there. Zero: one reading. */
  stats(
    node: NodeName,
    instanceId: InstanceId | undefined,
    intervalMs: number,
    signal: AbortSignal,
  ): AsyncIterable<GuestStats>;
  createSnapshot(
    order: OrderHead,
    snapshot: { readonly id: SnapshotId; readonly name: string },
    signal: AbortSignal,
  ): Promise<Snapshot>;
  /** Of one instance, or of all there; oldest first. */
  listSnapshots(
    node: NodeName,
    instanceId: InstanceId | undefined,
    signal: AbortSignal,
  ): AsyncIterable<Snapshot>;
  /** Stops the guest, sets its volumes back, and starts it again if it should run. */
  rollbackSnapshot(order: OrderHead, snapshot: SnapshotId, signal: AbortSignal): Promise<InstanceState>;
  removeSnapshot(order: OrderHead, snapshot: SnapshotId, signal: AbortSignal): Promise<void>;
  listVolumes(node: NodeName, signal: AbortSignal): AsyncIterable<NodeVolume>;
  /** Resolves when nothing is left of it. failed-precondition while an instance has it. */
  removeVolume(node: NodeName, volume: VolumeId, signal: AbortSignal): Promise<void>;
  exec(node: NodeName, start: ExecStart, caller: Caller, signal: AbortSignal): Promise<ExecChannel>;
  /** The guest's own terminal; the start's command is empty. */
  console(node: NodeName, start: ExecStart, caller: Caller, signal: AbortSignal): Promise<ExecChannel>;
  logs(
    node: NodeName,
    instanceId: InstanceId,
    options: LogOptions,
    signal: AbortSignal,
  ): AsyncIterable<LogLine>;
  /** Ends whatever connection the node has: its certificate was revoked or it was removed. */
  disconnect(node: NodeName, reason: string): void;
  close(): Promise<void>;
}
