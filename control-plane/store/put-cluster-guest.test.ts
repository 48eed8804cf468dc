import { describe, expect, it } from 'vitest';
import type { InstanceId, NodeName } from '#shared/model.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { newSpec } from '../../test/conformance/backend.ts';
import { guestRecord, openFakeStore } from '../../test/fakes/cluster-records.ts';
import { guestWithVmid } from './cluster-guests.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import {
  claimGuest,
  claimOtherVmid,
  forgetGuest,
  type GuestClaim,
  patchGuest,
  putGuestIntent,
  putGuestRemoved,
  reserveGuest,
} from './put-cluster-guest.ts';
import { scratchTransaction } from './scratch.ts';

const id = (last: string) => `019ab3c0-1111-7abc-8def-${last.padStart(12, '0')}` as InstanceId;
const node = 'lab-pve1' as NodeName;
const claim = (instanceId: InstanceId, patch: Partial<GuestClaim> = {}): GuestClaim => ({
  instanceId,
  generation: 1,
  cluster: 'lab',
  kind: 'lxc',
  node,
  spec: newSpec(),
  chooseVmid: (claimed) => [100, 101, 102, 103].find((vmid) => !claimed.has(vmid)) ?? 0,
  ...patch,
});

async function world() {
  const store = await openStore({ journal: createMemoryJournal(), clock: createFakeClock() });
  return {
    store,
    run: async <T>(body: Parameters<typeof store.transact<T>>[0]) => (await store.transact(body)).result,
    [Symbol.asyncDispose]: () => store.close(),
  };
}

describe('a claim', () => {
  it('has a number that nothing of ours has, until its guest is gone', async () => {
    await using one = await world();
    const first = await one.run((tx) => claimGuest(tx, claim(id('a')), 1));
    const second = await one.run((tx) => claimGuest(tx, claim(id('b')), 1));
    const elsewhere = await one.run((tx) => claimGuest(tx, claim(id('c'), { cluster: 'other' }), 1));
    expect([first.vmid, second.vmid, elsewhere.vmid]).toEqual([100, 101, 100]);
    const gone = { instanceId: id('a'), cluster: 'lab', node, generation: 1 };
    await one.run((tx) => putGuestRemoved(tx, gone, 2));
    expect((await one.run((tx) => claimGuest(tx, claim(id('d')), 1))).vmid).toBe(100);
  });

  it('is repeated without a change, and refused where it is older, or another', async () => {
    await using one = await world();
    const claims = claim(id('a'), { generation: 2 });
    const first = await one.run((tx) => claimGuest(tx, claims, 1));
    expect(await one.run((tx) => claimGuest(tx, claims, 9))).toEqual(first);
    await expect(one.run((tx) => claimGuest(tx, { ...claims, generation: 1 }, 2))).rejects.toMatchObject({
      reason: 'stale-generation',
    });
    const spec = newSpec({ displayName: 'other' });
    await expect(one.run((tx) => claimGuest(tx, { ...claims, spec }, 2))).rejects.toMatchObject({
      kind: 'invalid-argument',
      reason: 'generation-reused',
    });
    const next = await one.run((tx) => claimGuest(tx, { ...claims, spec, generation: 3 }, 2));
    expect(next).toMatchObject({ generation: 3, vmid: first.vmid, spec: { displayName: 'other' } });
  });

  it('is refused once it is to go, and for good once it is gone', async () => {
    await using one = await world();
    const claims = claim(id('a'));
    await one.run((tx) => claimGuest(tx, claims, 1));
    const order = { instanceId: id('a'), generation: 1, intent: 'remove' } as const;
    await one.run((tx) => putGuestIntent(tx, order, 1));
    const again = { ...claims, generation: 5 };
    const removed = { kind: 'failed-precondition', reason: 'removed' };
    await expect(one.run((tx) => claimGuest(tx, again, 2))).rejects.toMatchObject(removed);
    const gone = { instanceId: id('a'), cluster: 'lab', node, generation: 1 };
    await one.run((tx) => putGuestRemoved(tx, gone, 2));
    await expect(one.run((tx) => claimGuest(tx, again, 2))).rejects.toMatchObject(removed);
    expect(one.store.snapshot().get('cluster-guest', id('a'))).not.toHaveProperty('spec');
    await expect(one.run((tx) => putGuestIntent(tx, order, 3))).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('leaves a mark where there was none, so that an order under way makes nothing', async () => {
    await using one = await world();
    const gone = { instanceId: id('a'), cluster: 'lab', node, generation: 4 };
    await one.run((tx) => putGuestRemoved(tx, gone, 2));
    await expect(one.run((tx) => claimGuest(tx, claim(id('a'), { generation: 4 }), 2))).rejects.toMatchObject(
      {
        reason: 'removed',
      },
    );
    // It stands for no guest: its number is nobody's.
    expect(one.store.snapshot().get('cluster-guest', id('a'))).toMatchObject({ vmid: 0, intent: 'removed' });
  });

  it('takes another number, and what was learned of its guest', async () => {
    await using one = await world();
    await one.run((tx) => claimGuest(tx, claim(id('a')), 1));
    expect(await one.run((tx) => claimOtherVmid(tx, id('a'), () => 777, 2))).toMatchObject({ vmid: 777 });
    const { revision } = one.store.snapshot();
    await one.run((tx) => patchGuest(tx, id('a'), { vmid: 777 }, 3));
    expect(one.store.snapshot().revision).toBe(revision);
    expect(await one.run((tx) => patchGuest(tx, id('a'), { made: true }, 3))).toMatchObject({ made: true });
    expect(await one.run((tx) => patchGuest(tx, id('nobody'), { made: true }, 3))).toBeUndefined();
  });
});

const otherId = id('2');

describe('a reservation', () => {
  it('reserves a number for one instance alone, until nothing is left of its guest', async () => {
    await using world = await openFakeStore({ clusters: ['lab'] });
    const { store } = world;
    const first = guestRecord();
    const second = guestRecord({ instanceId: otherId });
    await store.transact((tx) => reserveGuest(tx, first, 5));
    await store.transact((tx) => reserveGuest(tx, { ...first, generation: 2 }, 6));
    await expect(store.transact((tx) => reserveGuest(tx, second, 7))).rejects.toMatchObject({
      kind: 'already-exists',
      reason: 'vmid-taken',
    });
    await expect(store.transact((tx) => reserveGuest(tx, { ...first, vmid: 101 }, 7))).rejects.toMatchObject({
      kind: 'already-exists',
      reason: 'guest-reserved',
    });
    await store.transact((tx) => reserveGuest(tx, { ...second, cluster: 'other' }, 7));
    await store.transact((tx) => putGuestRemoved(tx, first, 8));
    expect(guestWithVmid(store.snapshot(), 'lab', 100)).toBeUndefined();
    await store.transact((tx) => forgetGuest(tx, otherId));
    await store.transact((tx) => reserveGuest(tx, second, 9));
    expect(guestWithVmid(store.snapshot(), 'lab', 100)).toMatchObject({
      instanceId: otherId,
      changedAtMs: 9,
    });
  });

  it('is seen in a transaction that is never committed', async () => {
    await using world = await openFakeStore({ clusters: ['lab'] });
    const { store } = world;
    const guest = guestRecord();
    await store.transact((tx) => reserveGuest(tx, guest, 5));
    const scratch = scratchTransaction(store.snapshot());
    patchGuest(scratch, guest.instanceId, { vmid: 200 }, 6);
    expect(scratch.list('cluster-guest').map(({ vmid }) => vmid)).toEqual([200]);
    forgetGuest(scratch, guest.instanceId);
    expect(scratch.list('cluster-guest')).toEqual([]);
  });
});
