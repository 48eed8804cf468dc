import type { InstanceId, InstanceSpec, InstanceState, Snapshot } from '#shared/model.ts';
import type { ExecStart, LogLine, LogOptions, TerminalSize } from '#shared/streams.ts';
import type { ExecSession } from '../drivers/driver.ts';
import type { Changes, InstanceEvent, WatchFrom } from './changes.ts';
import { notFound } from './fleet-orders.ts';
import { followLogs } from './follow-logs.ts';
import type { Keeper } from './keeper.ts';
import { type NamedStats, readStats } from './stats.ts';
import { driverOf, type Workshop } from './tools.ts';

export interface HeldInstance {
  readonly state: InstanceState;
  /** Undefined where its record is lost. */
  readonly spec: InstanceSpec | undefined;
}

/** What is asked of instances that changes nothing. */
export interface InstanceReads {
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
  /** Of one instance or of all, oldest first. not-found. */
  snapshots(id: InstanceId | undefined, signal: AbortSignal): Promise<Snapshot[]>;
}

/** Not one whose first order could not be written down. */
export const isHeld = (keeper: Keeper): boolean =>
  keeper.record !== undefined || keeper.state().message !== '';

/** A record without an image stands in for one that is lost. */
export const isLost = (keeper: Keeper): boolean => isHeld(keeper) && (keeper.record?.spec.image ?? '') === '';

export function createReads(
  shop: Workshop,
  changes: Changes,
  keepers: ReadonlyMap<InstanceId, Keeper>,
): InstanceReads {
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
    async snapshots(id, signal) {
      const record = id === undefined ? undefined : find(id).record;
      if (id !== undefined && record === undefined) throw notFound(id);
      return shop.snapshots.list(record, signal);
    },
  };
}
