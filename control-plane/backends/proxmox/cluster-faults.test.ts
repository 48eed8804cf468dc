/** What goes wrong with nodes, clusters and the way to them. */
import { randomUUIDv7 } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { InstanceId } from '#shared/model.ts';
import { createLog } from '#shared/log.ts';
import { openStore } from '../../store/open-store.ts';
import { createMemoryJournal } from '../../store/memory.ts';
import { addCluster } from '../../store/put-cluster.ts';
import { createQuickClock } from '../../../test/fakes/quick-clock.ts';
import { createSeededRandom } from '../../../test/fakes/random.ts';
import { startProxmoxServer } from '../../../test/fakes/proxmox-server.ts';
import {
  container,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
  specOf,
} from '../../../test/proxmox-world.ts';
import { until } from '../../../test/until.ts';
import type { Observation } from '../backend.ts';
import { proxmoxBackend } from './index.ts';
import { usualPace } from './observe/poll.ts';

const { signal } = new AbortController();
const guestsOf = ({ server }: ProxmoxWorld) => [...server.world.guests.values()];
const sent = ({ server }: ProxmoxWorld, what: RegExp): string[] =>
  server.requests.list().filter((each) => what.test(each));
const told = ({ seen }: ProxmoxWorld, kind: Observation['kind'], node: string): boolean =>
  seen.some((one) => one.kind === kind && one.node === node);

describe('a node that dies', () => {
  it('takes its guests out of sight and makes none of them absent, and tells them when it is back', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, container, 'pve2');
    await world.server.faults.killNode('pve2');
    const node = world.node('pve2');
    await until(() => told(world, 'disconnected', node), { what: 'disconnected' });
    await expect(world.backend.stopInstance(order, 0, signal)).rejects.toMatchObject({ kind: 'unavailable' });
    expect(told(world, 'disconnected', world.node('pve1'))).toBe(false);
    world.seen.length = 0;
    await world.server.faults.reviveNode('pve2');
    await until(() => told(world, 'complete', node), { what: 'complete again' });
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
    const complete = world.seen.find((one) => one.kind === 'complete' && one.node === node);
    expect(complete).toMatchObject({ present: new Set([order.instanceId]) });
  });

  it.each([
    { kind: 'lxc', spec: container },
    { kind: 'qemu', spec: machine },
  ])(
    'in the midst of a create leaves nothing twice: it goes on when it is back, $kind',
    async ({ kind, spec }) => {
      await using world = await openQuickWorld({ pace: 4 });
      const order = world.order('pve2');
      await world.backend.ensureInstance(order, spec, signal);
      const create = new RegExp(`^POST /nodes/pve2/${kind}$`);
      await until(() => sent(world, create).length > 0, { what: 'the create' });
      await world.server.faults.killNode('pve2');
      await until(() => told(world, 'disconnected', world.node('pve2')), { what: 'disconnected' });
      await world.server.faults.reviveNode('pve2');
      await until(() => phaseOf(world, order.instanceId) === 'running 1', {
        what: 'running',
        deadlineMs: 30_000,
      });
      const tagged = guestsOf(world).filter(({ config }) => config['tags']?.includes('drover-'));
      expect(tagged).toHaveLength(1);
    },
  );

  it.each([
    { kind: 'lxc', spec: container },
    { kind: 'qemu', spec: machine },
  ])('in the midst of a move: the guest is looked for, and found where it is, $kind', async ({ spec }) => {
    await using world = await openQuickWorld({ pace: 4 });
    const order = await runGuest(world, { ...spec, rootPool: 'shared' });
    const moving = world.backend.migrate(order, world.node('pve2'), signal).catch((error: unknown) => error);
    await until(() => sent(world, /^POST .*\/migrate$/).length > 0, { what: 'the move' });
    await world.server.faults.killNode('pve2');
    expect(await moving).toMatchObject({ name: 'DroverError' });
    await world.server.faults.reviveNode('pve2');
    await until(() => phaseOf(world, order.instanceId) === 'running 1', {
      what: 'running',
      deadlineMs: 30_000,
    });
    expect(guestsOf(world)).toHaveLength(1);
  });
});

describe('a cluster without quorum', () => {
  it('is asked to change nothing, keeps what is known, and is worked on when it has its majority again', async () => {
    await using world = await openQuickWorld();
    const { backend, server } = world;
    const order = await runGuest(world);
    await server.faults.loseQuorum('pve1');
    await until(() => backend.status('lab')?.quorate === false, { what: 'no quorum' });
    const node = world.node('pve1');
    const condition = () => {
      const feeling = world.seen.findLast((one) => one.kind === 'feeling' && one.node === node);
      return feeling?.kind === 'feeling'
        ? feeling.conditions.find(({ type }) => type === 'ClusterNoQuorum')
        : undefined;
    };
    await until(() => condition()?.holds, { what: 'the condition' });
    server.requests.reset();
    const next = world.order('pve1');
    expect(await backend.ensureInstance(next, container, signal)).toMatchObject({ phase: 'preparing' });
    // The next free number is answered all the same: it reserves nothing.
    expect(sent(world, /cluster\/nextid/)).toHaveLength(1);
    const numbers = world.store
      .snapshot()
      .list('cluster-guest')
      .map(({ vmid }) => vmid);
    expect(new Set(numbers).size).toBe(2);
    await expect(backend.removeInstance(order, 0, signal)).rejects.toMatchObject({ kind: 'unavailable' });
    const polls = () => sent(world, /cluster\/status/).length;
    const before = polls();
    await until(() => polls() > before + 2, { what: 'some polls' });
    expect(sent(world, /^(POST|PUT|DELETE) /)).toEqual([]);
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
    await server.faults.regainQuorum();
    await until(() => phaseOf(world, next.instanceId) === 'running 1', {
      what: 'running',
      deadlineMs: 30_000,
    });
    await until(() => world.state(order.instanceId) === 'absent', { what: 'removed' });
  });
});

describe('the way to a cluster', () => {
  it('that is closed by a revoked token is told as what it is, and nobody is taken for gone', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const user = world.server.world.access.users.get('root@pam');
    const token = user?.tokens.get('rig');
    user?.tokens.delete('rig');
    await until(() => world.backend.status('lab')?.connected === false, { what: 'silence' });
    expect(world.backend.status('lab')?.message).toMatch(/credential|token|unauthenticated|authentication/i);
    await expect(world.backend.stopInstance(order, 0, signal)).rejects.toMatchObject({ kind: 'unavailable' });
    if (token !== undefined) user?.tokens.set('rig', token);
    await until(() => world.backend.status('lab')?.connected, { what: 'an answer', deadlineMs: 20_000 });
    await until(() => phaseOf(world, order.instanceId) === 'running 1', { what: 'running' });
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
  });

  it('with fewer rights shows fewer guests, and none of ours is absent for that', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const user = world.server.world.access.users.get('root@pam');
    const token = user?.tokens.get('rig');
    // A separated token has the rights of its own rules alone: lists are trimmed then, and not refused.
    if (token !== undefined) user?.tokens.set('rig', { ...token, privilegeSeparation: true });
    world.server.world.access.grant('root@pam!rig', '/', 'PVESysAdmin');
    world.server.requests.reset();
    await until(() => sent(world, /\/config$/).length > 3, { what: 'some looks at what is not listed' });
    expect(world.backend.status('lab')).toMatchObject({ connected: true });
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
    expect(world.state(order.instanceId)).toMatchObject({ phase: 'running' });
  });

  it('through a changed certificate is not taken, and what it was and is is told', async () => {
    await using world = await openQuickWorld({ nodes: ['pve1'] });
    await world.server.faults.rotateCertificate('pve1', 'new');
    await until(() => world.backend.status('lab')?.connected === false, { what: 'silence' });
    expect(world.backend.status('lab')?.message).toMatch(/certificate/);
    await world.server.faults.rotateCertificate('pve1', 'same');
    await until(() => world.backend.status('lab')?.connected, { what: 'an answer', deadlineMs: 20_000 });
  });

  it('whose certificate changes in the midst of a create makes one guest, once it is trusted again', async () => {
    await using world = await openQuickWorld({ nodes: ['pve1'], pace: 4 });
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, container, signal);
    await until(() => guestsOf(world).length > 0, { what: 'a create under way' });
    await world.server.faults.rotateCertificate('pve1', 'new');
    await until(() => world.backend.status('lab')?.connected === false, { what: 'silence' });
    world.server.requests.reset();
    await until(() => /certificate/.test(world.backend.status('lab')?.message ?? ''), { what: 'why' });
    // Nothing is sent to whom nobody trusts.
    expect(world.server.requests.list()).toEqual([]);
    await world.server.faults.rotateCertificate('pve1', 'same');
    await until(() => phaseOf(world, order.instanceId) === 'running 1', {
      what: 'running',
      deadlineMs: 30_000,
    });
    expect(guestsOf(world)).toHaveLength(1);
  });

  it('with pages of a proxy and halves of answers is as good as none, and harms nothing', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const { faults } = world.server;
    faults.html('GET /cluster/resources', 3);
    faults.truncate('GET /cluster/status', 3);
    faults.huge('GET /cluster/resources', 40_000_000, 1);
    world.server.requests.reset();
    await until(() => sent(world, /cluster\/resources/).length > 6, {
      what: 'some polls',
      deadlineMs: 30_000,
    });
    await until(() => world.backend.status('lab')?.connected, { what: 'an answer', deadlineMs: 30_000 });
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
    expect(phaseOf(world, order.instanceId)).toBe('running 1');
  });
});

describe('a cluster that is tried', () => {
  it('tells each address, its rights and its guests, and nothing is changed', async () => {
    await using world = await openQuickWorld();
    await runGuest(world);
    await world.server.faults.killNode('pve3');
    world.server.requests.reset();
    const status = await world.backend.test('new', specOf(world.server), signal);
    const [first, , third] = [...world.server.endpoints.values()];
    expect(status).toMatchObject({
      version: '8.4.21',
      clusterName: 'rig',
      connected: true,
      guests: 1,
      message: '',
    });
    expect(status.endpoints.find(({ address }) => address === first)).toEqual({
      address: first,
      problem: '',
    });
    expect(status.endpoints.find(({ address }) => address === third)?.problem).not.toBe('');
    expect(status.nodes).toEqual(expect.arrayContaining(['new-pve1', 'new-pve2', 'new-pve3']));
    expect(sent(world, /^(POST|PUT|DELETE) /)).toEqual([]);
    expect(world.backend.status('new')).toBeUndefined();
    const wrong = {
      ...specOf(world.server),
      credential: { kind: 'token', tokenId: 'root@pam!rig', secret: 'no' },
    } as const;
    await expect(world.backend.test('new', wrong, signal)).rejects.toMatchObject({ kind: 'unauthenticated' });
  });
});

describe('twenty clusters', () => {
  it('of which three hang hold up none of the others', async () => {
    const clock = createQuickClock(20);
    const store = await openStore({ journal: createMemoryJournal(), clock });
    const servers = await Promise.all(
      Array.from({ length: 20 }, () =>
        startProxmoxServer({ version: '9.2.11', clock, pace: 0.2, nodes: ['pve1'] }),
      ),
    );
    for (const server of servers.slice(0, 3)) server.faults.hang('pve1');
    const backend = proxmoxBackend({
      store,
      fleet: { fleetId: 'f', fleetEpoch: 1 },
      clock,
      random: createSeededRandom(3),
      log: createLog({ level: 'silent' }),
      pace: usualPace,
    });
    try {
      for (const [place, server] of servers.entries())
        await store.transact((tx) =>
          addCluster(
            tx,
            { name: `c${place}`, spec: specOf(server), id: randomUUIDv7(), caller: 't' },
            clock.nowMs(),
          ),
        );
      const connected = () =>
        servers.filter((_, place) => backend.status(`c${place}`)?.connected === true).length;
      await until(() => connected() === 17, { what: 'seventeen that answer', deadlineMs: 20_000 });
      const order = {
        node: 'c19-pve1' as never,
        instanceId: randomUUIDv7() as InstanceId,
        generation: 1,
        requestId: 'r',
      };
      expect(await backend.ensureInstance(order, container, signal)).toMatchObject({ phase: 'preparing' });
      await until(() => servers[19]?.world.guests.size === 1, { what: 'its guest' });
      expect(backend.status('c0')).toMatchObject({ connected: false });
      // As often as ever, though a poll of the others waits fifteen seconds for nothing.
      const last = servers.slice(3);
      for (const { requests } of last) requests.reset();
      const startMs = clock.monotonicMs();
      const pollsOf = ({ requests }: (typeof servers)[number]): number =>
        requests.list().filter((each) => each.endsWith('cluster/resources')).length;
      await until(() => last.every((server) => pollsOf(server) >= 4), {
        what: 'four polls of each',
        deadlineMs: 20_000,
      });
      expect(clock.monotonicMs() - startMs).toBeLessThan(5 * usualPace.idleMs + 10_000);
    } finally {
      await backend.close();
      await store.close();
      await Promise.all(servers.map((server) => server.close()));
    }
  });
});
