/** Whose a guest is: by its mark, wherever it is, whatever its number. What is not ours is left alone. */
import { randomUUIDv7 } from 'node:crypto';
import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { halt } from '../../../../test/fakes/proxmox/guest-life.ts';
import {
  container,
  guestOf,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import { tagOf } from './marks.ts';

const { signal } = new AbortController();
const guestsOf = ({ server }: ProxmoxWorld) => [...server.world.guests.values()];
const ours = (world: ProxmoxWorld, id: InstanceId) =>
  guestsOf(world).find(({ config }) => config['tags']?.includes(tagOf(id)));
const sent = ({ server }: ProxmoxWorld, what: RegExp): string[] =>
  server.requests.list().filter((each) => what.test(each));
const polls = async (world: ProxmoxWorld, count: number): Promise<void> => {
  const before = sent(world, /cluster\/status/).length;
  await until(() => sent(world, /cluster\/status/).length >= before + count, { what: 'some polls' });
};
const lastNode = ({ seen }: ProxmoxWorld, id: InstanceId) =>
  seen.findLast((one) => one.kind === 'instance' && one.state.instanceId === id)?.node;

function stranger({ server }: ProxmoxWorld, vmid: number, config: Record<string, string> = {}) {
  const about = { vmid, kind: 'lxc', node: 'pve1', config: { hostname: 'theirs', ...config } } as const;
  server.world.guests.set(vmid, server.world.newGuest(about));
}

describe('a guest of ours', () => {
  it('is followed when somebody moves it', async () => {
    await using world = await openQuickWorld();
    const { instanceId } = await runGuest(world);
    const guest = ours(world, instanceId);
    if (guest !== undefined) guest.node = 'pve3';
    await until(() => lastNode(world, instanceId) === world.node('pve3'), { what: 'told on its new node' });
    expect(world.store.snapshot().get('cluster-guest', instanceId)?.node).toBe(world.node('pve3'));
    await world.backend.removeInstance({ ...world.order('pve1'), instanceId, generation: 1 }, 0, signal);
    expect(guestsOf(world)).toEqual([]);
  });

  it('is followed when it is restored under another number', async () => {
    await using world = await openQuickWorld();
    const { instanceId } = await runGuest(world);
    const guest = guestOf(world, instanceId);
    world.server.world.guests.delete(guest.vmid);
    world.server.world.guests.set(4711, { ...guest, vmid: 4711 });
    const vmid = () => world.store.snapshot().get('cluster-guest', instanceId)?.vmid;
    await until(() => vmid() === 4711, { what: 'its new number' });
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
  });

  it('that somebody removed is absent, once its configuration is gone too', async () => {
    await using world = await openQuickWorld();
    const { instanceId } = await runGuest(world);
    const guest = ours(world, instanceId);
    world.server.world.guests.delete(guest?.vmid ?? 0);
    await until(() => world.state(instanceId) === 'absent', { what: 'absent' });
    await polls(world, 2);
    expect(sent(world, /^POST \/nodes\/pve1\/lxc$/)).toHaveLength(1);
  });

  it('whose tag somebody took away gets it back, and one that is called otherwise stays ours', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const guest = guestOf(world, order.instanceId);
    guest.config['tags'] = 'theirs';
    await until(() => guest.config['tags'] === `${tagOf(order.instanceId)};theirs`, {
      what: 'its tag again',
    });
    guest.config['description'] = 'a new text';
    await polls(world, 2);
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
    await world.backend.removeInstance(order, 0, signal);
    expect(guestsOf(world)).toEqual([]);
  });

  it('of many that are out of sight is asked for with a few others at a time', async () => {
    await using world = await openQuickWorld();
    const orders = Array.from({ length: 14 }, (_, place) => world.order(`pve${1 + (place % 3)}`));
    await Promise.all(orders.map((order) => world.backend.ensureInstance(order, container, signal)));
    await until(() => orders.every(({ instanceId }) => phaseOf(world, instanceId) === 'running 1'), {
      what: 'all running',
      deadlineMs: 30_000,
    });
    const user = world.server.world.access.users.get('root@pam');
    const token = user?.tokens.get('rig');
    if (token !== undefined) user?.tokens.set('rig', { ...token, privilegeSeparation: true });
    world.server.world.access.grant('root@pam!rig', '/', 'PVESysAdmin');
    world.server.requests.reset();
    await until(() => sent(world, /\/config$/).length > 0, { what: 'a look at one of them' });
    const between: number[] = [];
    for (let times = 0; times < 4; times += 1) {
      world.server.requests.reset();
      await polls(world, 1);
      between.push(sent(world, /\/config$/).length);
    }
    expect(Math.max(...between)).toBeGreaterThan(0);
    expect(Math.max(...between)).toBeLessThanOrEqual(20);
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
  });

  it('that lost its tag while it is busy holds up nobody else', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const guest = ours(world, order.instanceId);
    world.server.faults.delay('POST /nodes/{node}/lxc/{vmid}/status/stop', 2_000_000);
    let isOver = false;
    const stopping = world.backend
      .stopInstance(order, 0, signal)
      .catch(() => undefined)
      .finally(() => {
        isOver = true;
      });
    await until(() => sent(world, /status\/stop$/).length > 0, { what: 'the stop' });
    world.server.requests.reset();
    delete guest?.config['tags'];
    await until(() => sent(world, /lxc\/100\/config$/).length > 0, { what: 'a look at it' });
    await polls(world, 2);
    expect(isOver).toBe(false);
    await world.backend.close();
    await stopping;
  });

  it('whose number is somebody else’s by now is absent, and that guest is left alone', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const guest = ours(world, order.instanceId);
    const vmid = guest?.vmid ?? 0;
    world.server.world.guests.delete(vmid);
    stranger(world, vmid);
    await until(() => world.state(order.instanceId) === 'absent', { what: 'absent' });
    world.server.requests.reset();
    await world.backend.removeInstance(order, 0, signal);
    expect(sent(world, /^(POST|PUT|DELETE) /)).toEqual([]);
    expect(guestsOf(world)).toMatchObject([{ vmid, config: { hostname: 'theirs' } }]);
  });

  it.each(['stop', 'kill', 'reboot', 'pause'] as const)(
    'whose number is somebody else’s since a moment ago: %s does nothing to that one',
    async (what) => {
      await using world = await openQuickWorld();
      const order = await runGuest(world, what === 'pause' ? machine : container);
      const guest = guestOf(world, order.instanceId);
      const theirs = { ...guest, config: { hostname: 'theirs' } };
      world.server.world.guests.set(guest.vmid, theirs);
      world.server.requests.reset();
      const orders = {
        stop: () => world.backend.stopInstance(order, 0, signal),
        kill: () => world.backend.signalInstance(order, constants.signals.SIGKILL, signal),
        reboot: () => world.backend.signalInstance(order, constants.signals.SIGINT, signal),
        pause: () => world.backend.pauseInstance(order, signal),
      };
      await expect(orders[what]()).rejects.toThrow(/there is no guest of instance/);
      expect(sent(world, /^(POST|PUT|DELETE) /)).toEqual([]);
      expect(theirs.status).toBe('running');
    },
  );

  it('that is listed and not to be found where it is listed is not absent', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const message = "Configuration file 'nodes/pve1/lxc/100.conf' does not exist";
    world.server.faults.failNext('GET /nodes/{node}/lxc/{vmid}/config', { status: 500, message }, 8);
    await expect(world.backend.stopInstance(order, 0, signal)).rejects.toMatchObject({ kind: 'unavailable' });
    expect(world.state(order.instanceId)).not.toBe('absent');
    world.server.faults.reset();
    await until(() => phaseOf(world, order.instanceId) === 'stopped 1', { what: 'stopped' });
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
  });

  it('has copies that are not ours: they are told, and left alone', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const guest = ours(world, order.instanceId);
    stranger(world, 900, { ...guest?.config, hostname: 'copy' });
    const condition = () => {
      const feeling = world.seen.findLast((one) => one.kind === 'feeling' && one.node === world.node('pve1'));
      return feeling?.kind === 'feeling'
        ? feeling.conditions.find(({ type, holds }) => type === 'CopyFound' && holds)
        : undefined;
    };
    expect(await until(condition, { what: 'the condition' })).toMatchObject({ reason: '900' });
    await world.backend.removeInstance(order, 0, signal);
    await polls(world, 3);
    expect(guestsOf(world).map(({ vmid }) => vmid)).toEqual([900]);
    expect(await until(condition, { what: 'the condition still' })).toMatchObject({ reason: '900' });
  });

  it('is started again when it ends by itself, later and later, and tells so', async () => {
    await using world = await openQuickWorld();
    const { instanceId } = await runGuest(world);
    for (const restarts of [1, 2]) {
      const guest = ours(world, instanceId);
      if (guest !== undefined) halt(guest);
      await until(() => phaseOf(world, instanceId) === 'backing-off 1', { what: 'backing off' });
      expect(world.state(instanceId)).toMatchObject({ exit: { unknown: true }, restarts: restarts - 1 });
      await until(() => phaseOf(world, instanceId) === 'running 1', { what: 'running again' });
      expect(world.state(instanceId)).toMatchObject({ restarts });
    }
  });

  it('is left as it ended where it is never to be started again', async () => {
    await using world = await openQuickWorld();
    const restart = { policy: 'never', maxAttempts: 0 } as const;
    const { instanceId } = await runGuest(world, { ...container, restart });
    const guest = ours(world, instanceId);
    if (guest !== undefined) halt(guest);
    await until(() => phaseOf(world, instanceId) === 'exited 1', { what: 'exited' });
    await polls(world, 3);
    expect(guest?.status).toBe('stopped');
  });

  it('is left to whoever has it locked', async () => {
    await using world = await openQuickWorld();
    const { instanceId } = await runGuest(world);
    const guest = guestOf(world, instanceId);
    guest.config['lock'] = 'backup';
    halt(guest);
    await until(() => phaseOf(world, instanceId) === 'preparing 1', { what: 'told as stopped by a backup' });
    expect(world.state(instanceId)).toMatchObject({ message: 'locked: backup' });
    world.server.requests.reset();
    await polls(world, 3);
    expect(sent(world, /status\/start/)).toEqual([]);
  });
});

describe.each([
  { kind: 'lxc', spec: container, write: 'PUT' },
  { kind: 'qemu', spec: machine, write: 'POST' },
])('what its cluster writes in its own way, $kind', ({ spec }) => {
  it('is no change: tags in another order, and a line more in the description', async () => {
    await using world = await openQuickWorld();
    const tagged = { ...spec, cluster: { ...plainClusterOptions, tags: ['alpha', 'mail', 'zed'] } };
    const order = await runGuest(world, tagged);
    const config: Readonly<Record<string, string | undefined>> = ours(world, order.instanceId)?.config ?? {};
    const tags = config['tags']?.split(';') ?? [];
    expect(tags).toEqual(['alpha', tagOf(order.instanceId), 'mail', 'zed']);
    // It gives the description back with a newline that nobody wrote.
    expect(config['description']).toMatch(/generation=1\n?$/);
    world.server.requests.reset();
    await world.backend.ensureInstance({ ...order, generation: 2 }, tagged, signal);
    await until(() => phaseOf(world, order.instanceId) === 'running 2', { what: 'generation 2' });
    expect(sent(world, /^(PUT|POST) .*\/config$/)).toEqual([]);
  });
});

describe('a machine whose number became another’s', () => {
  it('runs no command of ours: not where the mark is gone, nor where it is of another instance', async () => {
    await using world = await openQuickWorld();
    const { instanceId, node } = await runGuest(world, machine);
    const guest = guestOf(world, instanceId);
    const { tags, description, ...theirs } = guest.config;
    const start = { instance: instanceId, command: ['id'], stdin: false, tty: false } as const;
    const run = () =>
      world.backend.exec(
        node,
        { ...start, env: {}, user: '', workingDir: '', project: 'default', size: { columns: 0, rows: 0 } },
        { name: 'p', role: 'admin' },
        signal,
      );
    world.server.requests.reset();
    for (const marks of [{}, { tags, description: description?.replaceAll(instanceId, randomUUIDv7()) }]) {
      guest.config = { ...theirs, ...marks } as typeof guest.config;
      await expect(run()).rejects.toMatchObject({ kind: 'not-found' });
    }
    expect(sent(world, /agent\/exec/)).toEqual([]);
  });
});

describe('what is not ours', () => {
  it('is never touched, whatever it is called', async () => {
    await using world = await openQuickWorld();
    stranger(world, 100, { tags: 'drover-0123456789ab', description: 'drover:instance=nobody' });
    stranger(world, 101, { tags: 'drover', description: 'x' });
    const order = await runGuest(world);
    await world.backend.removeInstance(order, 0, signal);
    const touched = sent(world, /^(POST|PUT|DELETE) \/nodes\/[^/]+\/lxc\/(100|101)(\/|$)/);
    expect(touched).toEqual([]);
    expect(guestsOf(world).map(({ vmid }) => vmid)).toEqual([100, 101]);
  });

  it('takes a number that we chose, and we take another', async () => {
    await using world = await openQuickWorld();
    world.server.faults.failNext('GET /cluster/nextid', { status: 500, message: 'no' });
    // Between the look at the list and the create.
    world.server.faults.delay('GET /nodes/{node}/storage/{storage}/content', 3000);
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, container, signal);
    const vmid = world.store.snapshot().get('cluster-guest', order.instanceId)?.vmid ?? 0;
    stranger(world, vmid);
    await until(() => phaseOf(world, order.instanceId) === 'running 1', { what: 'running' });
    expect(ours(world, order.instanceId)?.vmid).not.toBe(vmid);
    expect(world.server.world.guests.get(vmid)?.config).toMatchObject({ hostname: 'theirs' });
  });
});

describe('numbers', () => {
  it('that are used again bring no name along', async () => {
    await using world = await openQuickWorld();
    const nameOf = (vmid: number) => world.backend.guests('lab').find((each) => each.vmid === vmid)?.name;
    stranger(world, 900);
    await until(() => nameOf(900) === 'theirs', { what: 'its name' });
    world.server.world.guests.delete(900);
    await until(() => nameOf(900) === undefined, { what: 'gone' });
    await world.server.faults.killNode('pve2', { rows: 'forgotten' });
    stranger(world, 900, { hostname: 'another' });
    const guest = world.server.world.guests.get(900);
    // Listed without a name until its node is back.
    if (guest !== undefined) guest.node = 'pve2';
    expect(await until(() => nameOf(900) !== undefined && `name: ${nameOf(900)}`, { what: 'there' })).toBe(
      'name: ',
    );
    await world.server.faults.reviveNode('pve2');
    await until(() => nameOf(900) === 'another', { what: 'its own name' });
  });

  it('begin where the cluster says, which says it as a text, and says it without quorum too', async () => {
    await using world = await openQuickWorld();
    // Nobody has told us of these yet: the list is late.
    for (const vmid of [100, 101, 102]) stranger(world, vmid);
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, container, signal);
    expect(world.store.snapshot().get('cluster-guest', order.instanceId)?.vmid).toBe(103);
    await until(() => phaseOf(world, order.instanceId) === 'running 1', { what: 'running' });
  });

  it('are given out once, also to many at a time', async () => {
    await using world = await openQuickWorld();
    const orders = Array.from({ length: 12 }, (_, place) => world.order(`pve${1 + (place % 3)}`));
    await Promise.all(orders.map((order) => world.backend.ensureInstance(order, container, signal)));
    await until(() => orders.every(({ instanceId }) => phaseOf(world, instanceId) === 'running 1'), {
      what: 'all running',
      deadlineMs: 30_000,
    });
    expect(new Set(guestsOf(world).map(({ vmid }) => vmid)).size).toBe(12);
    expect(sent(world, /^POST \/nodes\/pve\d\/lxc$/)).toHaveLength(12);
  });
});

describe('hostile words', () => {
  const words = ['a,b=c', 'x;y', 'né\u202e', '"; rm -rf /', '%00', 'net0=name=eth1'];
  it.each(words)('%j in what a person writes becomes no other setting, or is refused', async (text) => {
    await using world = await openQuickWorld({ nodes: ['pve1'] });
    const patch: Partial<InstanceSpec>[] = [
      { dns: { servers: [], search: [text], options: [] } },
      { cluster: { ...plainClusterOptions, tags: [text] } },
      { workload: text },
    ];
    for (const part of patch) {
      const order = world.order('pve1');
      await world.backend.ensureInstance(order, { ...container, ...part }, signal).catch(() => undefined);
      await until(() => /^(running|failed|unseen)/.test(phaseOf(world, order.instanceId)), {
        what: 'an end',
      });
    }
    await until(() => guestsOf(world).every(({ config }) => config['lock'] === undefined), { what: 'made' });
    for (const { config } of guestsOf(world)) {
      expect(Object.keys(config).filter((key) => /^(net|mp|unused)\d/.test(key))).toEqual([]);
      expect(config['hostname']).toBe('web-x7k2p');
    }
  });
});
