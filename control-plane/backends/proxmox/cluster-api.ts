import type { ClusterSpec } from '#shared/model.ts';
import type { MethodName, ParametersOf } from './schema/methods.ts';

export interface CallOptions {
  readonly signal: AbortSignal;
  /** Ask this node's own API first: "pve2". Any node serves the whole cluster. */
  readonly via?: string;
  /** Above it the call is given up, and its outcome is unknown. 30 s where left out. */
  readonly timeoutMs?: number;
  /** Told the address of the endpoint whose answer it is: what it opened is open there alone. */
  readonly onEndpoint?: (address: string) => void;
}

/** Bytes both ways, in order. */
export interface ByteSocket {
  /** Ends when the other side has; a slow reader loses the oldest. unavailable: the connection was lost. */
  readonly received: AsyncIterable<Uint8Array>;
  /** resource-exhausted: the other side does not take it; failed-precondition: it has ended. */
  send(data: Uint8Array): void;
  close(): void;
}

/** A file that is sent as multipart: its length must be known. */
export interface UploadFile {
  readonly name: string;
  readonly bytes: number;
  open(): AsyncIterable<Uint8Array>;
}

/**
 * The API of one cluster, whichever of its nodes answers. Throws DroverError alone:
 *
 * - invalid-argument: a parameter is refused (400), each named; nothing was done.
 * - unauthenticated (401), permission-denied (403), unimplemented (501): nothing was done.
 * - not-found, reason "guest", "storage", "snapshot", "volume", "pool", "bridge", "node", "task", or
 *   "object" for what has no name of its own: there is no such thing here. Only "guest" is about the guest,
 *   and that may have moved: resolve its node anew before it is declared gone.
 * - already-exists, failed-precondition: a refusal, as the cluster words it ("CT 101 already running"), with
 *   a reason of words.ts: "exists", "running", "not-running", "protected", "in-use", "unsupported", others;
 *   reason "certificate": the server is not the one that was pinned, and nothing was sent to it.
 * - aborted, reason "locked" or "digest": a lock or a lost race; may be tried again.
 * - resource-exhausted: no space, no free VMID.
 * - unavailable: reason "no-quorum": nothing was done; reason "node-unreachable" (595 to 599): the node
 *   behind the one that answers is away, and the outcome is unknown; reason "connection": no endpoint
 *   answers. `acted` in the subject says 'no' where the call was never sent.
 * - deadline-exceeded: no answer in time, and the outcome is unknown.
 *
 * Reads are repeated at another endpoint when a connection is lost; writes are only where nothing was sent.
 */
export interface ClusterApi {
  /** The `data` of the answer, as it came: whoever asks checks it. Path and other parameters together. */
  call<Name extends MethodName>(
    method: Name,
    parameters: ParametersOf<Name>,
    options: CallOptions,
  ): Promise<unknown>;
  /**
   * A websocket, at that endpoint and no other. unavailable, reason "connection": it was not opened; the
   * cluster says no more.
   */
  openSocket<Name extends MethodName>(
    method: Name,
    parameters: ParametersOf<Name>,
    options: { readonly endpoint: string; readonly signal: AbortSignal },
  ): Promise<ByteSocket>;
  /** Multipart, fields before the file; gives the UPID. Not repeated. */
  upload(
    target: { readonly node: string; readonly storage: string; readonly content: string },
    file: UploadFile,
    checks: { readonly sha256?: string },
    options: CallOptions,
  ): Promise<string>;
  /** What there is, in the order in which it would be asked, with what is wrong with each. */
  endpoints(): readonly { readonly address: string; readonly problem: string }[];
  /**
   * All members as the cluster itself tells them, with their names and fingerprints where it told them: those
   * that were learned before and are not among them are forgotten. A fingerprint counts only for an endpoint
   * that no person gave.
   */
  learn(members: readonly ClusterMember[]): void;
  close(): Promise<void>;
}

export interface ClusterMember {
  /** As an endpoint is written. Without a port: that of the endpoint given for this host, or of all given. */
  readonly address: string;
  readonly fingerprint?: string;
  readonly node?: string;
}

/** By the cluster's name in the fleet. Connects to nothing yet; invalid-argument: the spec cannot be used. */
export type OpenClusterApi = (name: string, spec: ClusterSpec) => ClusterApi;

/** How a task ended that did what was asked. */
export interface TaskEnd {
  readonly upid: string;
  /** Above zero: it did what was asked, with warnings. */
  readonly warnings: number;
  /** The last lines of its log, for people. None where it ended plainly well and nobody listened. */
  readonly log: readonly string[];
}

export interface WaitOptions {
  readonly signal: AbortSignal;
  /** Lines of its log as they grow. */
  readonly onLog?: (line: string) => void;
  /** The log of a task that ends before it runs so long is not read for it. Zero where left out. */
  readonly logAfterMs?: number;
}

/**
 * Tasks of one cluster. Many are followed with few requests: intervals grow, and the list of running tasks
 * of a node serves all that wait for tasks there.
 */
export interface Tasks {
  /**
   * Resolves when the task has ended well. Throws what it failed of, by the same kinds as ClusterApi, with
   * its log in the message's tail; unavailable with the reason "task-lost" where its end cannot be known:
   * look at the guest then. The signal ends the waiting, not the task.
   */
  wait(upid: string, options: WaitOptions): Promise<TaskEnd>;
  /** Asks the task to stop. One that has ended stays as it is. */
  abort(upid: string, signal: AbortSignal): Promise<void>;
}
