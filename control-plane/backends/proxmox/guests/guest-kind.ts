import type { ClusterGuest, InstanceSpec, Network, Resources, WorkloadSpec } from '#shared/model.ts';
import type { CallOptions, ClusterApi } from '../cluster-api.ts';
import type { MethodName, ParametersOf } from '../schema/methods.ts';

/** One call with its parameters, not sent yet. */
export interface GuestCall {
  readonly method: MethodName;
  readonly parameters: Readonly<Record<string, unknown>>;
  /** The answer's data; where that is a UPID, the call is done once its task is. */
  send(api: ClusterApi, options: CallOptions): Promise<unknown>;
}

/** Typed as ClusterApi's calls are. */
export const guestCall = <Name extends MethodName>(
  method: Name,
  parameters: ParametersOf<Name>,
): GuestCall => ({
  method,
  parameters: parameters as Readonly<Record<string, unknown>>,
  send: (api, options) => api.call(method, parameters, options),
});

/** "9.2.11" → 9 and 2. */
export interface ClusterVersion {
  readonly major: number;
  readonly minor: number;
}

/** Where a guest is: its node as its cluster calls it. */
export interface GuestPlace {
  readonly node: string;
  readonly vmid: number;
}

/** A configuration as the cluster tells it: values as they came, the digest among them. */
export type Configuration = Readonly<Record<string, unknown>>;

/** An image that is ready to make a guest from. */
export type PlacedImage =
  /** A file on a storage of the guest's node: "local:vztmpl/alpine-3.20.tar.gz". */
  { readonly kind: 'template' | 'import' | 'iso'; readonly volid: string } | CopiedGuest;

/** A template of the cluster, or any guest, to be copied; as it was in a snapshot, where one is named. */
export interface CopiedGuest extends GuestPlace {
  readonly kind: 'guest';
  readonly snapshot?: string;
  /** Its source is locked meanwhile: copies of it are made one after the other. */
  readonly isAlone: boolean;
  /** Those that its disks are copied to, as limits count them. None: it shares its disks. */
  readonly storages: readonly string[];
}

/** What tells that a guest is ours. */
export interface GuestMark {
  /** One tag. */
  readonly tag: string;
  /** One more, from the second epoch of a fleet on. */
  readonly epochTag?: string;
  /** One line, the last of the description. */
  readonly line: string;
}

/** What a spec is read by, for a guest that is there or will be. */
export interface SpecContext extends GuestPlace {
  readonly version: ClusterVersion;
  /** The storage that a pool's name stands for on that node; '': the default. */
  storageOf(pool: string): string;
  /**
   * What the disks of virtual machines are written as on a storage that has a choice: "qcow2", for its
   * snapshots. Empty, or left out: the storage decides.
   */
  diskFormat?(storage: string): string;
}

/** As SpecContext, for a guest that is made. */
export interface MakeContext extends SpecContext {
  readonly image: PlacedImage;
  readonly mark: GuestMark;
}

/** What makes a configuration say what a spec says. Nothing else of it is touched. */
export interface GuestChanges {
  /** Whole values. Made from the present ones, so that what the cluster added (hardware addresses) stays. */
  readonly set: Readonly<Record<string, unknown>>;
  /** Keys that go. */
  readonly unset: readonly string[];
  /** There is more, which the cluster takes only once this is done. */
  readonly again?: true;
  /** Disks that grow, by their key, to a size. */
  readonly grow: readonly { readonly disk: string; readonly sizeGib: number }[];
  /** What no guest that is there can be changed to, a sentence each. Where there is one, nothing is done. */
  readonly refused: readonly string[];
}

/** A part of such changes. */
export type Change = { readonly set: Record<string, unknown>; readonly unset: string[] };

/** What a configuration says, as a person would have written it. */
export interface FoundSpec {
  /** Its changes to the configuration are none. */
  readonly spec: WorkloadSpec;
  /** The hardware address of each of its networks, in lower case; empty: none is set. */
  readonly macs: readonly string[];
  /** What a spec cannot say, and that stays as it is. For people. */
  readonly notes: readonly string[];
  /** Why it can be no instance. For people. */
  readonly obstacles: readonly string[];
}

export interface FindContext extends SpecContext {
  /** All there are: an interface is in the one with its bridge and VLAN. */
  readonly networks: readonly Network[];
}

/** The calls about one guest that is there. */
export interface GuestCalls {
  status(): GuestCall;
  config(): GuestCall;
  /** What waits for a restart: a list of {key, value, pending, delete}. */
  pending(): GuestCall;
  /** `digest`: refused where the configuration is another by now. */
  configure(changes: Pick<GuestChanges, 'set' | 'unset'>, digest: string): GuestCall;
  grow(disk: string, sizeGib: number): GuestCall;
  start(): GuestCall;
  /** Asks it to stop. Its task fails where it did not in time; `isEndedThen`: it may be ended instead. */
  shutdown(timeoutS: number, isEndedThen: boolean): GuestCall;
  /** Asks it to stop, and starts it again. After the time it is ended, or its task fails. */
  reboot(timeoutS: number): GuestCall;
  /** `isLeftToHa`: HA has the last word, and takes no hint at shutdowns that are under way. */
  stop(isLeftToHa: boolean): GuestCall;
  /** Undefined: cannot be done. */
  pause(): GuestCall | undefined;
  resume(): GuestCall | undefined;
  /** As its reset button does. Undefined: it has none. */
  reset(): GuestCall | undefined;
  /** With its own volumes and nothing else. It must be stopped. */
  destroy(): GuestCall;
  snapshots(): GuestCall;
  takeSnapshot(name: string, description: string): GuestCall;
  rollback(name: string, startAfter: boolean): GuestCall;
  removeSnapshot(name: string): GuestCall;
  /** A running guest in the way that its kind has: live, or stopped and started again. */
  migrate(target: string, isRunning: boolean): GuestCall;
  /** Undefined: nothing can be asked beforehand. */
  migratePreconditions(target: string): GuestCall | undefined;
  /** Its addresses as seen from inside. */
  addresses(): GuestCall;
}

/**
 * One kind of guest: what a spec means in its calls, and what its configuration means as a spec. Pure; the
 * calls are sent elsewhere.
 */
export interface GuestKind {
  readonly kind: ClusterGuest['kind'];
  /** As specs call it. */
  readonly runtime: 'proxmox-lxc' | 'proxmox-vm';
  /** What RuntimeFacts offers; see featuresOf in demand.ts. */
  capabilities(version: ClusterVersion): readonly string[];
  /** What of a spec it can never express, one sentence each; empty: all can be. */
  cannot(spec: InstanceSpec, version: ClusterVersion): readonly string[];
  /**
   * Makes it, with our mark in the call itself where the call takes one. Once it is there the mark is written
   * where it is missing, and `changes` brings what the call could not say.
   */
  create(spec: InstanceSpec, context: MakeContext): GuestCall;
  changes(spec: InstanceSpec, config: Configuration, context: SpecContext): GuestChanges;
  /** As its configuration sets them, and what of the spec's resources nothing enforces. */
  limits(config: Configuration): { readonly limits: Resources; readonly notEnforced: readonly string[] };
  /** Of its root. */
  rootStorage(config: Configuration): string;
  /** Set by hand, without prefix length. Empty where the guest gets its addresses from elsewhere. */
  fixedAddresses(config: Configuration): readonly string[];
  /** Out of the answer of calls.addresses; no loopback, no link-local. */
  seenAddresses(answer: unknown): readonly string[];
  spec(config: Configuration, context: FindContext): FoundSpec;
  calls(place: GuestPlace): GuestCalls;
}
