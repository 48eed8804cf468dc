/** What was begun before a restart, or is not in a store that was restored: found again, and not made twice. */
import { describe, expect, it } from 'vitest';
import { createLog } from '#shared/log.ts';
import { createQuickClock } from '../../../test/fakes/quick-clock.ts';
import { createSeededRandom } from '../../../test/fakes/random.ts';
import { container, openQuickWorld, type ProxmoxWorld, runGuest } from '../../../test/proxmox-world.ts';
import { until } from '../../../test/until.ts';
import type { ClusterBackend } from '../cluster-backend.ts';
import { proxmoxBackend } from './index.ts';
import { tagOf } from './marks.ts';
import { usualPace } from './poll.ts';

const { signal } = new AbortController();
const guestsOf = ({ server }: ProxmoxWorld) => [...server.world.guests.values()];
const creates = ({ server }: ProxmoxWorld): string[] =>
  server.requests.list().filter((each) => /^POST \/nodes\/pve\d\/lxc$/.test(each));

async function startAnew(world: ProxmoxWorld): Promise<ClusterBackend> {
  await world.backend.close();
  const backend = proxmoxBackend({
    store: world.store,
    fleet: { fleetId: 'fleet-1', fleetEpoch: 1 },
    clock: createQuickClock(20),
    random: createSeededRandom(9),
    log: createLog({ level: 'silent' }),
    pace: usualPace,
  });
  await until(() => backend.status('lab')?.connected, { what: 'a connected cluster' });
  return backend;
}

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
