import type { Family } from '#shared/addresses.ts';
import type {
  Cluster,
  ClusterGuest,
  ClusterTemplate,
  FleetEvent,
  Instance,
  InstanceId,
  Network,
  Node,
  NodeName,
  Operation,
  Routing,
  Volume,
  Workload,
} from '#shared/model.ts';

/** The kinds the store keeps, each with the record it holds. A key is `kind/project/id`. */
export interface Records {
  readonly workload: Workload;
  readonly instance: Instance;
  readonly 'released-instance': ReleasedInstance;
  readonly volume: Volume;
  readonly network: Network;
  readonly address: HeldAddress;
  readonly node: Node;
  readonly operation: Operation;
  readonly event: FleetEvent;
  readonly cluster: Cluster;
  readonly 'cluster-guest': ClusterGuest;
  readonly 'cluster-template': ClusterTemplate;
  readonly 'join-token': JoinToken;
  readonly 'revoked-certificate': RevokedCertificate;
  readonly request: StoredRequest;
  readonly fleet: FleetRecord;
  /** One record: all rules. */
  readonly routing: Routing;
}
export type Kind = keyof Records;
/** Those whose names are unique in their project. */
export type NamedKind = 'workload' | 'instance' | 'node' | 'volume' | 'network' | 'cluster';

/**
 * An instance that was given up with its node. Should its host come back, it is ours there and not wanted.
 * The newest 10,000 are kept, until nothing is left of them on their hosts.
 */
export interface ReleasedInstance {
  readonly id: InstanceId;
  readonly name: string;
  readonly project: string;
  readonly workload: string;
  readonly node: NodeName;
  /** Above all that its node was told. */
  readonly generation: number;
  readonly stopGraceMs: number;
}

/**
 * One address or hardware address that an instance holds, from its binding until it is forgotten. Whoever
 * takes it writes this one record: two that take the same one conflict.
 */
export interface HeldAddress {
  /** Its id: "ip/lan/4/0a140005", the number in hexadecimal digits, or "mac/02a1b2c3d4e5". */
  readonly key: string;
  readonly network: string;
  /** As people write it: "10.20.0.5" or "02:a1:b2:c3:d4:e5". */
  readonly address: string;
  readonly instanceId: InstanceId;
  /** As people call it. */
  readonly instance: string;
}

/** A token as it is kept: the secret's hash alone. */
export interface JoinToken {
  /** Hex of SHA-256 of the secret; also its id. */
  readonly secretHash: string;
  readonly node: string;
  readonly replace: boolean;
  readonly expiresAtMs: number;
  readonly createdBy: string;
}

export interface RevokedCertificate {
  /** Lower-case hex. */
  readonly serial: string;
  readonly subject: string;
  readonly revokedAtMs: number;
  /** The certificate's own end; the record may go after it. */
  readonly expiresAtMs: number;
}

/** The answer to a request, written in the transaction of the change itself. Kept 24 h, 10,000 per caller. */
export interface StoredRequest {
  readonly caller: string;
  readonly requestId: string;
  /** Hex of SHA-256 over the method and the encoded request. */
  readonly bodyDigest: string;
  /** What was decided, as JSON. */
  readonly result: string;
  readonly atMs: number;
}

export interface FleetRecord {
  readonly fleetId: string;
  readonly epoch: number;
}

/**
 * A consistent view of one moment. Reads are synchronous: the whole replica is in memory. Named kinds are
 * indexed by name within the project; instances also by workload and by node. `metadata.revision` of what is
 * read is the revision that last wrote it.
 */
export interface Snapshot {
  readonly revision: number;
  get<K extends Kind>(kind: K, id: string, project?: string): Records[K] | undefined;
  /** For kinds with metadata. */
  named<K extends NamedKind>(kind: K, name: string, project?: string): Records[K] | undefined;
  /** All of a kind, by id. */
  list<K extends Kind>(kind: K, project?: string): readonly Records[K][];
  instancesOfWorkload(workload: string, project?: string): readonly Instance[];
  instancesOnNode(node: string): readonly Instance[];
  /** Those of one family that are held in a network, in their order. */
  heldAddresses(network: string, family: Family, project?: string): readonly HeldAddress[];
}

/**
 * One transaction: reads see what is durable plus what is queued before it, and are noted; writes are
 * collected. The body is pure: it may be run again when a read has changed by the time it would commit.
 */
export interface Transaction extends Snapshot {
  put<K extends Kind>(kind: K, id: string, record: Records[K], project?: string): void;
  delete(kind: Kind, id: string, project?: string): void;
  /** Adds an event at the transaction's revision; the last 10,000 are kept. */
  event(event: Omit<FleetEvent, 'revision'>, project?: string): void;
}

/** One durable change of one record; `record` is undefined for a delete, `before` for a create. */
export type StoreChange = {
  readonly [K in Kind]: {
    readonly revision: number;
    readonly kind: K;
    readonly project: string;
    readonly id: string;
    readonly record: Records[K] | undefined;
    readonly before: Records[K] | undefined;
  };
}[Kind];

export interface Store {
  /** What is durable now. */
  snapshot(): Snapshot;
  /**
   * Runs the body and commits what it wrote, all or nothing; resolves when that is durable and visible. Lost
   * races are run again, at most 10 times, then aborted. What the body throws is thrown, and nothing is
   * written. A body that writes nothing commits nothing. resource-exhausted: the disk is full, nothing was
   * written. data-loss: the store must be opened anew.
   */
  transact<Result>(
    body: (tx: Transaction) => Result,
  ): Promise<{ readonly result: Result; readonly revision: number }>;
  /**
   * Every change after the revision, grouped by revision, in order; zero means from now on.
   * failed-precondition with the reason "compacted" when the revision is no longer kept, and with
   * "slow-reader" when more than 1,000 revisions wait for this reader: read a snapshot and watch from its
   * revision.
   */
  watch(afterRevision: number, signal: AbortSignal): AsyncIterable<readonly StoreChange[]>;
  /** Calls back after each durable revision, with no data. */
  onCommit(callback: () => void): () => void;
  close(): Promise<void>;
}
