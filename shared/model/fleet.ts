/** What the control plane keeps. */

import type { Digest, InstanceId, NodeName } from './ids.ts';
import type { Attachment, CopySpec, Dns, InstanceSpec, Route } from './spec.ts';
import type { InstanceState, NodeFacts } from './state.ts';

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
        /** The image as the spec named it. Left out by earlier versions. */
        readonly reference?: string;
      }
    | undefined;
  /** What it was before the last change that told copies something new; undefined: there was none. */
  readonly previous?: { readonly generation: number; readonly spec: WorkloadSpec } | undefined;
  /** What claims that went last said of keeping, by name. Left out: none went. */
  readonly droppedClaims?: Readonly<Record<string, { readonly keep: boolean }>>;
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
  /** Interfaces of before an update, held until no guest of before can have them. Left out: none. */
  readonly leaving?: readonly Attachment[];
  /** Its node is being emptied: another takes its place elsewhere. Left out: it stays. */
  readonly evicting?: true;
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
  /** As it was when it was last written; what the workload says of its claim comes first. */
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
  /** The cluster that brought it. Left out: it has an agent. */
  readonly cluster?: string;
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
