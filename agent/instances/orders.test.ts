import { describe, expect, it } from 'vitest';
import type { InstanceId, Order } from '#shared/model.ts';
import { admit, bodyDigest, isRepeatedSpec, type OrderContext, type OrderKind, remember } from './orders.ts';
import type { InstanceRecord } from './record.ts';
import { standIn } from './transitions.ts';

const id = '0198c1de-0000-7000-8000-000000000001' as InstanceId;
const order: Order = { fleetId: 'f', fleetEpoch: 3, instanceId: id, generation: 5, requestId: 'r-new' };
const known = { requestId: 'r-old', bodyDigest: bodyDigest('stop', order, {}), answer: undefined };
const record: InstanceRecord = { ...standIn(id, 'crun'), generation: 5, orders: [known] };
const context: OrderContext = { fleetId: 'f', fleetEpoch: 3, record, removed: false };

describe('admission', () => {
  it.each<[string, OrderKind, Partial<Order>, Partial<OrderContext>, string]>([
    ['a new order counts', 'stop', {}, {}, 'carry-out'],
    ['an order for what was never here counts', 'ensure', {}, { record: undefined }, 'carry-out'],
    ['another fleet is refused', 'stop', { fleetId: 'g' }, {}, 'unknown-fleet'],
    ['a fleet is refused where none was joined', 'stop', {}, { fleetId: '' }, 'unknown-fleet'],
    ['an older epoch is refused', 'stop', { fleetEpoch: 2 }, {}, 'stale-epoch'],
    ['a newer epoch counts', 'stop', { fleetEpoch: 4 }, {}, 'carry-out'],
    ['an older generation is refused', 'stop', { generation: 4 }, {}, 'stale-generation'],
    ['a signal belongs to no generation', 'signal', { generation: 0 }, {}, 'carry-out'],
    [
      'a tombstone refuses an ensure',
      'ensure',
      { generation: 9 },
      { record: undefined, removed: true },
      'removed',
    ],
    ['a tombstone satisfies a removal', 'remove', {}, { record: undefined, removed: true }, 'nothing-left'],
    ['a removal that was cut short goes on', 'remove', {}, { removed: true }, 'carry-out'],
    [
      'what is being removed is not ensured again',
      'ensure',
      { generation: 9 },
      { record: { ...record, intent: 'remove' } },
      'removed',
    ],
    ['the same order again is a repeat', 'stop', { requestId: 'r-old' }, {}, 'repeat'],
    ['a request id with another body is refused', 'remove', { requestId: 'r-old' }, {}, 'request-id-reused'],
  ])('%s', (_name, kind, orderPart, contextPart, wanted) => {
    const asked = { ...order, ...orderPart };
    const run = (): string => {
      try {
        return admit(kind, asked, bodyDigest(kind, asked, {}), { ...context, ...contextPart }).kind;
      } catch (error) {
        return (error as { reason: string }).reason;
      }
    };
    expect(run()).toBe(wanted);
  });

  it('takes a generation with the same spec as repeated, whatever the order of its keys', () => {
    const spec = { ...record.spec, env: { a: '1', b: '2' } };
    const seen = { ...record, spec: { ...record.spec, env: { b: '2', a: '1' } } };
    expect(isRepeatedSpec(seen, order, spec)).toBe(true);
    expect(() => isRepeatedSpec(seen, order, record.spec)).toThrow(
      expect.objectContaining({ kind: 'invalid-argument', reason: 'generation-reused' }),
    );
    expect(isRepeatedSpec(seen, { ...order, generation: 6 }, record.spec)).toBe(false);
  });

  it('remembers the last eight', () => {
    const orders = Array.from({ length: 12 }, (_, number) => ({ ...known, requestId: `r-${number}` }));
    const kept = orders.reduce<readonly (typeof known)[]>(
      (all, one) => remember(all, one) as typeof orders,
      [],
    );
    expect(kept.map(({ requestId }) => requestId)).toEqual(
      orders.slice(-8).map(({ requestId }) => requestId),
    );
  });
});
