import { createHash } from 'node:crypto';
import { DroverError } from '#shared/errors.ts';
import type { InstanceSpec, InstanceState, Order } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { type InstanceRecord, type RememberedOrder, rememberedOrders } from './record.ts';

export type OrderKind =
  | 'ensure'
  | 'stop'
  | 'signal'
  | 'pause'
  | 'resume'
  | 'remove'
  | 'snapshot'
  | 'roll-back'
  | 'remove-snapshot';

/** What belongs to no generation. */
const momentary: ReadonlySet<OrderKind> = new Set([
  'signal',
  'pause',
  'resume',
  'snapshot',
  'roll-back',
  'remove-snapshot',
]);

/** What the agent knows when an order comes in. */
export interface OrderContext {
  readonly fleetId: string;
  /** The highest that was seen. */
  readonly fleetEpoch: number;
  readonly record: InstanceRecord | undefined;
  readonly removed: boolean;
}

/**
 * 'carry-out': new. 'repeat': this very order was admitted before; do not act again, wait for the same end.
 * 'answered': it was admitted and answered. 'nothing-left': a removal of what is gone.
 */
export type Admission =
  | { readonly kind: 'carry-out' }
  | { readonly kind: 'repeat' }
  | { readonly kind: 'answered'; readonly answer: InstanceState }
  | { readonly kind: 'nothing-left' };

/**
 * Decides whether an order counts. Refusals are failed-precondition with the reason unknown-fleet,
 * stale-epoch, stale-generation or removed; invalid-argument with request-id-reused or generation-reused;
 * not-found. Pure.
 */
export function admit(kind: OrderKind, order: Order, body: string, context: OrderContext): Admission {
  const { record, removed } = context;
  checkFleet(order, context);

  const known = record?.orders.find(({ requestId }) => requestId === order.requestId);
  if (known !== undefined) return admitAgain(known, order, body);
  if (removed && record === undefined) {
    if (kind === 'remove') return { kind: 'nothing-left' };
    throw refusal(order, 'removed', `instance ${order.instanceId} was removed from this node for good`);
  }
  if (record === undefined) return { kind: 'carry-out' };
  if (record.intent === 'remove' && (kind === 'ensure' || momentary.has(kind))) {
    throw refusal(order, 'removed', `instance ${order.instanceId} is being removed from this node`);
  }
  if (!momentary.has(kind) && order.generation < record.generation) {
    const message = `order for generation ${order.generation}, this node has seen ${record.generation}`;
    throw refusal(order, 'stale-generation', message);
  }
  return { kind: 'carry-out' };
}

/** Refuses another fleet's orders, and those of a fleet's past. */
export function checkFleet(
  order: { readonly fleetId: string; readonly fleetEpoch: number },
  context: { readonly fleetId: string; readonly fleetEpoch: number },
): void {
  if (order.fleetId !== context.fleetId) {
    const message = `order from fleet ${order.fleetId}, this node belongs to ${context.fleetId || 'none'}`;
    throw new DroverError('failed-precondition', message, { reason: 'unknown-fleet' });
  }
  if (order.fleetEpoch < context.fleetEpoch) {
    const message = `order of epoch ${order.fleetEpoch}, this node has seen ${context.fleetEpoch}`;
    throw new DroverError('failed-precondition', message, { reason: 'stale-epoch' });
  }
}

/** Whether the ensure changes nothing; refuses another spec for the same generation. */
export function isRepeatedSpec(
  record: InstanceRecord | undefined,
  order: Order,
  spec: InstanceSpec,
): boolean {
  if (record === undefined || record.generation !== order.generation) return false;
  if (canonical(record.spec) === canonical(spec)) return true;
  const message = `generation ${order.generation} of ${order.instanceId} was ordered with another spec`;
  throw new DroverError('invalid-argument', message, {
    subject: { instance: order.instanceId },
    reason: 'generation-reused',
  });
}

/** What can be set while a guest runs: its resources, and the sizes of its data volumes. */
const limitsOf = ({ resources, volumes }: InstanceSpec) => [resources, volumes.map(({ sizeMib }) => sizeMib)];
const withoutLimits = (spec: InstanceSpec) => ({
  ...spec,
  resources: {},
  volumes: spec.volumes.map((claim) => ({ ...claim, sizeMib: 0 })),
});

/** Whether nothing of the guest but its limits would be another: also where nothing would. */
export const differInLimitsAlone = (one: InstanceSpec, other: InstanceSpec): boolean =>
  canonical(withoutLimits(one)) === canonical(withoutLimits(other));

/** Whether a guest of the one becomes a guest of the other by its limits. */
export const changesLimitsAlone = (one: InstanceSpec, other: InstanceSpec): boolean =>
  differInLimitsAlone(one, other) && canonical(limitsOf(one)) !== canonical(limitsOf(other));

/**
 * Names the body of an order: everything but the request id. What a spec leaves as it is by itself is left
 * out, so that an order has the same name for agents that do not know of it yet.
 */
export function bodyDigest(kind: OrderKind, order: Order, rest: object): string {
  const plain: Readonly<Record<string, unknown>> = { ...plainGuestConfig, assigned: emptyAssignment };
  const said = Object.entries(rest).filter(
    ([key, value]) => !Object.hasOwn(plain, key) || canonical(value) !== canonical(plain[key]),
  );
  const told = Object.fromEntries(said);
  const body = { kind, instanceId: order.instanceId, generation: order.generation, rest: told };
  return createHash('sha256').update(canonical(body)).digest('hex');
}

export function remember(orders: readonly RememberedOrder[], order: RememberedOrder): RememberedOrder[] {
  return [...orders, order].slice(-rememberedOrders);
}

function admitAgain(known: RememberedOrder, order: Order, body: string): Admission {
  if (known.bodyDigest !== body) {
    const message = `request id ${order.requestId} was used for another order; a new order needs a new id`;
    throw new DroverError('invalid-argument', message, {
      subject: { instance: order.instanceId },
      reason: 'request-id-reused',
    });
  }
  return known.answer === undefined ? { kind: 'repeat' } : { kind: 'answered', answer: known.answer };
}

const refusal = (order: Order, reason: string, message: string): DroverError =>
  new DroverError('failed-precondition', message, { subject: { instance: order.instanceId }, reason });

/** JSON with the keys in order, so that equal values have equal text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
