import { DroverError } from '#shared/errors.ts';
import type { InstanceId, InstanceSpec, InstanceState, Order, Snapshot, SnapshotId } from '#shared/model.ts';
import type { GuestState } from '../drivers/driver.ts';
import type { Fleet } from './fleet.ts';
import { planHousing } from './housing.ts';
import type { Keeper } from './keeper.ts';
import { admit, bodyDigest, changesLimitsAlone, isRepeatedSpec, type OrderKind, remember } from './orders.ts';
import { isLive } from './present.ts';
import type { InstanceRecord } from './record.ts';
import { noSuchSnapshot } from './snapshots.ts';
import { driverOf, type Workshop } from './tools.ts';
import { adjusted, ended, ensured, standIn } from './transitions.ts';

/** What orders act on. */
export interface OrderDesk {
  readonly shop: Workshop;
  readonly fleet: Fleet;
  find(id: InstanceId): Keeper | undefined;
  /** The one that is there, or a new one. */
  keeperFor(id: InstanceId): Keeper;
}

export interface FleetOrders {
  ensure(order: Order, spec: InstanceSpec): Promise<InstanceState>;
  /** Resolves when nothing runs any more; the signal ends the waiting, not the stop. not-found. */
  stop(order: Order, graceMs: number | undefined, signal: AbortSignal): Promise<InstanceState>;
  /** Sent at most once for each request id. not-found; failed-precondition when nothing runs. */
  signal(order: Order, signalNumber: number, signal: AbortSignal): Promise<void>;
  /**
   * Freezes the guest until it is resumed, stopped or made anew. not-found; failed-precondition; aborted
   * while a snapshot of it is taken.
   */
  pause(order: Order, signal: AbortSignal): Promise<InstanceState>;
  /** not-found; failed-precondition when nothing lives; aborted while a snapshot of it is taken. */
  resume(order: Order, signal: AbortSignal): Promise<InstanceState>;
  /** As Snapshots.take; not-found. */
  createSnapshot(
    order: Order,
    wanted: { readonly id: SnapshotId; readonly name: string },
    signal: AbortSignal,
  ): Promise<Snapshot>;
  /**
   * Stops the guest, sets its volumes back, and starts it again if it should run. Done once for each request
   * id. not-found; failed-precondition: something stands on a later snapshot.
   */
  rollBack(order: Order, snapshot: SnapshotId, signal: AbortSignal): Promise<InstanceState>;
  /** As Snapshots.remove; not-found: no such instance. */
  removeSnapshot(order: Order, snapshot: SnapshotId, signal: AbortSignal): Promise<void>;
  /** Resolves when nothing is left but data volumes. */
  remove(order: Order, graceMs: number | undefined, signal: AbortSignal): Promise<void>;
}

export const createFleetOrders = (desk: OrderDesk): FleetOrders => ({
  ensure: (order, spec) => ensure(desk, order, spec),
  async stop(order, graceMs, signal) {
    const { admitted, keeper } = await end(desk, 'stop', order, graceMs);
    if (admitted.kind === 'answered') return admitted.answer;
    if (keeper === undefined) throw notFound(order.instanceId);
    await keeper.settled(() => keeper.gone || isEnded(keeper), signal);
    return keeper.state();
  },
  async remove(order, graceMs, signal) {
    const { admitted, keeper } = await end(desk, 'remove', order, graceMs);
    if (admitted.kind === 'nothing-left' || keeper === undefined) return;
    await keeper.settled(() => keeper.gone, signal);
  },
  signal: (order, signalNumber, signal) => sendSignal(desk, order, signalNumber, signal),
  pause: (order, signal) => freeze(desk, 'pause', order, signal),
  resume: (order, signal) => freeze(desk, 'resume', order, signal),
  async createSnapshot(order, { id, name }, signal) {
    const record = await admittedRecord(desk, 'snapshot', order, { id, name });
    return desk.shop.snapshots.take(record, { id, name, kind: 'manual' }, signal);
  },
  rollBack: (order, snapshot, signal) => rollBack(desk, order, snapshot, signal),
  async removeSnapshot(order, snapshot, signal) {
    const record = await admittedRecord(desk, 'remove-snapshot', order, { snapshot });
    await desk.shop.snapshots.remove(record, snapshot, signal);
  },
});

export const notFound = (id: InstanceId): DroverError =>
  new DroverError('not-found', `no instance ${id} on this node`, { subject: { instance: id } });

async function admission({ shop, fleet, find }: OrderDesk, kind: OrderKind, order: Order, rest: object) {
  const body = bodyDigest(kind, order, rest);
  const removed = (): boolean => shop.tombstones.has(order.instanceId);
  const decide = (record: InstanceRecord | undefined) =>
    admit(kind, order, body, { ...fleet.seen(), record, removed: removed() });
  const admitted = decide(find(order.instanceId)?.record);
  await fleet.raise(order.fleetEpoch);
  return { body, decide, admitted };
}

async function ensure(desk: OrderDesk, order: Order, spec: InstanceSpec): Promise<InstanceState> {
  const { shop } = desk;
  const { body, decide, admitted } = await admission(desk, 'ensure', order, spec);
  if (admitted.kind === 'answered') return admitted.answer;
  driverOf(shop, spec.runtime);
  const known = desk.find(order.instanceId);
  if (known?.record !== undefined && isRepeatedSpec(known.record, order, spec)) return known.state();
  const plan = await planHousing(shop, order.instanceId, spec, {
    record: known?.record,
    pool: known?.rootPool ?? '',
  });
  const seen = known === undefined ? undefined : await lookAt(shop, known, spec);
  const adopt = known?.record === undefined && seen !== undefined;
  const keeper = desk.keeperFor(order.instanceId);
  const written = await keeper.update((record) => {
    if (decide(record).kind !== 'carry-out' || isRepeatedSpec(record, order, spec)) return undefined;
    if (seen?.canUpdate === true && record !== undefined && keepsRun(record, spec)) {
      return adjusted(order, spec, body, { record, guest: seen.guest });
    }
    // A range is held also when the record cannot be written: the write may have come through.
    const housing = plan.house(record);
    const { volumes } = plan;
    return ensured(order, spec, body, { record, housing, volumes, adopt, atMs: shop.clock.nowMs() });
  });
  if (!written) return keeper.state();
  keeper.interrupt();
  const { requestId } = order;
  return keeper.record?.orders.find((each) => each.requestId === requestId)?.answer ?? keeper.state();
}

/** The guest that lives, and whether it can be given other limits as it runs. Undefined: none lives. */
async function lookAt(
  shop: Workshop,
  keeper: Keeper,
  spec: InstanceSpec,
): Promise<{ readonly guest: GuestState; readonly canUpdate: boolean } | undefined> {
  if (keeper.record !== undefined && !keepsRun(keeper.record, spec)) return undefined;
  const guest = await keeper.refresh();
  if (guest === 'absent' || !isLive(guest)) return undefined;
  if (keeper.record === undefined) return { guest, canUpdate: false };
  const abilities = await shop.abilities.runtime(driverOf(shop, spec.runtime));
  return { guest, canUpdate: abilities.has('update') };
}

/** Only the limits of what runs are to be others. */
const keepsRun = (record: InstanceRecord, spec: InstanceSpec): boolean =>
  record.intent === 'run' && record.run === 'started' && changesLimitsAlone(record.spec, spec);

async function end(desk: OrderDesk, kind: 'stop' | 'remove', order: Order, graceMs: number | undefined) {
  const { shop } = desk;
  const { body, decide, admitted } = await admission(desk, kind, order, { graceMs });
  const known = desk.find(order.instanceId);
  if (admitted.kind === 'nothing-left' || admitted.kind === 'answered') return { admitted, keeper: known };
  if (known === undefined && kind === 'stop') throw notFound(order.instanceId);
  const keeper = known ?? desk.keeperFor(order.instanceId);
  const { runtime, rootPool } = keeper;
  const written = await keeper.update((record) => {
    // A removal under way is never written again: its record may be on its way out.
    if (decide(record).kind !== 'carry-out' || record?.intent === 'remove') return undefined;
    const range = shop.ranges.of(order.instanceId);
    const base = record ?? standIn(order.instanceId, runtime, { range, rootPool });
    return ended(kind, base, order, { graceMs, body, atMs: shop.clock.nowMs() });
  });
  if (written) keeper.interrupt();
  else keeper.wake();
  return { admitted, keeper };
}

const isEnded = ({ record, state }: Keeper): boolean =>
  record !== undefined && record.intent !== 'run' && record.run === 'ended' && state().phase !== 'stopping';

async function sendSignal(
  desk: OrderDesk,
  order: Order,
  signalNumber: number,
  signal: AbortSignal,
): Promise<void> {
  const { body, decide, admitted } = await admission(desk, 'signal', order, { signalNumber });
  if (admitted.kind !== 'carry-out') return;
  const keeper = desk.find(order.instanceId);
  if (keeper?.record === undefined) throw notFound(order.instanceId);
  const { spec } = keeper.record;
  const asked = { requestId: order.requestId, bodyDigest: body, answer: undefined };
  // Written down first: a signal that may have been sent is never sent again.
  const written = await keeper.update((record) =>
    record === undefined || decide(record).kind !== 'carry-out'
      ? undefined
      : { ...record, orders: remember(record.orders, asked) },
  );
  if (written) await driverOf(desk.shop, spec.runtime).signal(order.instanceId, signalNumber, signal);
}

/** Written down once it is done: an order that came through without an answer is carried out again. */
async function freeze(
  desk: OrderDesk,
  kind: 'pause' | 'resume',
  order: Order,
  signal: AbortSignal,
): Promise<InstanceState> {
  const { shop } = desk;
  const { body, decide, admitted } = await admission(desk, kind, order, {});
  if (admitted.kind === 'answered') return admitted.answer;
  const keeper = desk.find(order.instanceId);
  if (keeper?.record === undefined) throw notFound(order.instanceId);
  const { intent, spec } = keeper.record;
  if (intent !== 'run') {
    throw new DroverError('failed-precondition', `instance ${order.instanceId} is stopped or on its way`, {
      subject: { instance: order.instanceId },
    });
  }
  // It goes on when that is done, whatever was asked for meanwhile.
  if (shop.snapshots.isFreezing(order.instanceId)) {
    throw new DroverError('aborted', `a snapshot of ${order.instanceId} is being taken`, {
      subject: { instance: order.instanceId },
      nextStep: 'try again in a moment',
    });
  }
  const driver = driverOf(shop, spec.runtime);
  await shop.act(`guest.${kind}`, () => driver[kind](order.instanceId, signal));
  const answer = await keeper.show();
  const asked = { requestId: order.requestId, bodyDigest: body, answer };
  await keeper.update((record) =>
    record === undefined || decide(record).kind !== 'carry-out'
      ? undefined
      : { ...record, orders: remember(record.orders, asked) },
  );
  return answer;
}

/** For what may be done again without harm. not-found. */
async function admittedRecord(
  desk: OrderDesk,
  kind: 'snapshot' | 'remove-snapshot',
  order: Order,
  rest: object,
): Promise<InstanceRecord> {
  await admission(desk, kind, order, rest);
  const record = desk.find(order.instanceId)?.record;
  if (record === undefined) throw notFound(order.instanceId);
  return record;
}

/** Written down first: what came after the snapshot is lost once, however often the order comes. */
async function rollBack(
  desk: OrderDesk,
  order: Order,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<InstanceState> {
  const { body, decide, admitted } = await admission(desk, 'roll-back', order, { snapshot });
  if (admitted.kind === 'answered') return admitted.answer;
  const keeper = desk.find(order.instanceId);
  if (keeper?.record === undefined) throw notFound(order.instanceId);
  if (admitted.kind === 'carry-out') {
    const known = await desk.shop.snapshots.list(keeper.record, signal);
    if (!known.some(({ id }) => id === snapshot)) throw noSuchSnapshot(order.instanceId, snapshot);
    const asked = { requestId: order.requestId, bodyDigest: body, answer: undefined };
    const written = await keeper.update((record) => {
      if (record === undefined || decide(record).kind !== 'carry-out') return undefined;
      const stopping = record.stopping ?? stopFrom(record, desk.shop.clock.nowMs());
      const orders = remember(record.orders, asked);
      return { ...record, orders, stopping, rollback: snapshot, rolledBack: undefined };
    });
    if (written) keeper.interrupt();
  }
  await keeper.settled(() => keeper.gone || keeper.record?.rollback === undefined, signal);
  const { rolledBack } = keeper.record ?? {};
  if (rolledBack?.snapshotId === snapshot && rolledBack.error !== '')
    throw new DroverError('failed-precondition', rolledBack.error, {
      subject: { instance: order.instanceId },
    });
  return keeper.state();
}

const stopFrom = ({ spec }: InstanceRecord, atMs: number) => ({
  deadlineMs: atMs + spec.stopGraceMs,
  graceMs: spec.stopGraceMs,
});
