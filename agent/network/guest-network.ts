import type { Attachment, InstanceId, PublishedPort } from '#shared/model.ts';

/** All that one guest's network is made of. */
export interface GuestNetwork {
  readonly id: InstanceId;
  readonly attachments: readonly Attachment[];
  /** Every host port is decided. They lead to the first attachment. */
  readonly ports: readonly PublishedPort[];
}

/** One interface as it was configured. */
export interface ConfiguredInterface {
  readonly interface: string;
  /** With prefix length. */
  readonly addresses: readonly string[];
}

/**
 * GuestNetworks connects guests of one node: bridges, interfaces, published ports.
 *
 * The control plane decides addresses; this configures what it is told, and gives out only the addresses of
 * subnets that are private to the node. Every call may be repeated, also after a crash in the middle. All
 * that is made on the host carries our prefix and is found again. Kinds: unavailable (a tool is missing),
 * failed-precondition (a bridge that is not ours to make is missing, a port is taken by another program,
 * the host has no VLANs), deadline-exceeded, internal. test/conformance/guest-network.ts holds
 * implementations to this.
 */
export interface GuestNetworks {
  /** What this host has, for its facts: "bridge", "vlan", "firewall", "portmap" → "yes", or why not. */
  fingerprint(signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
  /**
   * The bridges of the guest, and the addresses that the node itself gives out: for drivers that make the
   * interfaces themselves. What comes back are the attachments with every address decided.
   */
  prepare(network: GuestNetwork, signal: AbortSignal): Promise<readonly Attachment[]>;
  /**
   * Makes the interfaces in the namespace of a guest that was created and not started, then what stands on
   * the host around them: published ports, firewall. `pid` undefined: the driver makes the interfaces, only
   * the host's part is made.
   */
  attach(
    network: GuestNetwork,
    pid: number | undefined,
    signal: AbortSignal,
  ): Promise<readonly ConfiguredInterface[]>;
  /**
   * Removes all that was made for the guest, also when its namespace is gone. Succeeds when nothing is
   * left.
   */
  detach(id: InstanceId, signal: AbortSignal): Promise<void>;
  /** What was configured; empty for a guest without. Spawns nothing. */
  addressesOf(id: InstanceId): Promise<readonly ConfiguredInterface[]>;
  /**
   * Removes what belongs to no guest of these: after a crash, and bridges of ours that nothing is attached
   * to.
   */
  sweep(wanted: ReadonlySet<InstanceId>, signal: AbortSignal): Promise<void>;
}
