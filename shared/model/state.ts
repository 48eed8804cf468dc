/** What was seen on nodes, and what they are told. */

import type { Digest, InstanceId, NodeName, SnapshotId, VolumeId } from './ids.ts';
import type { Resources } from './spec.ts';

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
/** What a rule of its cluster says of where a guest may be, whatever Drover decides. */
export interface PlacementBond {
  /** 'only': on these nodes. 'never': on none of these. 'along': wherever it moves, others move with it. */
  readonly kind: 'only' | 'never' | 'along';
  /** None where it is 'along'. */
  readonly nodes: readonly NodeName[];
  /** For people, with the rule's name: 'HA keeps it to lab-pve1, lab-pve2 (rule "near")'. */
  readonly because: string;
}

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
  /** Left out: none. */
  readonly bonds?: readonly PlacementBond[];
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
  /** The only bridges that guests can have there. None, or left out: the node makes those that are named. */
  readonly bridges?: readonly string[];
}

export interface NodeCapacity {
  readonly memoryAvailableMib: number;
  readonly diskFreeMib: number;
  readonly cpuUsedMillicores: number;
  readonly instances: number;
  readonly pools: readonly { readonly name: string; readonly freeMib: number }[];
  /** What others than our instances use there: no instance can have it. Left out: nothing is known of it. */
  readonly others?: { readonly memoryMib: number };
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
