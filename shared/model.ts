/**
 * The nouns, as the code speaks of them. Values of these types have been checked: wire.ts is the only place
 * that makes them from text or messages. Times are milliseconds since 1970 UTC; revisions, generations and
 * epochs are safe integers.
 */

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** UUIDv7, lower case. */
export type InstanceId = Branded<'InstanceId'>;
/** UUIDv7 of a data volume; a root has the id of its instance. */
export type VolumeId = string & { readonly [brand]: 'InstanceId' | 'VolumeId' };
/** UUIDv7. */
export type SnapshotId = Branded<'SnapshotId'>;
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

export type NetworkMode = 'none' | 'host' | 'bridged';
export type RestartPolicy = 'never' | 'on-failure' | 'always';

export interface Restart {
  readonly policy: RestartPolicy;
  /** Zero means no limit. */
  readonly maxAttempts: number;
}

/** Asks for one data volume for each copy; the volume outlives its instance. */
export interface VolumeClaim {
  readonly name: string;
  /** Absolute, inside. */
  readonly mountPath: string;
  /** Zero: no quota. */
  readonly sizeMib: number;
  /** Empty: the node's default. */
  readonly pool: string;
  readonly readOnly: boolean;
  /** Stays when the workload is deleted. */
  readonly keep: boolean;
}

/** How many of each are kept; zero: none are taken. */
export interface SnapshotSchedule {
  readonly hourly: number;
  readonly daily: number;
  readonly weekly: number;
}

export interface NetworkUse {
  readonly network: string;
  /** Copies take them in this order. Empty: any that is free. */
  readonly addresses: readonly string[];
}

export interface PublishedPort {
  /** Zero in a spec: chosen with the node. */
  readonly hostPort: number;
  readonly guestPort: number;
  readonly protocol: 'tcp' | 'udp';
  /** Empty: all addresses of the node. */
  readonly hostAddress: string;
}

export interface Dns {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

export interface Security {
  readonly privileged: boolean;
  readonly nesting: boolean;
  /** Host ids that no other guest has, also where that costs a copy. */
  readonly ownIdRange: boolean;
  /** "CAP_NET_ADMIN". */
  readonly addCapabilities: readonly string[];
  readonly dropCapabilities: readonly string[];
}

/** The part of a spec about storage, network and rights; the same for every copy of a workload. */
export interface GuestConfig {
  /** Empty: the node's default. */
  readonly rootPool: string;
  readonly volumes: readonly VolumeClaim[];
  readonly snapshots: SnapshotSchedule;
  /** Empty unless the mode is 'bridged'; eth0, eth1 in this order. */
  readonly networks: readonly NetworkUse[];
  readonly ports: readonly PublishedPort[];
  readonly dns: Dns;
  /** "/dev/fuse". */
  readonly devices: readonly string[];
  readonly security: Security;
  /** Lower starts first after a reboot of the node. */
  readonly startOrder: number;
  /** From a short list. */
  readonly lxcKeys: Readonly<Record<string, string>>;
}

/** One interface of a guest, ready to be configured. */
export interface Attachment {
  readonly network: string;
  readonly bridge: string;
  /** Drover makes the bridge where it is missing; otherwise it must be there. */
  readonly managedBridge: boolean;
  /** "eth0". */
  readonly interface: string;
  readonly mac: string;
  /** "10.20.0.5/24"; empty where the node gives them out. */
  readonly addresses: readonly string[];
  readonly gateways: readonly string[];
  /** Zero: the bridge's own. */
  readonly mtu: number;
  /** Zero: none. */
  readonly vlan: number;
  readonly masquerade: boolean;
  /** The node itself gives out an address of this subnet. Empty: it does not. */
  readonly nodePrivateSubnet: string;
  readonly routes: readonly Route[];
  /**
   * The network's, where it has some. The control plane's own: an order says it as the spec's, where that
   * says nothing.
   */
  readonly dns?: Dns;
}

export interface Route {
  readonly destination: string;
  readonly via: string;
}

/** What the control plane reserved for one instance when it chose the node; kept for the instance's life. */
export interface Assignment {
  readonly attachments: readonly Attachment[];
  /** One for each claim. */
  readonly volumes: readonly { readonly name: string; readonly volumeId: VolumeId }[];
  /** Every host port decided. */
  readonly ports: readonly PublishedPort[];
}

/** What every copy of a workload and the workload itself say alike. */
export interface CopySpec extends GuestConfig {
  /** Empty: the image's own. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly resources: Resources;
  readonly network: NetworkMode;
  readonly restart: Restart;
  readonly stopGraceMs: number;
  /** Empty: the image's own. */
  readonly user: string;
  /** Absolute, or empty: the image's own. */
  readonly workingDir: string;
  /** Empty: the node's default. */
  readonly imageCredential: string;
}

/** All that a node needs to make one instance run; the body of an ensure order. */
export interface InstanceSpec extends CopySpec {
  readonly runtime: string;
  /** Always with a digest. */
  readonly image: string;
  /** "web-x7k2p"; a DNS label. */
  readonly displayName: string;
  readonly workload: string;
  /** Its own part. */
  readonly assigned: Assignment;
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
  | 'unknown'
  | 'paused';

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
  /** Without prefix length; empty while nothing runs. */
  readonly addresses: readonly string[];
  /** Empty until the root is made. */
  readonly rootPool: string;
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

/** One pool of volumes on one node. */
export interface PoolFacts {
  readonly name: string;
  /** "directory" or "zfs". */
  readonly driver: string;
  readonly version: string;
  readonly healthy: boolean;
  readonly detail: string;
  readonly capabilities: readonly string[];
  readonly sizeMib: number;
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
  /** The first is the default. */
  readonly pools: readonly PoolFacts[];
  readonly allowedDevices: readonly string[];
  readonly allowsPrivileged: boolean;
}

export interface NodeCapacity {
  readonly memoryAvailableMib: number;
  readonly diskFreeMib: number;
  readonly cpuUsedMillicores: number;
  readonly instances: number;
  readonly pools: readonly { readonly name: string; readonly freeMib: number }[];
}

export interface Image {
  readonly digest: Digest;
  readonly references: readonly string[];
  readonly sizeBytes: number;
  readonly lastUsedAtMs: number;
  readonly ready: boolean;
  /** Instances here that are made from it. */
  readonly usedBy: number;
  /** Kept by the node's policy. */
  readonly pinned: boolean;
}

export type SnapshotKind = 'manual' | 'hourly' | 'daily' | 'weekly' | 'before-update';

/** All volumes of an instance as they were at one moment. */
export interface Snapshot {
  readonly id: SnapshotId;
  /** Unique for its instance. */
  readonly name: string;
  readonly instanceId: InstanceId;
  readonly kind: SnapshotKind;
  readonly createdAtMs: number;
  /** name: "root", or the claim's. bytes: what removing it would free. */
  readonly volumes: readonly { readonly volumeId: VolumeId; readonly name: string; readonly bytes: number }[];
  /** The guest ran on between the volumes, or stood still for more than a second. */
  readonly crashInconsistent: boolean;
  readonly pauseMs: number;
  /** Of the instance's spec at that time. */
  readonly generation: number;
}

/** One data volume as its node holds it. */
export interface NodeVolume {
  readonly id: VolumeId;
  readonly pool: string;
  /** Zero: no quota. */
  readonly sizeMib: number;
  readonly usedBytes: number;
  /** Undefined: no instance has it. */
  readonly instanceId: InstanceId | undefined;
}

export interface GuestStats {
  readonly instanceId: InstanceId;
  readonly atMs: number;
  /** Since the start. */
  readonly cpuUs: number;
  /** Caches that can be dropped left out. */
  readonly memoryBytes: number;
  readonly pids: number;
  /** Since the start; zero on the host's network. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
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
export interface WorkloadSpec extends CopySpec {
  readonly image: string;
  /** Empty: chosen once. */
  readonly runtime: string;
  readonly replicas: number;
  readonly placement: Placement;
  readonly update: { readonly readyAfterMs: number };
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
        /** "named in the spec", "rule \"system\"", "no rule matches". */
        readonly runtimeBecause: string;
      }
    | undefined;
  /** What it was before the last change that told copies something new; undefined: there was none. */
  readonly previous?: { readonly generation: number; readonly spec: WorkloadSpec } | undefined;
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
  /** What the agent is told; `assigned` is empty until it has a node, and kept from then on. */
  readonly spec: InstanceSpec;
  readonly placement: Placement;
  readonly node: NodeName | undefined;
  readonly boundAtMs: number;
  readonly placedBecause: string;
  /** 'absent': its node said that it holds no such instance. undefined: not reported yet. */
  readonly observed: InstanceState | 'absent' | undefined;
}

/** One data volume as the store keeps it: a copy's slot of a workload, and where it lies. */
export interface Volume {
  /** name is "web-data-0"; id is a VolumeId. */
  readonly metadata: Metadata;
  readonly workload: string;
  readonly claim: string;
  /** Which copy has it, from 0. */
  readonly slot: number;
  /** Undefined: not made yet. */
  readonly node: NodeName | undefined;
  /** The instance that has it; undefined: none. */
  readonly instanceId: InstanceId | undefined;
  readonly sizeMib: number;
  readonly pool: string;
  readonly keep: boolean;
  /** When its removal was asked; undefined while it is wanted. */
  readonly removingSinceMs: number | undefined;
}

export interface Subnet {
  readonly cidr: string;
  /** Empty: none. */
  readonly gateway: string;
  readonly first: string;
  readonly last: string;
}

export interface NetworkSpec {
  readonly bridge: string;
  /** Drover makes the bridge where it is missing. */
  readonly managedBridge: boolean;
  /** At most one of each family. */
  readonly subnets: readonly Subnet[];
  readonly mtu: number;
  readonly vlan: number;
  readonly masquerade: boolean;
  readonly nodePrivate: boolean;
  readonly dns: Dns;
  readonly routes: readonly Route[];
}

export interface Network {
  readonly metadata: Metadata;
  readonly spec: NetworkSpec;
}

export type Matcher =
  | { readonly kind: 'exact'; readonly text: string }
  | { readonly kind: 'glob'; readonly text: string }
  | { readonly kind: 'regex'; readonly text: string };

/** Chooses a runtime for workloads that name none. All matchers must match. */
export interface RoutingRule {
  readonly name: string;
  /** Undefined: any. */
  readonly workload: Matcher | undefined;
  readonly labels: Readonly<Record<string, Matcher>>;
  readonly image: Matcher | undefined;
  readonly runtime: string;
}

/** The first rule that matches decides. */
export interface Routing {
  readonly rules: readonly RoutingRule[];
  readonly defaultRuntime: string;
  /** The store's revision that last changed it; zero: never. */
  readonly revision: number;
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
