import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Log } from '#shared/log.ts';
import type { InstanceId, InstanceSpec, VolumeId } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { RuntimeDriver } from '../drivers/driver.ts';
import type { ImageSource } from '../images/image-source.ts';
import type { GuestNetworks } from '../network/guest-network.ts';
import type { Pools } from '../volumes/pools.ts';
import type { IdRange } from '../volumes/volume-driver.ts';
import type { Abilities } from './abilities.ts';
import type { IdRanges } from './id-ranges.ts';
import type { ImagesInUse } from './images-in-use.ts';
import type { InstanceRecord, Records } from './record.ts';
import type { Snapshots } from './snapshots.ts';
import type { Tombstones } from './tombstones.ts';

/** What the work on instances needs, chosen by the composition root. */
export interface Tools {
  readonly drivers: readonly RuntimeDriver[];
  readonly images: readonly ImageSource[];
  readonly pools: Pools;
  readonly networks: GuestNetworks;
  /** The node's own host ids. */
  readonly range: IdRange;
  /** How many ranges follow it, one for an instance each. Zero: new instances share the node's. */
  readonly rangeCount: number;
  /** Whether specs may ask for guests whose root is the host's. */
  readonly allowsPrivileged: boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The kernel's boot id. */
  readonly bootId: string;
}

/** What is done before a guest is cleared away for one of another spec: its automatic snapshot. */
export type BeforeUpdate = (
  /** With the spec and generation of the guest that is there; it lives as a rule. */
  old: InstanceRecord,
  next: InstanceSpec,
  signal: AbortSignal,
) => Promise<void>;

/** The same, with what belongs to one life of the agent. */
export interface Workshop extends Tools {
  readonly records: Records;
  readonly tombstones: Tombstones;
  readonly ranges: IdRanges;
  readonly abilities: Abilities;
  readonly imagesInUse: ImagesInUse;
  /** Data volumes on their way out: no guest gets one. */
  readonly removingVolumes: Set<VolumeId>;
  /** The records of all instances, as they are in memory. */
  heldRecords(): readonly InstanceRecord[];
  readonly snapshots: Snapshots;
  /** Those whose record is lost: nobody knows what they are made from and what they have mounted. */
  lostInstances(): readonly InstanceId[];
  /** Whose turn to be started after a reboot has not come. */
  readonly waitingTurn: ReadonlySet<InstanceId>;
  /**
   * Called again after a crash in the middle of it or of what follows. What it throws puts the update off,
   * and the guest of before goes on.
   */
  readonly beforeUpdate: BeforeUpdate | undefined;
  /** Aborts when the agent ends. Guests go on. */
  readonly lifetime: AbortSignal;
  /**
   * Every step that changes something goes through here, named. A test's fault hook throws before or after
   * one, and from then on nothing more is done, as if the process had been killed.
   */
  act<T>(step: string, work: () => Promise<T>): Promise<T>;
}

/** Called as `before STEP` and `after STEP`. */
export type FaultHook = (moment: string) => void | Promise<void>;

export function createAct(faults: FaultHook | undefined, lifetime: AbortController): Workshop['act'] {
  const pass = async (moment: string): Promise<void> => {
    lifetime.signal.throwIfAborted();
    try {
      await faults?.(moment);
    } catch (error) {
      lifetime.abort(error);
      throw error;
    }
  };
  return async (step, work) => {
    await pass(`before ${step}`);
    const result = await work();
    await pass(`after ${step}`);
    return result;
  };
}

/** failed-precondition. */
export function driverOf({ drivers }: Pick<Tools, 'drivers'>, runtime: string): RuntimeDriver {
  const driver = drivers.find(({ name }) => name === runtime);
  if (driver !== undefined) return driver;
  const known = drivers.map(({ name }) => name).join(', ') || 'none';
  throw new DroverError(
    'failed-precondition',
    `no runtime ${JSON.stringify(runtime)} here; there is ${known}`,
  );
}

/** invalid-argument. */
export function imageSourceOf(
  { images }: { images: readonly ImageSource[] },
  reference: string,
): ImageSource {
  const source = images.find((candidate) => candidate.takes(reference));
  if (source !== undefined) return source;
  if (reference.startsWith('proxmox:')) throw ofClusters(reference);
  throw new DroverError('invalid-argument', `no source of images here reads ${JSON.stringify(reference)}`);
}

const ofClusters = (reference: string): DroverError =>
  new DroverError(
    'unimplemented',
    `${JSON.stringify(reference)} is an image of a Proxmox cluster, and this is a plain host`,
    { nextStep: 'name the runtime "proxmox-lxc" or "proxmox-vm", or an image that hosts can fetch' },
  );
