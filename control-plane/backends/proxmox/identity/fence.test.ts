/** Two control planes of one fleet at one cluster: the one with the older epoch writes nothing any more. */
import { describe, expect, it } from 'vitest';
import { createLog } from '#shared/log.ts';
import type { InstanceId } from '#shared/model.ts';
import { createQuickClock } from '../../../../test/fakes/quick-clock.ts';
import { createSeededRandom } from '../../../../test/fakes/random.ts';
import {
  anyGuest,
  container,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import { createMemoryJournal } from '../../../store/memory.ts';
import { openStore } from '../../../store/open-store.ts';
import type { Store } from '../../../store/store.ts';
import type { ClusterBackend } from '../../cluster-backend.ts';
import { proxmoxBackend } from '../index.ts';
import { tagOf } from './marks.ts';
import { usualPace } from '../observe/poll.ts';

const { signal } = new AbortController();
const versions = ['8.4.21', '9.2.11'] as const;
const guestsOf = ({ server }: ProxmoxWorld) => [...server.world.guests.values()];
const writes = ({ server }: ProxmoxWorld): string[] =>
  server.requests.list().filter((each) => !each.startsWith('GET '));
const configReads = ({ server }: ProxmoxWorld): number =>
  server.requests.list().filter((each) => /^GET .*\/config$/.test(each)).length;
const polls = async ({ server }: ProxmoxWorld, count: number): Promise<void> => {
  const seen = (): number => server.requests.list().filter((each) => /cluster\/status/.test(each)).length;
  const before = seen();
  await until(() => seen() >= before + count, { what: 'some polls' });
};

interface Other extends AsyncDisposable {
  readonly backend: ClusterBackend;
  readonly store: Store;
}

/** Another control plane, on a copy of the store. */
async function besides(world: ProxmoxWorld, fleetEpoch: number, fleetId = 'fleet-1'): Promise<Other> {
  const clock = createQuickClock(20);
  const store = await openStore({ journal: createMemoryJournal(), clock });
  const before = world.store.snapshot();
  await store.transact((tx) => {
    for (const each of before.list('cluster')) tx.put('cluster', each.metadata.id, each);
    for (const each of before.list('node')) tx.put('node', each.metadata.id, each);
    for (const each of before.list('cluster-guest')) tx.put('cluster-guest', each.instanceId, each);
  });
  const backend = proxmoxBackend({
    store,
    fleet: { fleetId, fleetEpoch },
    clock,
    random: createSeededRandom(11),
    log: createLog({ level: 'silent' }),
    pace: usualPace,
  });
  await until(() => backend.status('lab')?.connected, { what: 'the other is connected' });
  return {
    backend,
    store,
    async [Symbol.asyncDispose]() {
      await backend.close();
      await store.close();
    },
  };
}

const tagsIn = (world: ProxmoxWorld, id: InstanceId): string[] =>
  guestsOf(world)
    .flatMap(({ config }) => (config['tags'] ?? '').split(';'))
    .filter((tag) => tag === tagOf(id) || tag.startsWith('drover-e'));

const isMarked = (world: ProxmoxWorld, epoch: number): boolean =>
  guestsOf(world).every(
    ({ config }) =>
      config['tags']?.includes(`drover-e${epoch}`) && config.description?.includes(` epoch=${epoch} `),
  );
const isHeld = ({ backend }: { readonly backend: ClusterBackend }): boolean =>
  backend.status('lab')?.message.includes('a newer control plane of this fleet has lab') === true;

describe.each(versions)('a control plane with an older epoch, on %s', (version) => {
  it.each([
    { kind: 'lxc', spec: container },
    { kind: 'qemu', spec: machine },
  ])('writes nothing once a newer one has the cluster: $kind', async ({ spec }) => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world, spec);
    await using newer = await besides(world, 2);
    await until(() => isMarked(world, 2), { what: 'the newer epoch on all guests' });
    await until(() => isHeld(world), { what: 'the older one sees it' });
    const before = writes(world).length;
    const stale = { kind: 'failed-precondition', reason: 'stale-epoch' };
    await expect(world.backend.stopInstance(order, 0, signal)).rejects.toMatchObject(stale);
    await expect(world.backend.removeInstance(order, 0, signal)).rejects.toMatchObject(stale);
    await world.backend.ensureInstance(world.order('pve2'), spec, signal);
    await polls(world, 3);
    expect(writes(world)).toHaveLength(before);
    expect(guestsOf(world)).toMatchObject([{ status: 'running' }]);
    const feeling = world.seen.findLast((each) => each.kind === 'feeling');
    expect(feeling?.conditions).toContainEqual(
      expect.objectContaining({ type: 'ClusterHeldByNewerFleet', holds: true }),
    );
    const events = world.store.snapshot().list('event');
    expect(events.filter(({ type }) => type === 'cluster.held')).toMatchObject([
      { message: expect.stringContaining('bears epoch 2, ours is 1') as string },
    ]);
    // The newer one goes on.
    expect(isHeld(newer)).toBe(false);
    await newer.backend.removeInstance({ ...order, generation: 2 }, 0, signal);
    expect(guestsOf(world)).toEqual([]);
  });

  it('is told by the mark alone, where it writes before it has seen the list', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world);
    const guest = anyGuest(world);
    guest.config.description = guest.config.description?.replace('epoch=1', 'epoch=4') ?? '';
    const before = writes(world).length;
    await expect(world.backend.stopInstance(order, 0, signal)).rejects.toMatchObject({
      reason: 'stale-epoch',
      nextStep: expect.stringContaining('--fleet-epoch 5') as string,
    });
    expect(writes(world)).toHaveLength(before);
    expect(guest.status).toBe('running');
  });

  it('makes nothing while all that bears the newer epoch is on a node that does not answer', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world);
    const guest = anyGuest(world);
    await world.server.faults.killNode('pve1');
    guest.config['tags'] = `${tagOf(order.instanceId)};drover-e2`;
    await until(() => isHeld(world), { what: 'it holds still' });
    // It was nothing: once the mark can be read, it goes on.
    await world.server.faults.reviveNode('pve1');
    await until(() => !isHeld(world), { what: 'it goes on' });
  });
});

describe('a newer epoch that could not be read at first', () => {
  it('is told as an event once it can be', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const guest = anyGuest(world);
    const held = () =>
      world.store
        .snapshot()
        .list('event')
        .filter(({ type }) => type === 'cluster.held');
    await world.server.faults.killNode('pve1');
    guest.config['tags'] = `${tagOf(order.instanceId)};drover-e2`;
    guest.config.description = guest.config.description?.replace('epoch=1', 'epoch=2') ?? '';
    await until(() => isHeld(world), { what: 'it holds still' });
    expect(held()).toEqual([]);
    await world.server.faults.reviveNode('pve1');
    await until(() => held().length > 0, { what: 'the event' });
    expect(isHeld(world)).toBe(true);
  });
});

describe('a control plane with a newer epoch', () => {
  it('marks guests once, some at a time, and then asks no more than before', async () => {
    await using world = await openQuickWorld();
    const orders = await Promise.all(
      ['pve1', 'pve1', 'pve1', 'pve2', 'pve2', 'pve3'].map((node) => runGuest(world, container, node)),
    );
    await world.backend.close();
    const before = writes(world).length;
    await using newer = await besides(world, 3);
    await until(() => isMarked(world, 3), { what: 'its epoch on all guests' });
    await polls(world, 3);
    expect(writes(world)).toHaveLength(before + orders.length);
    const reads = configReads(world);
    await polls(world, 8);
    expect(writes(world)).toHaveLength(before + orders.length);
    // Once each, for its addresses: it is new to this one.
    expect(configReads(world) - reads).toBeLessThanOrEqual(orders.length);
    expect(isHeld(newer)).toBe(false);
    for (const { instanceId } of orders) expect(tagsIn(world, instanceId)).toContain(tagOf(instanceId));
  });

  it.each([container, machine])('makes guests with not one request more', async (spec) => {
    const count = async (fleetEpoch: number): Promise<string[]> => {
      const fleet = { fleetId: 'fleet-1', fleetEpoch };
      await using world = await openQuickWorld({ backend: { pace: usualPace, fleet } });
      const order = await runGuest(world, spec);
      expect(tagsIn(world, order.instanceId)).toHaveLength(fleetEpoch === 1 ? 1 : 2);
      const about = /^(?!GET \/(cluster|nodes\/[^/]+\/tasks|access|version)).*\/(lxc|qemu)/;
      return world.server.requests.list().filter((each) => about.test(each));
    };
    expect(await count(2)).toEqual(await count(1));
  });

  it('finds a mark of before there were epochs, and takes it for the oldest', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const guest = anyGuest(world);
    guest.config.description = guest.config.description?.replace(' epoch=1', '') ?? '';
    await world.backend.stopInstance(order, 0, signal);
    expect(guest.status).toBe('stopped');
    await using _newer = await besides(world, 2);
    await until(() => isMarked(world, 2), { what: 'the newer epoch' });
  });
});

describe('a guest that bears', () => {
  it('the tag of a newer epoch and no such mark is looked at once, and holds up nothing', async () => {
    await using world = await openQuickWorld();
    const { newGuest } = world.server.world;
    const config = { hostname: 'theirs', tags: 'drover-0123456789ab;drover-e7' };
    world.server.world.guests.set(900, newGuest({ vmid: 900, kind: 'lxc', node: 'pve1', config }));
    await until(() => configReads(world) === 1, { what: 'a look at it' });
    const { instanceId } = await runGuest(world);
    expect(phaseOf(world, instanceId)).toBe('running 1');
    expect(isHeld(world)).toBe(false);
  });

  it('the mark of another fleet is not ours, whatever the record says', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const guest = anyGuest(world);
    guest.config.description = guest.config.description?.replace('fleet=fleet-1', 'fleet=theirs') ?? '';
    const before = writes(world).length;
    await world.backend.removeInstance(order, 0, signal);
    expect(writes(world)).toHaveLength(before);
    expect(guest.status).toBe('running');
  });
});
