import type {
  ClusterGuestView,
  ClusterSpec,
  ClusterStatus,
  ClusterTemplate,
  InstanceId,
  NodeName,
  WorkloadSpec,
} from '#shared/model.ts';
import type { Backend, OrderHead } from './backend.ts';

/** What a template is to be made of. */
export interface TemplateSource {
  readonly vmid: number;
  /** By its name in the cluster, or ours. Empty: as the guest is. */
  readonly snapshot: string;
  /** Of the template. */
  readonly name: string;
}

/** A guest that could become an instance. */
export interface Adoptable {
  readonly guest: ClusterGuestView;
  /** What a person would have written for it: its plan changes nothing. */
  readonly spec: WorkloadSpec;
  /** The hardware address of each of the spec's networks, in lower case; empty: unknown. They stay. */
  readonly macs: readonly string[];
  /** What it has that a spec cannot say, and that stays as it is. For people. */
  readonly notes: readonly string[];
  /** Why it cannot be adopted, for people; empty: it can. */
  readonly obstacles: readonly string[];
  /** Of its configuration: an adoption that finds another one begins anew. */
  readonly digest: string;
}

/** Where a guest's screen or terminal is, for a program of the person. */
export interface ConsoleTicket {
  /** The cluster's own page of it, for a person who logs in there as somebody who may see it. */
  readonly url: string;
  /** 'vnc' or 'terminal'. */
  readonly kind: 'vnc' | 'terminal';
  /**
   * For a program that has the very credential that we have for the cluster: without it the ticket opens
   * nothing. Good for some seconds, and once.
   */
  readonly websocketUrl: string;
  /** The password that goes with it, in the URL too. */
  readonly ticket: string;
  readonly user: string;
}

/**
 * 'live': it ran on all the while; 'restarted': it was stopped and started again; 'stopped': it did not run;
 * 'none': it was there already.
 */
export type GuestMove = 'live' | 'restarted' | 'stopped' | 'none';

/**
 * A backend whose nodes come in clusters that somebody else runs: with guests that are not ours, that move
 * between nodes by themselves, and that may become ours or stop being so. Its nodes are made and forgotten by
 * it, as its clusters tell.
 */
export interface ClusterBackend extends Backend {
  /**
   * Tries addresses, certificate, credential and rights, and changes nothing. What is wrong is told in the
   * status as far as it goes; throws what keeps it from telling: unavailable, unauthenticated, and
   * failed-precondition for a certificate that is not the one that was pinned.
   */
  test(name: string, spec: ClusterSpec, signal: AbortSignal): Promise<ClusterStatus>;
  /** SHA-256 of the certificate that a server shows, unverified, for a person to compare. unavailable. */
  fingerprintOf(endpoint: string, signal: AbortSignal): Promise<string>;
  /** From memory. Undefined: there is no such cluster. */
  status(cluster: string): ClusterStatus | undefined;
  /** From memory: all guests of one cluster, or of all. */
  guests(cluster: string | undefined): readonly ClusterGuestView[];
  /** not-found; unavailable. */
  inspectGuest(cluster: string, vmid: number, signal: AbortSignal): Promise<Adoptable>;
  /** By its name in the cluster, or ours. not-found names those that there are. */
  checkSnapshot(
    guest: Pick<ClusterGuestView, 'cluster' | 'vmid' | 'kind' | 'node'>,
    snapshot: string,
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Makes a template of a guest, which stays as it is; resolves when it is ready. It is made, too, where
   * nobody waits any more, and goes on after a start of the control plane. A repetition goes on with what
   * failed.
   * already-exists: the name is taken; failed-precondition: it cannot be copied as it is.
   */
  createTemplate(cluster: string, source: TemplateSource, signal: AbortSignal): Promise<ClusterTemplate>;
  /** By name or number. not-found; failed-precondition: it is not ours, or copies share its disks. */
  removeTemplate(cluster: string, template: string, signal: AbortSignal): Promise<ClusterTemplate>;
  /**
   * Writes our mark, and nothing else. The records of the workload, of its instance and of the guest
   * (`adopted`, with an empty `specDigest`) are there already: until this has resolved, the guest is neither
   * told nor absent. It resolves when the mark is there and the guest's record has the digest of the
   * instance's spec, so that an order of this generation finds nothing to do. Where it throws, the records
   * are taken back. aborted: its configuration is not the one of the digest any more;
   * already-exists: it is an instance already.
   */
  adopt(
    guest: { readonly cluster: string; readonly vmid: number; readonly digest: string },
    instance: { readonly id: InstanceId; readonly generation: number; readonly displayName: string },
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Takes our mark away; the guest stays as it is, and runs on. May be repeated. The instance's record is
   * gone already, the guest's is there still, and goes when this has resolved. not-found: there is no such
   * record.
   */
  release(order: OrderHead, signal: AbortSignal): Promise<void>;
  /**
   * Moves a guest to another node of its cluster; resolves when it is there, with how it went.
   * failed-precondition names what keeps it where it is.
   */
  migrate(order: OrderHead, target: NodeName, signal: AbortSignal): Promise<GuestMove>;
  /** How migrate() would move it; moves nothing. Throws what that would throw before it does anything. */
  planMove(order: OrderHead, target: NodeName, signal: AbortSignal): Promise<GuestMove>;
  consoleTicket(order: OrderHead, signal: AbortSignal): Promise<ConsoleTicket>;
}
