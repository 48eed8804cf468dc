import type { NodeName, Placement, PlacementBond, PublishedPort, Resources } from '#shared/model.ts';

/** What is to be placed. */
export interface Demand {
  readonly workload: string;
  readonly runtime: string;
  /** With its digest; empty while it is not resolved. */
  readonly image: string;
  readonly resources: Resources;
  readonly placement: Placement;
  /** What it takes up in each pool that it needs; zero: it only has to be there. '': the node's first. */
  readonly storage: readonly PoolDemand[];
  /** A data volume that it has already: no other node can take it. */
  readonly anchor: { readonly volume: string; readonly node: NodeName } | undefined;
  /** Capabilities that its runtime must have. */
  readonly features: readonly string[];
  /** "/dev/fuse". */
  readonly devices: readonly string[];
  /** Published ports; those whose host port is zero are chosen with the node. */
  readonly ports: readonly PublishedPort[];
  /** Id of the instance that asks; empty: none yet. What it has already is no obstacle. */
  readonly holder: string;
  /** Bridges of the networks that it is to be in. Left out: none. */
  readonly bridges?: readonly string[];
  /** Of a guest that is there already and is to move. Left out: none. */
  readonly bonds?: readonly PlacementBond[];
  /** The only nodes where its image can be had, and why. Left out: it is brought wherever it is wanted. */
  readonly imageAt?: { readonly nodes: ReadonlySet<NodeName>; readonly because: string };
  /** What storages must take for its image to be brought: "import". Left out: nothing special. */
  readonly imageContent?: string;
}

export interface PoolDemand {
  readonly pool: string;
  readonly mib: number;
  /** Something is made or grows in it, be it of no certain size. */
  readonly isNew: boolean;
}

/**
 * A node as the scheduler sees it: what is there less what is bound, whether or not the guests are visible
 * yet.
 */
export interface NodeView {
  readonly name: NodeName;
  readonly ready: boolean;
  /** Why it is not ready, for people. */
  readonly notReadyBecause: string;
  readonly cordoned: boolean;
  /** Those that are healthy, with what they can do. */
  readonly runtimes: ReadonlyMap<string, ReadonlySet<string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly cpuMillicores: number;
  readonly memoryMib: number;
  readonly cpuFreeMillicores: number;
  readonly memoryFreeMib: number;
  /** The first is the default; never empty. */
  readonly pools: readonly PoolView[];
  readonly allowedDevices: ReadonlySet<string>;
  readonly allowsPrivileged: boolean;
  /** Host ports of what is bound to it. */
  readonly ports: readonly TakenPort[];
  /** Copies bound to it, by workload. */
  readonly copies: ReadonlyMap<string, number>;
  /** Digests and references of the images that are ready on it. */
  readonly images: ReadonlySet<string>;
  /** What is not among them is not there. Left out: that is not known. */
  readonly imagesListed?: boolean;
  /** The only bridges there are. Empty, or left out: it makes those that are asked for. */
  readonly bridges?: ReadonlySet<string>;
}

export interface TakenPort extends PublishedPort {
  /** Id of the instance. */
  readonly holder: string;
  /** As people call it. */
  readonly instance: string;
}

export interface PoolView {
  readonly name: string;
  /** Why nothing in it can be used, for people; empty: it can. */
  readonly unusableBecause: string;
  /** Why nothing new can be made in it; what is there already can be used. Empty: it can. */
  readonly fullBecause: string;
  /** Less what is reserved; below zero where more is reserved than is there. */
  readonly freeMib: number;
}

/** A Filter says whether a node can take the demand at all. Its methods are pure. */
export interface Filter {
  readonly name: string;
  /** What follows a count of the nodes that it keeps out: "31 lack memory". */
  readonly outcome: string;
  /** False: the demand asks for nothing that this rule is about: every node fits. Left out: it is asked. */
  concerns?(demand: Demand): boolean;
  /** Allocates nothing: it is run for every node in every decision. */
  fits(demand: Demand, node: NodeView): boolean;
  /** Why not, as a person will read it: what is needed and what is there. Called only when somebody asks. */
  reason(demand: Demand, node: NodeView): string;
  /** For rules about an amount: how far off a node is, and how to say it. */
  readonly amount?: {
    /** How much is missing; greater than zero where the node does not fit. */
    missing(demand: Demand, node: NodeView): number;
    /** "1.4 GiB". */
    format(amount: number): string;
    /** The demand that would fit with so much less: "memory ≤ 6 GiB". */
    wouldFit(demand: Demand, missing: number): string;
  };
}

/** A Score orders the nodes that fit. Pure, and allocates nothing. */
export interface Score {
  readonly name: string;
  /** How much it counts for this demand; zero takes it out. */
  weight(demand: Demand): number;
  /** From 0, worst, to 100, best. */
  rate(demand: Demand, node: NodeView): number;
}

/** What the rules say of one node. */
export interface NodeVerdict {
  readonly node: NodeName;
  readonly fits: boolean;
  /** The rules that keep it out, in their order; empty where it fits. */
  readonly failed: readonly Filter[];
  /** Every reason against it, or how it scored. Never empty. */
  readonly reason: string;
  /** Higher is better; zero where it does not fit. */
  readonly score: number;
}
