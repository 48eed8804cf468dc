import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId, InstanceSpec, InstanceState, Order } from '#shared/model.ts';
import type { ExecStart, LogLine, LogOptions } from '#shared/streams.ts';
import type { ExecSession } from './drivers/driver.ts';
import { readIfThere, readOrMake, writeDurably } from './host/durable-file.ts';
import { type Changes, createChanges, type InstanceEvent, type WatchFrom } from './instances/changes.ts';
import { followLogs } from './instances/follow-logs.ts';
import { openFleet, type Fleet } from './instances/fleet.ts';
import { createIdRanges } from './instances/id-ranges.ts';
import { createKeeper, type Keeper, type KeeperOptions } from './instances/keeper.ts';
import { admit, bodyDigest, isRepeatedSpec, type OrderKind } from './instances/orders.ts';
import { present } from './instances/present.ts';
import { createRecords, type InstanceRecord } from './instances/record.ts';
import { findInstances } from './instances/recover.ts';
import { createAct, driverOf, type FaultHook, type Tools, type Workshop } from './instances/tools.ts';
import { openTombstones } from './instances/tombstones.ts';
import { ended, ensured, standIn } from './instances/transitions.ts';

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
export interface Instances {
  /** Random id of the state directory. */
  readonly incarnation: string;
  readonly fleet: Fleet;
  ensure(order: Order, spec: InstanceSpec): Promise<InstanceState>;
  /** Resolves when nothing runs any more; the signal ends the waiting, not the stop. not-found. */
  stop(order: Order, graceMs: number | undefined, signal: AbortSignal): Promise<InstanceState>;
  /** Sent at most once for each request id. not-found; failed-precondition when nothing runs. */
  signal(order: Order, signalNumber: number, signal: AbortSignal): Promise<void>;
  /** Resolves when nothing is left. */
  remove(order: Order, graceMs: number | undefined, signal: AbortSignal): Promise<void>;
  /** As the host shows it now. not-found. */
  inspect(id: InstanceId): Promise<HeldInstance>;
  list(): readonly HeldInstance[];
  watch(from: WatchFrom, signal: AbortSignal): AsyncIterable<InstanceEvent>;
  /** As RuntimeDriver.exec. */
  exec(id: InstanceId, start: ExecStart, signal: AbortSignal): Promise<ExecSession>;
  /** As RuntimeDriver.logs. */
  logs(id: InstanceId, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine>;
  /** Ends the work; guests go on. */
  close(): Promise<void>;
}

export interface InstancesOptions {
  readonly stateDir: string;
  /** Empty until the node has joined: then no order is taken. */
  readonly fleetId: string;
  readonly tools: Tools;
  readonly faults?: FaultHook;
}

/** The host is looked at this often without being asked, in case a notice was lost. */
const sweepMs = 30_000;
/** Numbers of one life of the agent; the number of lives stands above them. */
const sequencesPerLife = 2 ** 32;

/**
 * Finds every instance again and takes up its work. unavailable: the state cannot be read; never taken for
 * empty.
 */
export async function openInstances({
  stateDir,
  fleetId,
  tools,
  faults,
}: InstancesOptions): Promise<Instances> {
  await mkdir(stateDir, { recursive: true, mode: 0o711 });
  const { clock, random } = tools;
  const lifetime = new AbortController();
  const shop: Workshop = {
    ...tools,
    records: createRecords(path.join(stateDir, 'instances')),
    ranges: createIdRanges({ shared: tools.range, count: tools.rangeCount }),
    tombstones: await openTombstones(path.join(stateDir, 'tombstones'), clock.nowMs()),
    lifetime: lifetime.signal,
    act: createAct(faults, lifetime),
  };
  const incarnation = await readOrMake(path.join(stateDir, 'incarnation'), () => random.uuidV4());
  const fleet = await openFleet(path.join(stateDir, 'fleet.json'), fleetId);
  const life = await countLife(path.join(stateDir, 'lives'));
  const changes = createChanges({ incarnation, firstSequence: life * sequencesPerLife, clock });
  const keepers = await recover(shop, changes);

  const wakeAll = (): void => {
    for (const keeper of keepers.values()) keeper.wake();
  };
  const endings = tools.drivers.map((driver) => driver.onChange((id) => keepers.get(id)?.wake()));
  endings.push(clock.every(sweepMs, wakeAll));
  wakeAll();

  return {
    incarnation,
    fleet,
    ...orderHandlers(shop, fleet, changes, keepers),
    ...readers(shop, changes, keepers),
    async close() {
      for (const end of endings) end();
      lifetime.abort(new DroverError('unavailable', 'the agent is ending'));
      changes.close();
      await Promise.all([...keepers.values()].map((keeper) => keeper.idle()));
    },
  };
}

type Keepers = Map<InstanceId, Keeper>;

async function recover(shop: Workshop, changes: Changes): Promise<Keepers> {
  const keepers: Keepers = new Map();
  for (const found of await findInstances(shop)) {
    const keeper = createKeeper(shop, { ...found, onChange: onChangeOf(changes, keepers) });
    keepers.set(found.id, keeper);
  }
  for (const keeper of keepers.values()) {
    // A host that does not answer yet: the instance counts as unknown, and the work that is woken next says
    // why.
    await keeper.refresh().catch(() => undefined);
    changes.put(keeper.state());
  }
  return keepers;
}

const onChangeOf =
  (changes: Changes, keepers: Keepers): KeeperOptions['onChange'] =>
  (keeper) => {
    if (keeper.gone) {
      keepers.delete(keeper.id);
      changes.remove(keeper.id);
    } else if (keeper.record !== undefined) changes.put(keeper.state());
  };

function orderHandlers(
  shop: Workshop,
  fleet: Fleet,
  changes: Changes,
  keepers: Keepers,
): Pick<Instances, 'ensure' | 'stop' | 'signal' | 'remove'> {
  const { clock, tombstones } = shop;

  function keeperFor(id: InstanceId): Keeper {
    const runtime = shop.drivers[0]?.name ?? '';
    const options = { id, record: undefined, damage: '', runtime, onChange: onChangeOf(changes, keepers) };
    const keeper = keepers.get(id) ?? createKeeper(shop, options);
    keepers.set(id, keeper);
    return keeper;
  }

  async function admission(kind: OrderKind, order: Order, rest: unknown) {
    const body = bodyDigest(kind, order, rest);
    const decide = (record: InstanceRecord | undefined) =>
      admit(kind, order, body, { ...fleet.seen(), record, removed: tombstones.has(order.instanceId) });
    const admitted = decide(keepers.get(order.instanceId)?.record);
    await fleet.raise(order.fleetEpoch);
    return { body, decide, admitted };
  }

  async function end(kind: 'stop' | 'remove', order: Order, graceMs: number | undefined) {
    const { body, decide, admitted } = await admission(kind, order, { graceMs });
    const known = keepers.get(order.instanceId);
    if (admitted.kind === 'nothing-left' || admitted.kind === 'answered') return { admitted, keeper: known };
    if (known === undefined && kind === 'stop') throw notFound(order.instanceId);
    const keeper = known ?? keeperFor(order.instanceId);
    const runtime = shop.drivers[0]?.name ?? '';
    const written = await keeper.update((record) => {
      // A removal under way is never written again: its record may be on its way out.
      if (decide(record).kind !== 'carry-out' || record?.intent === 'remove') return undefined;
      const base = record ?? standIn(order.instanceId, runtime, shop.ranges.of(order.instanceId));
      return ended(kind, base, order, { graceMs, body, atMs: clock.nowMs() });
    });
    if (written) keeper.interrupt();
    else keeper.wake();
    return { admitted, keeper };
  }

  return {
    async ensure(order, spec) {
      const { body, decide, admitted } = await admission('ensure', order, spec);
      if (admitted.kind === 'answered') return admitted.answer;
      driverOf(shop, spec.runtime);
      const known = keepers.get(order.instanceId);
      const lost = known !== undefined && known.record === undefined;
      const seen = lost ? await known.refresh() : 'absent';
      const adopt = seen !== 'absent' && seen.phase === 'running';
      const keeper = keeperFor(order.instanceId);
      const written = await keeper.update((record) => {
        if (decide(record).kind !== 'carry-out' || isRepeatedSpec(record, order, spec)) return undefined;
        // Held also when the record cannot be written: the write may have come through.
        const range = record === undefined ? shop.ranges.take(order.instanceId) : record.range;
        return ensured(order, spec, body, { record, range, adopt, atMs: clock.nowMs() });
      });
      if (!written) return keeper.state();
      keeper.interrupt();
      const { record } = keeper;
      const answer = record?.orders.find(({ requestId }) => requestId === order.requestId)?.answer;
      return (
        answer ?? present({ ...keeper, guest: undefined, failure: undefined, notEnforced: [], damage: '' })
      );
    },

    async stop(order, graceMs, signal) {
      const { admitted, keeper } = await end('stop', order, graceMs);
      if (admitted.kind === 'answered') return admitted.answer;
      if (keeper === undefined) throw notFound(order.instanceId);
      await keeper.settled(() => keeper.gone || isEnded(keeper), signal);
      return keeper.state();
    },

    async remove(order, graceMs, signal) {
      const { admitted, keeper } = await end('remove', order, graceMs);
      if (admitted.kind === 'nothing-left' || keeper === undefined) return;
      await keeper.settled(() => keeper.gone, signal);
    },

    async signal(order, signalNumber, signal) {
      const { body, decide, admitted } = await admission('signal', order, { signalNumber });
      if (admitted.kind !== 'carry-out') return;
      const keeper = keepers.get(order.instanceId);
      if (keeper?.record === undefined) throw notFound(order.instanceId);
      const { spec } = keeper.record;
      const asked = { requestId: order.requestId, bodyDigest: body, answer: undefined };
      // Written down first: a signal that may have been sent is never sent again.
      const written = await keeper.update((record) =>
        record === undefined || decide(record).kind !== 'carry-out'
          ? undefined
          : { ...record, orders: [...record.orders, asked].slice(-8) },
      );
      if (written) await driverOf(shop, spec.runtime).signal(order.instanceId, signalNumber, signal);
    },
  };
}

/** Not one whose first order could not be written down. */
const isHeld = (keeper: Keeper): boolean => keeper.record !== undefined || keeper.state().message !== '';

const isEnded = ({ record, state }: Keeper): boolean =>
  record !== undefined && record.intent !== 'run' && record.run === 'ended' && state().phase !== 'stopping';

function readers(
  shop: Workshop,
  changes: Changes,
  keepers: Keepers,
): Pick<Instances, 'inspect' | 'list' | 'watch' | 'exec' | 'logs'> {
  const held = (keeper: Keeper): HeldInstance => ({ state: keeper.state(), spec: keeper.record?.spec });
  const find = (id: InstanceId): Keeper => {
    const keeper = keepers.get(id);
    if (keeper === undefined) throw notFound(id);
    return keeper;
  };
  const driverFor = (id: InstanceId) =>
    driverOf(shop, find(id).record?.spec.runtime ?? shop.drivers[0]?.name ?? '');
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
    logs(id, options, signal) {
      const open = (wanted: LogOptions) => driverFor(id).logs(id, wanted, signal);
      const state = () => keepers.get(id)?.state();
      return options.follow ? followLogs(id, options, { open, state, changes }, signal) : open(options);
    },
  };
}

const notFound = (id: InstanceId): DroverError =>
  new DroverError('not-found', `no instance ${id} on this node`, { subject: { instance: id } });

async function countLife(file: string): Promise<number> {
  const lives = Number((await readIfThere(file)) ?? '0') + 1;
  await writeDurably(file, `${lives}\n`);
  return lives;
}
