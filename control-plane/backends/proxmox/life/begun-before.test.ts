/** What was begun before a restart, or is not in a store that was restored: found again, and not made twice. */
import { describe, expect, it } from 'vitest';
import type { InstanceId } from '#shared/model.ts';
import {
  container,
  openQuickWorld,
  type ProxmoxWorld,
  runGuest,
  startAnew,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import { tagOf } from '../identity/marks.ts';

const { signal } = new AbortController();
const guestsOf = ({ server }: ProxmoxWorld) => [...server.world.guests.values()];
const creates = ({ server }: ProxmoxWorld): string[] =>
  server.requests.list().filter((each) => /^POST \/nodes\/pve\d\/lxc$/.test(each));

/** The store as it was before: what was made since is unknown to it. */
async function forgetMaking(world: ProxmoxWorld, id: InstanceId, vmid: number): Promise<void> {
  await world.store.transact((tx) => {
    const record = tx.get('cluster-guest', id);
    if (record === undefined) throw new Error('there is no record');
    const { made: _made, appliedGeneration: _applied, ...rest } = record;
    tx.put('cluster-guest', id, { ...rest, vmid });
  });
}

function renumber({ server }: ProxmoxWorld, to: number) {
  const [guest] = server.world.guests.values();
  if (guest === undefined) throw new Error('there is no guest');
  server.world.guests.delete(guest.vmid);
  const moved = { ...guest, vmid: to };
  server.world.guests.set(to, moved);
  return moved;
}

function stranger({ server }: ProxmoxWorld, vmid: number): void {
  const about = { vmid, kind: 'lxc', node: 'pve1', config: { hostname: 'theirs' } } as const;
  server.world.guests.set(vmid, server.world.newGuest(about));
}

describe.each(['8.4.21', '9.2.11'] as const)('a record with a number that is another’s, on %s', (version) => {
  it.each([
    { what: 'somebody else’s by now', isTaken: true },
    { what: 'free', isTaken: false },
  ])('of a store that was restored, which is $what, makes no second guest', async ({ isTaken }) => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world);
    await world.backend.close();
    const { vmid } = guestsOf(world)[0] ?? { vmid: 0 };
    // It gave up the number 777 after the backup was taken.
    await forgetMaking(world, order.instanceId, 777);
    if (isTaken) stranger(world, 777);
    const backend = await startAnew(world);
    try {
      await backend.ensureInstance(order, container, signal);
      const record = () => world.store.snapshot().get('cluster-guest', order.instanceId);
      await until(() => record()?.appliedGeneration === 1, { what: 'all is as its spec says' });
      expect(record()?.vmid).toBe(vmid);
      expect(creates(world)).toHaveLength(1);
      expect(guestsOf(world).map((each) => each.vmid)).toEqual(isTaken ? [vmid, 777] : [vmid]);
    } finally {
      await backend.close();
    }
  });

  it('leaves nothing behind where its instance is removed, and no copy goes with it', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world);
    await world.backend.close();
    const [guest] = guestsOf(world);
    if (guest === undefined) throw new Error('there is no guest');
    world.server.world.guests.set(99_000, { ...guest, vmid: 99_000 });
    await forgetMaking(world, order.instanceId, 777);
    stranger(world, 777);
    const backend = await startAnew(world);
    try {
      await backend.removeInstance(order, 0, signal);
      const left = guestsOf(world).map(({ vmid }) => vmid);
      expect(left.toSorted((a, b) => a - b)).toEqual([777, 99_000]);
    } finally {
      await backend.close();
    }
  });

  it('finds the first of several that bear its mark', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world);
    await world.backend.close();
    const [guest] = guestsOf(world);
    if (guest === undefined) throw new Error('there is no guest');
    // Copies bear the number of what they are copies of.
    for (const vmid of [99_000, 99_001]) world.server.world.guests.set(vmid, { ...guest, vmid });
    await forgetMaking(world, order.instanceId, 777);
    const backend = await startAnew(world);
    try {
      await backend.ensureInstance(order, container, signal);
      const record = () => world.store.snapshot().get('cluster-guest', order.instanceId);
      await until(() => record()?.appliedGeneration === 1, { what: 'all is as its spec says' });
      expect(record()?.vmid).toBe(guest.vmid);
      expect(creates(world)).toHaveLength(1);
    } finally {
      await backend.close();
    }
  });

  it('makes nothing where several copies bear its mark, and says what to do', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world);
    await world.backend.close();
    const guest = renumber(world, 99_000);
    world.server.world.guests.set(99_001, { ...guest, vmid: 99_001 });
    await forgetMaking(world, order.instanceId, 777);
    const backend = await startAnew(world);
    try {
      const seen: string[] = [];
      const ending = new AbortController();
      const reading = (async () => {
        for await (const each of backend.watch(ending.signal))
          if (each.kind === 'instance') seen.push(each.state.message);
      })();
      await backend.ensureInstance(order, container, signal);
      await until(() => seen.some((each) => each.includes('all bear its mark')), { what: 'what is wrong' });
      expect(creates(world)).toHaveLength(1);
      ending.abort();
      await reading;
    } finally {
      await backend.close();
    }
  });

  it('of a guest that was restored under a third one while we were away, is followed', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world);
    await world.backend.close();
    const { vmid } = guestsOf(world)[0] ?? { vmid: 0 };
    renumber(world, 4711);
    stranger(world, vmid);
    const backend = await startAnew(world);
    try {
      const record = () => world.store.snapshot().get('cluster-guest', order.instanceId);
      await until(() => record()?.vmid === 4711, { what: 'its new number' });
      expect(record()?.copies ?? []).toEqual([]);
      await backend.stopInstance(order, 0, signal);
      expect(guestsOf(world).find((each) => each.vmid === 4711)?.status).toBe('stopped');
      expect(creates(world)).toHaveLength(1);
    } finally {
      await backend.close();
    }
  });
});

describe('after a start of ours', () => {
  it('a guest that is still being made is waited for, however long that takes', async () => {
    // An archive that takes more than half a minute to unpack.
    await using world = await openQuickWorld({ pace: 100 });
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, container, signal);
    await until(() => guestsOf(world).length > 0, { what: 'the beginning of it' });
    const backend = await startAnew(world);
    try {
      const isUp = () => guestsOf(world).some(({ status }) => status === 'running');
      await until(isUp, { what: 'it runs', deadlineMs: 20_000 });
      expect(guestsOf(world)).toMatchObject([{ config: { tags: tagOf(order.instanceId) } }]);
      expect(creates(world)).toHaveLength(1);
    } finally {
      await backend.close();
    }
  }, 30_000);

  it('a guest whose record a restored store does not have is ours again, and no second is made', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    await world.store.transact((tx) => tx.delete('cluster-guest', order.instanceId));
    const backend = await startAnew(world);
    try {
      await backend.ensureInstance(order, container, signal);
      const record = () => world.store.snapshot().get('cluster-guest', order.instanceId);
      await until(() => record()?.appliedGeneration === 1, { what: 'all is as its spec says' });
      expect(guestsOf(world)).toMatchObject([{ vmid: record()?.vmid, status: 'running' }]);
      expect(creates(world)).toHaveLength(1);
    } finally {
      await backend.close();
    }
  });

  it('a copy by hand is a copy still, also where its original went meanwhile', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const [guest] = guestsOf(world);
    if (guest === undefined) throw new Error('there is no guest');
    world.server.world.guests.set(900, { ...guest, vmid: 900 });
    const copies = () => world.store.snapshot().get('cluster-guest', order.instanceId)?.copies;
    await until(() => copies()?.includes(900), { what: 'the copy is known' });
    await world.backend.close();
    world.server.world.guests.delete(guest.vmid);
    const backend = await startAnew(world);
    try {
      await backend.removeInstance(order, 0, signal);
      expect(guestsOf(world).map(({ vmid }) => vmid)).toEqual([900]);
    } finally {
      await backend.close();
    }
  });

  it('a guest that a person restored after its instance was removed is listed', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const [guest] = guestsOf(world);
    if (guest === undefined) throw new Error('there is no guest');
    await world.backend.removeInstance(order, 0, signal);
    world.server.world.guests.set(777, { ...guest, vmid: 777 });
    const listed = () => world.backend.guests('lab').map(({ vmid, instanceId }) => ({ vmid, instanceId }));
    await until(() => listed().length > 0, { what: 'the restored one' });
    expect(listed()).toEqual([{ vmid: 777, instanceId: undefined }]);
  });
});
