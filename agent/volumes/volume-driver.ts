import type { Digest, InstanceId } from '#shared/model.ts';

/** A host id range that roots are shifted into: container id 0 is host id `base`. */
export interface IdRange {
  readonly base: number;
  readonly size: number;
}

export interface Root {
  /** Absolute path of the mounted root; every directory above it lets others pass (o+x). */
  readonly path: string;
  /** Whether the quota that was asked for is enforced. */
  readonly quotaEnforced: boolean;
}

export interface Usage {
  /** Bytes that removing the root would free. */
  readonly bytes: number;
}

/**
 * VolumeDriver makes an instance's root from an unpacked image.
 *
 * Every call may be repeated, also after a crash of the agent in the middle of it: prepare finds the root or
 * makes it, and keeps what the guest wrote; remove succeeds when there is nothing left. Nothing that the
 * driver did not make is ever touched. Kinds: not-found (usage), resource-exhausted (no room), unavailable
 * (the store of the volumes does not answer), deadline-exceeded (unknown outcome).
 * test/conformance/volume-driver.ts holds every driver to this.
 */
export interface VolumeDriver {
  /** "directory". */
  readonly name: string;
  /** What it can do: "quota". */
  readonly capabilities: readonly string[];
  /**
   * A mounted root over an image that was unpacked for the same range, or, `unshifted`, with the image's own
   * ids: then they are shifted for this root alone. `image` is the unpacked image's root file system and is
   * never written to. diskMib of zero means no quota.
   */
  prepare(
    root: {
      readonly id: InstanceId;
      readonly image: { readonly digest: Digest; readonly rootfs: string; readonly unshifted?: boolean };
      readonly range: IdRange;
      readonly diskMib: number;
    },
    signal: AbortSignal,
  ): Promise<Root>;
  /** Unmounts, keeping what the guest wrote. */
  release(id: InstanceId, signal: AbortSignal): Promise<void>;
  /** Unmounts and removes. */
  remove(id: InstanceId, signal: AbortSignal): Promise<void>;
  usage(id: InstanceId, signal: AbortSignal): Promise<Usage>;
  /** What the root was made for; undefined where there is none, or only half of one. Spawns nothing. */
  rangeOf(id: InstanceId): Promise<IdRange | undefined>;
  /** The ids that it holds roots for, mounted or not. */
  list(signal: AbortSignal): Promise<InstanceId[]>;
}
