/** Addresses that guests get from elsewhere, some time after they run. */
import { randomUUIDv7 } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { InstanceId } from '#shared/model.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { bridged } from '../../../../test/fakes/cluster-networks.ts';
import {
  container,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';

const { signal } = new AbortController();
const eth0 = bridged({ network: 'office' });
const assigned = { ...emptyAssignment, attachments: [eth0] };
const addressesOf = ({ state }: ProxmoxWorld, id: InstanceId): readonly string[] => {
  const now = state(id);
  return now === undefined || now === 'absent' ? [] : now.addresses;
};
const asked = ({ server }: ProxmoxWorld): number =>
  server.requests.list().filter((each) => /\/(interfaces|network-get-interfaces)$/.test(each)).length;

describe.each([
  { kind: 'lxc', spec: container },
  // Without cloud-init nothing sets the address of a machine.
  {
    kind: 'qemu',
    spec: { ...machine, vm: { ...plainVmOptions, cloudInit: { user: 'admin', sshKeys: [] } } },
  },
])('a guest that gets its address from elsewhere, $kind', ({ spec }) => {
  it('tells it once it has it, after each start, and is asked ever more seldom', async () => {
    await using world = await openQuickWorld({ pace: 4 });
    const order = await runGuest(world, { ...spec, assigned });
    const { instanceId } = order;
    await until(() => addressesOf(world, instanceId).length > 0, { what: 'its address' });
    world.server.requests.reset();
    const { clock } = world.server.world;
    const startMs = clock.monotonicMs();
    await until(() => clock.monotonicMs() - startMs > 100_000, { what: 'a while' });
    expect(asked(world)).toBe(0);
    await world.backend.stopInstance({ ...order, generation: 2 }, 0, signal);
    expect(addressesOf(world, instanceId)).toEqual([]);
    await world.backend.ensureInstance({ ...order, generation: 3 }, { ...spec, assigned }, signal);
    await until(() => phaseOf(world, instanceId) === 'running 3', { what: 'running', deadlineMs: 30_000 });
    await until(() => addressesOf(world, instanceId).length > 0, { what: 'its address again' });
  });

  it('is not asked where its address is set, nor where it has no interface', async () => {
    await using world = await openQuickWorld();
    const fixed = { ...assigned, attachments: [{ ...eth0, addresses: ['10.20.0.5/24'] }] };
    const [first, second] = [
      await runGuest(world, { ...spec, assigned: fixed }),
      await runGuest(world, spec),
    ];
    world.server.requests.reset();
    const polls = () => world.server.requests.list().filter((each) => each.endsWith('cluster/status')).length;
    await until(() => polls() > 3, { what: 'some polls' });
    expect(asked(world)).toBe(0);
    expect(addressesOf(world, first.instanceId)).toEqual(['10.20.0.5']);
    expect(addressesOf(world, second.instanceId)).toEqual([]);
  });
});

describe('a machine whose agent is silent', () => {
  it('holds up no poll, and is asked later and later', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, { ...machine, assigned });
    const method = 'GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces';
    world.server.faults.failNext(method, { status: 500, message: 'QEMU guest agent is not running' }, 1000);
    await world.backend.stopInstance({ ...order, generation: 2 }, 0, signal);
    await world.backend.ensureInstance({ ...order, generation: 3 }, { ...machine, assigned }, signal);
    await until(() => phaseOf(world, order.instanceId) === 'running 3', { what: 'running' });
    world.server.requests.reset();
    const { clock } = world.server.world;
    const startMs = clock.monotonicMs();
    await until(() => clock.monotonicMs() - startMs > 120_000, { what: 'two minutes', deadlineMs: 20_000 });
    expect(asked(world)).toBeGreaterThanOrEqual(2);
    expect(asked(world)).toBeLessThanOrEqual(6);
    expect(world.backend.status('lab')).toMatchObject({ connected: true });
    world.server.faults.reset();
    await until(() => addressesOf(world, order.instanceId).length > 0, {
      what: 'its address',
      deadlineMs: 30_000,
    });
  });
});

describe('guests that run already when they are first seen', () => {
  it('cost hardly more than the polls do, however many there are', async () => {
    await using world = await openQuickWorld({ unwatched: true });
    const { server, store } = world;
    const ids = Array.from({ length: 60 }, () => randomUUIDv7() as InstanceId);
    for (const [place, instanceId] of ids.entries()) {
      const vmid = 300 + place;
      const config = { hostname: `ct${vmid}`, memory: '512', net0: 'name=eth0,bridge=vmbr0,ip=dhcp' };
      const tags = `drover-${instanceId.slice(-12)}`;
      const guest = server.world.newGuest({ vmid, kind: 'lxc', node: 'pve1', config: { ...config, tags } });
      guest.status = 'running';
      guest.startedAtMs = server.world.clock.nowMs() - (place % 2) * 3_600_000;
      server.world.guests.set(vmid, guest);
    }
    server.world.broadcasts.tell();
    const record = {
      cluster: 'lab',
      kind: 'lxc',
      node: world.node('pve1'),
      generation: 1,
      intent: 'run',
      specDigest: 'as it was',
      adopted: false,
      changedAtMs: 0,
      made: true,
      appliedGeneration: 1,
    } as const;
    await store.transact((tx) => {
      for (const [place, instanceId] of ids.entries())
        tx.put('cluster-guest', instanceId, { ...record, instanceId, vmid: 300 + place });
    });
    const polls = () => server.requests.list().filter((each) => each.endsWith('cluster/status')).length;
    await until(() => polls() > 1, { what: 'a poll' });
    const before = polls();
    const beforeAll = server.requests.list().length;
    await until(() => polls() - before >= 10, { what: 'ten polls', deadlineMs: 30_000 });
    const perPoll = (server.requests.list().length - beforeAll) / (polls() - before);
    expect(perPoll).toBeGreaterThan(2);
    expect(perPoll).toBeLessThan(4);
  });
});
