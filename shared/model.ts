/**
 * The nouns, as the code speaks of them. Values of these types have been checked: wire.ts is the only place
 * that makes them from text or messages. Times are milliseconds since 1970 UTC; revisions, generations and
 * epochs are safe integers.
 */

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** UUIDv7, lower case. */
export type InstanceId = Branded<'InstanceId'>;
/** Name of a node: 1 to 40 of [a-z0-9-], beginning and ending with a letter or digit. */
export type NodeName = Branded<'NodeName'>;
/** "sha256:" and 64 hex digits. */
export type Digest = Branded<'Digest'>;

export interface Metadata {
  readonly project: string;
  readonly name: string;
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Filled from the store's record when it is read; not part of what is written. */
  readonly revision: number;
  readonly generation: number;
  readonly createdAtMs: number;
}

/** Zero means no limit, and reserves nothing. */
export interface Resources {
  readonly cpuMillicores: number;
  readonly memoryMib: number;
  readonly diskMib: number;
  /** Never zero once checked: 4096 where the request left it out. */
  readonly pids: number;
}

export type NetworkMode = 'none' | 'host';
export type RestartPolicy = 'never' | 'on-failure' | 'always';

export interface Restart {
  readonly policy: RestartPolicy;
  /** Zero means no limit. */
  readonly maxAttempts: number;
}

/** All that a node needs to make one instance run; the body of an ensure order. */
export interface InstanceSpec {
  readonly runtime: string;
  /** Always with a digest. */
  readonly image: string;
  /** Empty: the image's own. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly resources: Resources;
  readonly network: NetworkMode;
  readonly restart: Restart;
  readonly stopGraceMs: number;
  /** "web-x7k2p"; a DNS label. */
  readonly displayName: string;
  readonly workload: string;
  /** Empty: the image's own. */
  readonly user: string;
  /** Absolute, or empty: the image's own. */
  readonly workingDir: string;
  /** Empty: the node's default. */
  readonly imageCredential: string;
}

/** 'unspecified' never comes from a peer of this version; a number is a phase that we do not know yet. */
export type Phase =
  | 'preparing'
  | 'running'
  | 'exited'
  | 'backing-off'
  | 'stopped'
  | 'stopping'
  | 'failed'
  | 'unknown';

export interface ExitStatus {
  /** 128 + n for signal n. Means nothing while unknown is true. */
  readonly code: number;
  readonly unknown: boolean;
  readonly outOfMemory: boolean;
  readonly atMs: number;
}

/** What an agent sees of one instance. */
export interface InstanceState {
  readonly instanceId: InstanceId;
  readonly generation: number;
  readonly phase: Phase;
  /** Zero when nothing runs. */
  readonly pid: number;
  /** Zero when nothing runs. */
  readonly startedAtMs: number;
  readonly exit: ExitStatus | undefined;
  readonly restarts: number;
  /** Zero when the agent will not try again. */
  readonly nextStartAtMs: number;
  /** Empty when all is well. */
  readonly message: string;
  /** As read back from the host; zero where it sets none. */
  readonly limits: Resources | undefined;
  readonly notEnforced: readonly string[];
  readonly displayName: string;
}

export interface Condition {
  readonly type: string;
  readonly holds: boolean;
  readonly reason: string;
  readonly message: string;
  readonly sinceMs: number;
}

export interface RuntimeFacts {
  readonly name: string;
  readonly version: string;
  readonly healthy: boolean;
  readonly detail: string;
  readonly capabilities: readonly string[];
}

export interface NodeFacts {
  readonly name: NodeName;
  readonly architecture: string;
  readonly os: string;
  readonly kernel: string;
  readonly cgroups: string;
  readonly cpuCount: number;
  readonly memoryMib: number;
  readonly diskMib: number;
  readonly runtimes: readonly RuntimeFacts[];
  readonly labels: Readonly<Record<string, string>>;
  readonly agentVersion: string;
  readonly extra: Readonly<Record<string, string>>;
}

export interface NodeCapacity {
  readonly memoryAvailableMib: number;
  readonly diskFreeMib: number;
  readonly cpuUsedMillicores: number;
  readonly instances: number;
}

export interface Image {
  readonly digest: Digest;
  readonly references: readonly string[];
  readonly sizeBytes: number;
  readonly lastUsedAtMs: number;
  readonly ready: boolean;
}

/** Goes with everything that changes an instance on a node. */
export interface Order {
  readonly fleetId: string;
  readonly fleetEpoch: number;
  readonly instanceId: InstanceId;
  readonly generation: number;
  readonly requestId: string;
}

export type PlacementStrategy = 'spread' | 'bin-pack';

export interface Placement {
  /** Label selectors as they were written; selector.ts parses them. */
  readonly require: readonly string[];
  readonly strategy: PlacementStrategy;
}

/** What a person applies. */
export interface WorkloadSpec {
  readonly image: string;
  /** Empty: chosen once. */
  readonly runtime: string;
  readonly replicas: number;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly resources: Resources;
  readonly network: NetworkMode;
  readonly restart: Restart;
  readonly placement: Placement;
  readonly update: { readonly readyAfterMs: number };
  readonly stopGraceMs: number;
  readonly user: string;
  readonly workingDir: string;
  readonly imageCredential: string;
}

/**
 * A workload as the store keeps it. `spec` has one writer, the interface; `resolved` has one writer, the
 * resolve step.
 */
export interface Workload {
  readonly metadata: Metadata;
  readonly spec: WorkloadSpec;
  /** Digest and runtime for one generation. Out of date while its generation is not the workload's. */
  readonly resolved:
    | {
        readonly generation: number;
        readonly image: string;
        readonly digest: Digest;
        readonly runtime: string;
      }
    | undefined;
  /** When the delete was asked; undefined while the workload is wanted. */
  readonly deletingSinceMs: number | undefined;
  /** Why the image could not be resolved, for people. Empty when all is well. */
  readonly resolveMessage: string;
}

/** What the control plane wants of an instance. */
export type InstanceIntent = 'run' | 'remove';

/**
 * An instance as the store keeps it. That it exists, its intent and its workload generation are rollout's;
 * `node`, `boundAtMs` and `placedBecause` are bind-instance's; `observed` is observe's.
 */
export interface Instance {
  /** name is what people call it: "web-x7k2p"; id is an InstanceId; generation counts changes of spec. */
  readonly metadata: Metadata;
  readonly workload: string;
  readonly workloadGeneration: number;
  readonly intent: InstanceIntent;
  /** What the agent is told. */
  readonly spec: InstanceSpec;
  readonly placement: Placement;
  readonly node: NodeName | undefined;
  readonly boundAtMs: number;
  readonly placedBecause: string;
  /** 'absent': its node said that it holds no such instance. undefined: not reported yet. */
  readonly observed: InstanceState | 'absent' | undefined;
}

/** A node as the store keeps it. Heartbeats, capacity and "last seen" stay in memory. */
export interface Node {
  readonly metadata: Metadata;
  readonly cordoned: boolean;
  /** As last reported; undefined until the first session. */
  readonly facts: NodeFacts | undefined;
  readonly incarnation: string;
  readonly bootId: string;
  /** Serial number of the certificate that counts, lower-case hex. */
  readonly certificateSerial: string;
}

export type OperationState = 'running' | 'succeeded' | 'superseded';

export interface Operation {
  readonly id: string;
  readonly kind: 'apply' | 'scale' | 'delete';
  readonly project: string;
  readonly workload: string;
  readonly generation: number;
  readonly state: OperationState;
  /** For a delete: copies that were there when it was asked. */
  readonly total: number;
  readonly caller: string;
  readonly createdAtMs: number;
  /** Zero while it runs. */
  readonly endedAtMs: number;
  /** Oldest first; at most the last 100. */
  readonly steps: readonly { readonly atMs: number; readonly message: string }[];
}

export interface FleetEvent {
  readonly revision: number;
  readonly atMs: number;
  /** noun.past-participle. */
  readonly type: string;
  readonly severity: 'info' | 'warning';
  readonly subject: Readonly<Record<string, string>>;
  readonly message: string;
}

/** Who calls: the role and name in the certificate's URI, "drover://FLEET/ROLE/NAME". */
export interface Caller {
  readonly role: 'admin' | 'operator' | 'viewer' | 'node';
  readonly name: string;
}
