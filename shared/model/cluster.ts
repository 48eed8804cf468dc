/** Clusters of hypervisors that have an API of their own. */

import type { Metadata } from './fleet.ts';
import type { InstanceId, NodeName, SnapshotId } from './ids.ts';
import type { InstanceSpec } from './spec.ts';

/** How a server's certificate is known. Nothing else is trusted. */
export type ClusterTrust =
  /** PEM of the authority that signed the certificate of every node. */
  | { readonly kind: 'authority'; readonly pem: string }
  /** SHA-256 of each node's certificate, upper-case hex with colons. */
  | { readonly kind: 'fingerprints'; readonly sha256: readonly string[] };

export type ClusterCredential =
  /** tokenId: "drover@pve!fleet"; secret: a UUID. */
  | { readonly kind: 'token'; readonly tokenId: string; readonly secret: string }
  /** user: "drover@pve". */
  | { readonly kind: 'password'; readonly user: string; readonly password: string };

export interface ClusterSpec {
  /** "10.0.0.11:8006"; those that a person gave. The others are learned from the cluster itself. */
  readonly endpoints: readonly string[];
  readonly trust: ClusterTrust;
  /** Never leaves the control plane. */
  readonly credential: ClusterCredential;
}

/** A cluster as the store keeps it. */
export interface Cluster {
  readonly metadata: Metadata;
  readonly spec: ClusterSpec;
  /** Set when its removal was asked: nothing is asked of it any more. */
  readonly removingSinceMs: number | undefined;
}

/**
 * A guest of a cluster that is an instance of ours, or will be: written before it is made, so that what was
 * begun is found again after a crash. Its id is the instance's.
 */
export interface ClusterGuest {
  readonly instanceId: InstanceId;
  readonly cluster: string;
  /** Reserved by us until the guest is gone. */
  readonly vmid: number;
  readonly kind: 'lxc' | 'qemu';
  /** Where it was last seen, or is to be made. */
  readonly node: NodeName;
  /** The newest generation that was taken in. */
  readonly generation: number;
  /** What was last asked: 'run', 'stop', 'remove', or 'removed': nothing is left, and no order counts. */
  readonly intent: 'run' | 'stop' | 'remove' | 'removed';
  /** SHA-256 over the spec that was last taken in; hex. Empty: none yet. */
  readonly specDigest: string;
  /** It was there before us. */
  readonly adopted: boolean;
  /** Adopted, and somebody said that it is to go with its disks. Left out: no; it is let go as it is. */
  readonly mayDestroy?: boolean;
  readonly changedAtMs: number;
  /** What was last asked for. Left out: adopted, and nothing was asked since; or nothing is left. */
  readonly spec?: InstanceSpec;
  /** What it is made as a copy of, as its cluster calls the node: the copy is a task of that one. */
  readonly source?: { readonly node: string; readonly vmid: number };
  /** The number under which its making was asked for: what is half made there is ours. Left out, 0: none. */
  readonly begunVmid?: number;
  /** Numbers under which it was left half made: a person has to take those away. Left out: none. */
  readonly leftVmids?: readonly number[];
  /** It was seen: when it is gone, it is gone, and is not made again. */
  readonly made?: boolean;
  /** The newest generation that it was made to be as, and started for. Left out: none. */
  readonly appliedGeneration?: number;
  /** Guests that bear its mark and were there beside it: not ours, also once it is gone. Left out: none. */
  readonly copies?: readonly number[];
  /** The generation that its configuration was last changed for: what waits then is for us to restart. */
  readonly configuredFor?: number;
  /** The last step back to a snapshot, noted before it was asked for. Left out: none. */
  readonly rollBack?: GuestRollBack;
}

/** A template that we make of a guest, or made: written before anything is done; proof that it is ours. */
export interface ClusterTemplate {
  /** "lab/debian-12". */
  readonly key: string;
  readonly cluster: string;
  /** As its cluster calls it. */
  readonly name: string;
  /** Reserved by us until the template is gone. */
  readonly vmid: number;
  readonly kind: 'lxc' | 'qemu';
  /** As its cluster calls the node: copies are made where their source is. */
  readonly source: { readonly node: string; readonly vmid: number; readonly snapshot: string };
  readonly state: 'making' | 'ready' | 'failed' | 'removing';
  /** The number that its copy was asked for under: what is half made there is ours. Left out, or 0: none. */
  readonly begunVmid?: number;
  /** Of one that is removed: it stays so where its cluster refuses. */
  readonly wasReady?: boolean;
  /** What kept it from being made, for people; empty: nothing. */
  readonly message: string;
  readonly changedAtMs: number;
}

/** So that a step back whose answer was lost is not made once more. */
export interface GuestRollBack {
  readonly requestId: string;
  readonly snapshot: SnapshotId;
  /** As its cluster calls it. */
  readonly node: string;
  /** Tasks of earlier ones there, the newest of them. */
  readonly before: readonly string[];
  /** It was made, and all that belongs to it: the same order is answered with nothing done. */
  readonly done?: boolean;
}

/** Whether a call may do what Drover wants of it. */
export interface ClusterRight {
  /** "VM.Allocate". */
  readonly privilege: string;
  /** "/vms". */
  readonly path: string;
  readonly granted: boolean;
  /** A part of Drover alone asks for it. */
  readonly optional: boolean;
  /** What does not work without it, for people. */
  readonly neededFor: string;
}

/** What is known of a cluster right now. */
export interface ClusterStatus {
  readonly name: string;
  /** As it calls itself. */
  readonly clusterName: string;
  /** "8.4.21". Empty: not known yet. */
  readonly version: string;
  readonly connected: boolean;
  readonly quorate: boolean;
  /** Endpoints in the order in which they would be asked, with what is wrong with each; empty: nothing. */
  readonly endpoints: readonly { readonly address: string; readonly problem: string }[];
  readonly nodes: readonly NodeName[];
  readonly guests: number;
  readonly ownGuests: number;
  readonly lastSeenAtMs: number;
  /** What is wrong, for people; empty: nothing. */
  readonly message: string;
  readonly rights: readonly ClusterRight[];
}

/** One guest of a cluster, ours or not. */
export interface ClusterGuestView {
  readonly cluster: string;
  readonly vmid: number;
  readonly kind: 'lxc' | 'qemu';
  /** The last known name. */
  readonly name: string;
  readonly node: NodeName;
  /** As the cluster says: "running", "stopped", "paused", "unknown". */
  readonly status: string;
  readonly template: boolean;
  readonly tags: readonly string[];
  readonly cpuCount: number;
  readonly memoryMib: number;
  readonly diskMib: number;
  /** Undefined: not ours. */
  readonly instanceId: InstanceId | undefined;
  /** HA's state: "started"; empty: not managed. */
  readonly haState: string;
  /** What is wrong with it and what to do, for people; empty: nothing. */
  readonly message: string;
}
