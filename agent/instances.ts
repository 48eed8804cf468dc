import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { asDroverError, DroverError } from '#shared/errors.ts';
import type {
  Digest,
  InstanceId,
  InstanceSpec,
  InstanceState,
  NodeVolume,
  Snapshot,
  VolumeId,
} from '#shared/model.ts';
import type { ExecStart, LogLine, LogOptions, TerminalSize } from '#shared/streams.ts';
import type { ExecSession } from './drivers/driver.ts';
import { readIfThere, readOrMake, writeDurably } from './host/durable-file.ts';
import { createAbilities } from './instances/abilities.ts';
import { type Changes, createChanges, type InstanceEvent, type WatchFrom } from './instances/changes.ts';
import { listVolumes, removeVolume } from './instances/data-volumes.ts';
import { type Fleet, openFleet } from './instances/fleet.ts';
import { createFleetOrders, type FleetOrders, notFound, type OrderDesk } from './instances/fleet-orders.ts';
import { followLogs } from './instances/follow-logs.ts';
import { usualImageRange } from './instances/housing.ts';
import { createIdRanges } from './instances/id-ranges.ts';
import { createImagesInUse } from './instances/images-in-use.ts';
import { createKeeper, type Keeper, type KeeperOptions } from './instances/keeper.ts';
import { checkFleet } from './instances/orders.ts';
import { createBeforeUpdate, keepSchedules } from './instances/automatic-snapshots.ts';
import { createRecords } from './instances/record.ts';
import { findInstances } from './instances/recover.ts';
import { createSnapshots } from './instances/snapshots.ts';
import { orderStarts } from './instances/start-order.ts';
import { type NamedStats, readStats } from './instances/stats.ts';
import { openTombstones } from './instances/tombstones.ts';
import { createAct, driverOf, type FaultHook, type Tools, type Workshop } from './instances/tools.ts';
import type { BeforeUpdate } from './instances/tools.ts';
import { removeImage, usedImages } from './instances/used-images.ts';
import type { IdRange } from './volumes/volume-driver.ts';

export type { InstanceEvent } from './instances/changes.ts';
export type { FaultHook, Tools } from './instances/tools.ts';

export interface HeldInstance {
  readonly state: InstanceState;
  /** Undefined where its record is lost. */
  readonly spec: InstanceSpec | undefined;
}

/**
 * All instances of one node. Orders answer when they are durable; what then happens is seen in the watch.
 * Every order may be repeated, in any order and also after a crash at any point. Refusals are those of
 * orders.ts.
 */
export interface Instances extends FleetOrders {
  /** Random id of the state directory. */
  readonly incarnation: string;
  readonly fleet: Fleet;
  /** As the host shows it now. not-found. */
  inspect(id: InstanceId): Promise<HeldInstance>;
  /** Spawns nothing and reads nothing. */
  list(): readonly HeldInstance[];
  watch(from: WatchFrom, signal: AbortSignal): AsyncIterable<InstanceEvent>;
  /** As RuntimeDriver.exec. */
  exec(id: InstanceId, start: ExecStart, signal: AbortSignal): Promise<ExecSession>;
  /** As RuntimeDriver.console. */
  console(id: InstanceId, size: TerminalSize, signal: AbortSignal): Promise<ExecSession>;
  /** As RuntimeDriver.logs. */
  logs(id: InstanceId, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine>;
  /**
   * Of one or of all that live: at once, then every interval until the signal; zero: once. not-found;
   * failed-precondition: the one does not live.
   */
  stats(id: InstanceId | undefined, intervalMs: number, signal: AbortSignal): AsyncIterable<NamedStats>;
  /** All data volumes of the node. */
  volumes(signal: AbortSignal): AsyncIterable<NodeVolume>;
  /** Succeeds when there is none. failed-precondition: an instance has it; unknown-fleet; stale-epoch. */
  removeVolume(
    from: { readonly fleetId: string; readonly fleetEpoch: number },
    id: VolumeId,
    signal: AbortSignal,
  ): Promise<void>;
  /** Of one instance or of all, oldest first. not-found. */
  snapshots(id: InstanceId | undefined, signal: AbortSignal): Promise<Snapshot[]>;
  /** How many instances each image is used by; the others may be removed. */
  usedImages(): ReadonlyMap<Digest, number>;
  /** From all sources and pools; gives the bytes that are free again. failed-precondition: it is used. */
  removeImage(digest: Digest, signal: AbortSignal): Promise<number>;
  /** What images are unpacked for that are fetched before an instance asks for them. */
  imageRange(): Promise<IdRange>;
  /** Ends the work; guests go on. */
  close(): Promise<void>;
}

export interface InstancesOptions {
  readonly stateDir: string;
  /** Empty until the node has joined: then no order is taken. */
  readonly fleetId: string;
  readonly tools: Tools;
  readonly beforeUpdate?: BeforeUpdate;
  readonly faults?: FaultHook;
}

/** The host is looked at this often without being asked, in case a notice was lost. */
const sweepMs = 30_000;
/**
 * What is left of networks is looked for once; a host that does not answer must not keep the agent waiting.
 */
const networkSweepMs = 30_000;
const snapshotRecoveryMs = 60_000;
/** Numbers of one life of the agent; the number of lives stands above them. */
const sequencesPerLife = 2 ** 32;

type Keepers = Map<InstanceId, Keeper>;

/**
 * Finds every instance again and takes up its work. unavailable: the state cannot be read; never taken for
 * empty.
 */
export async function openInstances(options: InstancesOptions): Promise<Instances> {
  const { stateDir, fleetId, tools } = options;
  await mkdir(stateDir, { recursive: true, mode: 0o711 });
  const { clock, random } = tools;
  const lifetime = new AbortController();
  const keepers: Keepers = new Map();
  const waitingTurn = new Set<InstanceId>();
  const shop = await openWorkshop(options, lifetime, keepers, waitingTurn);
  const incarnation = await readOrMake(path.join(stateDir, 'incarnation'), () => random.uuidV4());
  const fleet = await openFleet(path.join(stateDir, 'fleet.json'), fleetId);
  const life = await countLife(path.join(stateDir, 'lives'));
  const changes = createChanges({ incarnation, firstSequence: life * sequencesPerLife, clock });
  await recover(shop, changes, keepers);

  const wakeAll = (): void => {
    for (const keeper of keepers.values()) keeper.wake();
  };
  const endings = tools.drivers.map((driver) => driver.onChange((id) => keepers.get(id)?.wake()));
  endings.push(clock.every(sweepMs, wakeAll));
  await recoverSnapshots(shop);
  endings.push(keepSchedules(shop, shop.snapshots));
  const turns = orderStarts([...keepers.values()], waitingTurn, shop);
  wakeAll();

  return {
    incarnation,
    fleet,
    ...createFleetOrders(openDesk(shop, fleet, changes, keepers)),
    ...readers(shop, changes, keepers),
    ...storage(shop, fleet),
    async snapshots(id, signal) {
      const record = id === undefined ? undefined : keepers.get(id)?.record;
      if (id !== undefined && record === undefined) throw notFound(id);
      return shop.snapshots.list(record, signal);
    },
    async close() {
      for (const end of endings) end();
      lifetime.abort(new DroverError('unavailable', 'the agent is ending'));
      changes.close();
      await turns;
      await Promise.all([...keepers.values()].map((keeper) => keeper.idle()));
    },
  };
}

async function openWorkshop(
  { stateDir, tools, beforeUpdate, faults }: InstancesOptions,
  lifetime: AbortController,
  keepers: Keepers,
  waitingTurn: ReadonlySet<InstanceId>,
): Promise<Workshop> {
  const { clock } = tools;
  const base = {
    ...tools,
    records: createRecords(path.join(stateDir, 'instances')),
    ranges: createIdRanges({ shared: tools.range, count: tools.rangeCount }),
    tombstones: await openTombstones(path.join(stateDir, 'tombstones'), clock.nowMs()),
    abilities: createAbilities(clock),
    imagesInUse: createImagesInUse(),
    removingVolumes: new Set<VolumeId>(),
    heldRecords: () => [...keepers.values()].flatMap(({ record }) => record ?? []),
    lostInstances: () => [...keepers.values()].filter(isLost).map(({ id }) => id),
    waitingTurn,
    lifetime: lifetime.signal,
    act: createAct(faults, lifetime),
  };
  const snapshots = createSnapshots(base, path.join(stateDir, 'snapshots'));
  return { ...base, snapshots, beforeUpdate: beforeUpdate ?? createBeforeUpdate(base, snapshots) };
}

async function recover(shop: Workshop, changes: Changes, keepers: Keepers): Promise<void> {
  for (const found of await findInstances(shop)) {
    keepers.set(found.id, createKeeper(shop, { ...found, onChange: onChangeOf(changes, keepers) }));
  }
  await sweepNetworks(shop, new Set(keepers.keys()));
  for (const keeper of keepers.values()) {
    // A host that does not answer yet: the instance counts as unknown, and the work that is woken next says
    // why.
    await keeper.refresh().catch(() => undefined);
    changes.put(keeper.state());
  }
}

/** A pool that does not answer must not keep the agent waiting. */
async function recoverSnapshots({ snapshots, clock, log }: Workshop): Promise<void> {
  try {
    await snapshots.recover(clock.timeout(snapshotRecoveryMs));
  } catch (error) {
    log.warn({ event: 'snapshots.unrecovered', err: asDroverError(error) });
  }
}

/** Before any order: what an order makes from now on is not known to the sweep. */
async function sweepNetworks({ networks, clock, log }: Workshop, wanted: ReadonlySet<InstanceId>) {
  try {
    await networks.sweep(wanted, clock.timeout(networkSweepMs));
  } catch (error) {
    // What is left costs room; instances need none of it.
    log.warn({ event: 'networks.unswept', err: asDroverError(error) });
  }
}

const onChangeOf =
  (changes: Changes, keepers: Keepers): KeeperOptions['onChange'] =>
  (keeper) => {
    if (keeper.gone) {
      keepers.delete(keeper.id);
      changes.remove(keeper.id);
    } else if (keeper.record !== undefined) changes.put(keeper.state());
  };

const openDesk = (shop: Workshop, fleet: Fleet, changes: Changes, keepers: Keepers): OrderDesk => ({
  shop,
  fleet,
  find: (id) => keepers.get(id),
  keeperFor(id) {
    const runtime = shop.drivers[0]?.name ?? '';
    const bare = { id, record: undefined, damage: '', runtime, rootPool: '' };
    const keeper = keepers.get(id) ?? createKeeper(shop, { ...bare, onChange: onChangeOf(changes, keepers) });
    keepers.set(id, keeper);
    return keeper;
  },
});

/** Not one whose first order could not be written down. */
const isHeld = (keeper: Keeper): boolean => keeper.record !== undefined || keeper.state().message !== '';

/** A record without an image stands in for one that is lost. */
const isLost = (keeper: Keeper): boolean => isHeld(keeper) && (keeper.record?.spec.image ?? '') === '';

function readers(
  shop: Workshop,
  changes: Changes,
  keepers: Keepers,
): Pick<Instances, 'inspect' | 'list' | 'watch' | 'exec' | 'console' | 'logs' | 'stats'> {
  const held = (keeper: Keeper): HeldInstance => ({ state: keeper.state(), spec: keeper.record?.spec });
  const find = (id: InstanceId): Keeper => {
    const keeper = keepers.get(id);
    if (keeper === undefined) throw notFound(id);
    return keeper;
  };
  const driverFor = (id: InstanceId) => {
    const { record, runtime } = find(id);
    return driverOf(shop, record?.spec.runtime ?? runtime);
  };
  return {
    async inspect(id) {
      const keeper = find(id);
      await keeper.refresh();
      keeper.wake();
      return held(keeper);
    },
    list: () => [...keepers.values()].filter(isHeld).map(held),
    watch: (from, signal) => changes.watch(from, signal),
    exec: async (id, start, signal) => driverFor(id).exec(id, start, signal),
    console: async (id, size, signal) => driverFor(id).console(id, size, signal),
    logs(id, options, signal) {
      const open = (wanted: LogOptions) => driverFor(id).logs(id, wanted, signal);
      const state = () => keepers.get(id)?.state();
      return options.follow ? followLogs(id, options, { open, state, changes }, signal) : open(options);
    },
    stats(id, intervalMs, signal) {
      const choose = (): Keeper[] =>
        [...(id === undefined ? keepers.values() : [keepers.get(id)])].filter((one) => one !== undefined);
      return readStats(shop, choose, { intervalMs, one: id }, signal);
    },
  };
}

const storage = (
  shop: Workshop,
  fleet: Fleet,
): Pick<Instances, 'volumes' | 'removeVolume' | 'usedImages' | 'removeImage' | 'imageRange'> => ({
  volumes: (signal) => listVolumes(shop, signal),
  async removeVolume(from, id, signal) {
    checkFleet(from, fleet.seen());
    await fleet.raise(from.fleetEpoch);
    await removeVolume(shop, id, signal);
  },
  usedImages: () => usedImages(shop),
  removeImage: (digest, signal) => removeImage(shop, digest, signal),
  imageRange: () => usualImageRange(shop),
});

async function countLife(file: string): Promise<number> {
  const lives = Number((await readIfThere(file)) ?? '0') + 1;
  await writeDurably(file, `${lives}\n`);
  return lives;
}
