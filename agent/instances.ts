import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { asDroverError, DroverError } from '#shared/errors.ts';
import type { InstanceId, VolumeId } from '#shared/model.ts';
import { readIfThere, readOrMake, writeDurably } from './host/durable-file.ts';
import { createAbilities } from './instances/abilities.ts';
import { type Changes, createChanges } from './instances/changes.ts';
import { type Fleet, openFleet } from './instances/fleet.ts';
import { createFleetOrders, type FleetOrders, type OrderDesk } from './instances/fleet-orders.ts';
import { createIdRanges } from './instances/id-ranges.ts';
import { createImagesInUse } from './instances/images-in-use.ts';
import { createKeeper, type Keeper, type KeeperOptions } from './instances/keeper.ts';
import { createBeforeUpdate, keepSchedules } from './instances/automatic-snapshots.ts';
import { createNodeStorage, type NodeStorage } from './instances/node-storage.ts';
import { createReads, type InstanceReads, isLost } from './instances/read-instances.ts';
import { createRecords } from './instances/record.ts';
import { findInstances } from './instances/recover.ts';
import { createSnapshots } from './instances/take-snapshots.ts';
import { orderStarts } from './instances/start-order.ts';
import { openTombstones } from './instances/tombstones.ts';
import { createAct, type FaultHook, type Tools, type Workshop } from './instances/tools.ts';
import type { BeforeUpdate } from './instances/tools.ts';

export type { InstanceEvent } from './instances/changes.ts';
export type { HeldInstance } from './instances/read-instances.ts';
export type { FaultHook, Tools } from './instances/tools.ts';

/**
 * All instances of one node. Orders answer when they are durable; what then happens is seen in the watch.
 * Every order may be repeated, in any order and also after a crash at any point. Refusals are those of
 * orders.ts.
 */
export interface Instances extends FleetOrders, InstanceReads, NodeStorage {
  /** Random id of the state directory. */
  readonly incarnation: string;
  readonly fleet: Fleet;
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
const snapshotRetryMs = 10 * 60_000;
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
  await recoverSnapshots(shop);

  const wakeAll = (): void => {
    for (const keeper of keepers.values()) keeper.wake();
  };
  const endings = tools.drivers.map((driver) => driver.onChange((id) => keepers.get(id)?.wake()));
  endings.push(clock.every(sweepMs, wakeAll));
  endings.push(keepSchedules(shop, shop.snapshots));
  const turns = orderStarts([...keepers.values()], waitingTurn, shop);
  wakeAll();

  return {
    incarnation,
    fleet,
    ...createFleetOrders(openDesk(shop, fleet, changes, keepers)),
    ...createReads(shop, changes, keepers),
    ...createNodeStorage(shop, fleet),
    async close() {
      for (const end of endings) end();
      lifetime.abort(new DroverError('unavailable', 'the agent is ending'));
      changes.close();
      await turns;
      await Promise.all([...keepers.values()].map((keeper) => keeper.idle()));
      await shop.snapshots.idle();
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

/** A pool that does not answer must not keep the agent waiting: it is asked again beside everything else. */
async function recoverSnapshots(shop: Workshop): Promise<void> {
  const { snapshots, clock, log, lifetime } = shop;
  try {
    await snapshots.recover(clock.timeout(snapshotRecoveryMs, lifetime));
  } catch (error) {
    if (lifetime.aborted) return;
    log.warn({ event: 'snapshots.unrecovered', err: asDroverError(error) });
    const cancel = clock.after(snapshotRetryMs, () => {
      lifetime.removeEventListener('abort', cancel);
      void recoverSnapshots(shop);
    });
    lifetime.addEventListener('abort', cancel, { once: true });
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

async function countLife(file: string): Promise<number> {
  const lives = Number((await readIfThere(file)) ?? '0') + 1;
  await writeDurably(file, `${lives}\n`);
  return lives;
}
