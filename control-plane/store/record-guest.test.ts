import { describe, expect, it } from 'vitest';
import { guestRecord, openFakeStore } from '../../test/fakes/cluster-records.ts';
import type { InstanceId } from '#shared/model.ts';
import { patchGuest, putGuestRemoved } from './put-cluster-guest.ts';
import { forgetGuest, guestWithVmid, reserveGuest } from './record-guest.ts';
import { scratchTransaction } from './scratch.ts';

const other = '00000000-0000-7000-8000-000000000002' as InstanceId;

describe('guests of clusters that are ours', () => {
  it('reserves a number for one instance alone, until nothing is left of its guest', async () => {
    await using world = await openFakeStore({ clusters: ['lab'] });
    const { store } = world;
    const first = guestRecord();
    const second = guestRecord({ instanceId: other });
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
    await store.transact((tx) => forgetGuest(tx, other));
    await store.transact((tx) => reserveGuest(tx, second, 9));
    expect(guestWithVmid(store.snapshot(), 'lab', 100)).toMatchObject({ instanceId: other, changedAtMs: 9 });
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
