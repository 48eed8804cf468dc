/** Others that are at the same guests, and clusters that change between a look and an order. */
import { describe, expect, it } from 'vitest';
import type { Digest, InstanceId } from '#shared/model.ts';
import {
  container,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
} from '../../../test/proxmox-world.ts';
import { until } from '../../../test/until.ts';
import { identityOf } from './images/image-references.ts';

const { signal } = new AbortController();
const guestOf = ({ server, store }: ProxmoxWorld, id: InstanceId) => {
  const vmid = store.snapshot().get('cluster-guest', id)?.vmid ?? 0;
  const guest = server.world.guests.get(vmid);
  if (guest === undefined) throw new Error('there is no guest');
  return guest;
};
const sent = ({ server }: ProxmoxWorld, what: RegExp): string[] =>
  server.requests.list().filter((each) => what.test(each));
const runsAs = (world: ProxmoxWorld, id: InstanceId, generation: number): Promise<unknown> =>
  until(() => phaseOf(world, id) === `running ${generation}`, { what: 'running', deadlineMs: 30_000 });
const hasFailed = ({ seen }: ProxmoxWorld): boolean =>
  seen.some((one) => one.kind === 'instance' && one.state.phase === 'failed');

const kinds = [
  { kind: 'lxc', spec: container, configure: 'PUT' },
  { kind: 'qemu', spec: machine, configure: 'POST' },
] as const;

describe.each(kinds)('somebody else at a guest, $kind', ({ kind, spec, configure }) => {
  const at = `/nodes/{node}/${kind}/{vmid}`;
  const more = (memoryMib: number) => ({ ...spec, resources: { ...spec.resources, memoryMib } });

  it.each([
    'CT is locked (backup)',
    'VM is locked (clone)',
    "can't lock file '/var/lock/qemu-server/lock-210.conf' - got timeout",
    "cfs-lock 'storage-shared' error: got lock request timeout",
  ])('who makes it say "%s" is waited for', async (message) => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    world.server.faults.failNext(`${configure} ${at}/config`, { status: 500, message }, 3);
    await world.backend.ensureInstance({ ...order, generation: 2 }, more(96), signal);
    await runsAs(world, order.instanceId, 2);
    expect(guestOf(world, order.instanceId).config['memory']).toBe('96');
    expect(hasFailed(world)).toBe(false);
  });

  it.each([
    { what: 'its removal', method: `DELETE ${at}`, isStopped: true, act: 'remove' },
    { what: 'its end', method: `POST ${at}/status/stop`, isStopped: false, act: 'stop' },
    { what: 'its move', method: `POST ${at}/migrate`, isStopped: false, act: 'migrate' },
  ] as const)(
    'who takes its number while $what waits for a lock is left alone',
    async ({ method, isStopped, act }) => {
      await using world = await openQuickWorld();
      const { server, backend } = world;
      const order = await runGuest(world, { ...spec, rootPool: 'shared' });
      if (isStopped) await backend.stopInstance(order, 0, signal);
      const { vmid } = guestOf(world, order.instanceId);
      server.requests.reset();
      server.faults.failNext(method, { status: 500, message: `CT ${vmid} is locked (destroyed)` }, 4);
      const acts = {
        remove: () => backend.removeInstance(order, 0, signal),
        stop: () => backend.stopInstance(order, 0, signal),
        migrate: () => backend.migrate(order, world.node('pve2'), signal),
      };
      const settled = Promise.allSettled([acts[act]()]);
      const verb = new RegExp(method.replace(/\{\w+\}/g, '[^/]+'));
      await until(() => sent(world, verb).length > 0, { what: 'it was asked for' });
      const theirs = server.world.newGuest({ vmid, kind, node: 'pve1', config: { name: 'theirs' } });
      theirs.status = 'running';
      server.world.guests.set(vmid, theirs);
      await settled;
      const before = sent(world, verb).length;
      await until(() => backend.status('lab')?.connected, { what: 'all goes on' });
      expect(server.world.guests.get(vmid)).toBe(theirs);
      expect(theirs).toMatchObject({ status: 'running', node: 'pve1' });
      expect(before).toBeLessThan(4);
    },
  );

  it('who has it locked when a task wants it is waited for, too', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    await world.backend.stopInstance({ ...order, generation: 2 }, 0, signal);
    const guest = guestOf(world, order.instanceId);
    guest.config['lock'] = 'backup';
    world.server.requests.reset();
    await world.backend.ensureInstance({ ...order, generation: 3 }, spec, signal);
    await until(() => sent(world, /status\/start$/).length > 1, { what: 'a second try' });
    expect(guest.status).toBe('stopped');
    delete guest.config['lock'];
    await runsAs(world, order.instanceId, 3);
  });

  it('who changes it between our look and our write keeps what he wrote', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    const guest = guestOf(world, order.instanceId);
    const writes = new RegExp(`^${configure} .*/config$`);
    world.server.requests.reset();
    world.server.faults.delay(`${configure} ${at}/config`, 20_000);
    await world.backend.ensureInstance({ ...order, generation: 2 }, more(96), signal);
    await until(() => sent(world, writes).length > 0, { what: 'our write' });
    guest.config = { ...guest.config, hookscript: 'local:snippets/theirs.sh' };
    await runsAs(world, order.instanceId, 2);
    expect(guest.config).toMatchObject({ memory: '96', hookscript: 'local:snippets/theirs.sh' });
    expect(sent(world, writes)).toHaveLength(2);
    expect(hasFailed(world)).toBe(false);
  });

  it('who moves it just before it is to stop does not keep it from stopping', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, { ...spec, rootPool: 'shared' });
    const guest = guestOf(world, order.instanceId);
    guest.node = 'pve3';
    expect(await world.backend.stopInstance(order, 0, signal)).toMatchObject({ phase: 'stopped' });
    expect(guest).toMatchObject({ node: 'pve3', status: 'stopped' });
  });

  it('whose shutdown it does not heed does not keep it from being ended at once', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    const guest = guestOf(world, order.instanceId);
    guest.inside.shutdownMs = Number.POSITIVE_INFINITY;
    await world.backend.signalInstance(order, 15, signal);
    await until(() => sent(world, /status\/shutdown$/).length > 0, { what: 'the shutdown' });
    world.server.requests.reset();
    await world.backend.stopInstance(order, 0, signal);
    expect(guest.status).toBe('stopped');
    expect(sent(world, /status\/stop$/)).toHaveLength(1);
  });
});

describe('a cluster that changes while it is asked', () => {
  it('without its majority by then takes half of a removal, which is ended when it has it again', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const { vmid } = guestOf(world, order.instanceId);
    await world.backend.stopInstance({ ...order, generation: 2 }, 0, signal);
    await world.server.faults.loseQuorum('pve1');
    // Nobody has told us yet.
    await expect(world.backend.removeInstance({ ...order, generation: 3 }, 0, signal)).rejects.toMatchObject({
      kind: 'unavailable',
    });
    expect(world.server.world.guests.has(vmid)).toBe(true);
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
    await world.server.faults.regainQuorum();
    await until(() => world.state(order.instanceId) === 'absent', { what: 'removed', deadlineMs: 30_000 });
    expect(world.server.world.guests.has(vmid)).toBe(false);
  });

  it('and takes our token away in the midst of a create makes one guest, once it has given it back', async () => {
    await using world = await openQuickWorld({ pace: 2 });
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, container, signal);
    await until(() => world.server.world.guests.size > 0, { what: 'a create under way' });
    const tokens = world.server.world.access.users.get('root@pam')?.tokens;
    const token = tokens?.get('rig');
    tokens?.delete('rig');
    await until(() => world.backend.status('lab')?.connected === false, {
      what: 'silence',
      deadlineMs: 20_000,
    });
    expect(phaseOf(world, order.instanceId)).not.toMatch(/^running/);
    if (token !== undefined) tokens?.set('rig', token);
    await runsAs(world, order.instanceId, 1);
    expect(world.server.world.guests.size).toBe(1);
  });

  it('says why a move was aborted, and the container runs on where it is', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const guest = guestOf(world, order.instanceId);
    const { config } = guest;
    const byHand = {
      name: 'byhand',
      config: { ...config },
      parent: undefined,
      description: 'x',
      snapTime: 1,
    };
    guest.snapshots.set('byhand', byHand);
    await expect(world.backend.migrate(order, world.node('pve2'), signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringMatching(/non-migratable snapshot/) as string,
    });
    await until(() => guest.status === 'running', { what: 'running still', deadlineMs: 30_000 });
    expect(guest.node).toBe('pve1');

    // Where it shows beforehand, nothing is stopped for it.
    config['parent'] = 'byhand';
    world.server.requests.reset();
    await expect(world.backend.migrate(order, world.node('pve2'), signal)).rejects.toMatchObject({
      reason: 'stuck',
      message: 'it stays where it is: it has snapshots, which cannot leave local of its node',
    });
    expect(world.server.requests.list().filter((each) => each.startsWith('POST'))).toEqual([]);
  });
});

describe('many at once', () => {
  it('are made in no greater number than the node and its storage bear', async () => {
    await using world = await openQuickWorld({ pace: 1 });
    const orders = Array.from({ length: 12 }, () => world.order('pve1'));
    let most = 0;
    const underWay = (): number =>
      [...world.server.world.guests.values()].filter(({ config }) => config['lock'] === 'create').length;
    await Promise.all(orders.map((order) => world.backend.ensureInstance(order, container, signal)));
    await until(
      () => {
        most = Math.max(most, underWay());
        return orders.every(({ instanceId }) => phaseOf(world, instanceId) === 'running 1');
      },
      { what: 'all running', deadlineMs: 40_000, everyMs: 5 },
    );
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(4);
  });
});

describe('the removal of an image', () => {
  it('is no way to the disks of guests', async () => {
    await using world = await openQuickWorld();
    await runGuest(world);
    const node = world.node('pve1');
    const disks = [...world.server.world.storages.volumes('local', 'pve1').values()].filter(
      ({ vmid }) => vmid !== undefined,
    );
    expect(disks.length).toBeGreaterThan(0);
    world.server.requests.reset();
    for (const { volid, sizeBytes } of disks) {
      const digest: Digest = identityOf(volid, sizeBytes);
      expect(await world.backend.removeImage(node, digest, signal)).toBe(0);
    }
    expect(sent(world, /^DELETE /)).toEqual([]);
  });
});
