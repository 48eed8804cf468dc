/** Nodes that answer, and do not know what their cluster knows: such as while they come up. */
import { describe, expect, it } from 'vitest';
import {
  container,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
  startAnew,
} from '../../../../test/proxmox-world.ts';
import { createQuickClock } from '../../../../test/fakes/quick-clock.ts';
import { until } from '../../../../test/until.ts';

const { signal } = new AbortController();
const versions = ['8.4.21', '9.2.11'] as const;
const polls = ({ server }: ProxmoxWorld): number =>
  server.requests.list().filter((each) => /cluster\/resources/.test(each)).length;
const morePolls = async (world: ProxmoxWorld, count: number): Promise<void> => {
  const before = polls(world);
  await until(() => polls(world) >= before + count, { what: `${count} polls`, deadlineMs: 60_000 });
};
const gone = ({ seen }: ProxmoxWorld) =>
  seen.filter(({ kind }) => kind === 'absent' || kind === 'disconnected');

describe.each(versions)('a node that reads its cluster’s files no more, on %s', (version) => {
  it('has others asked in its place, for reads and writes, and its cluster stays connected', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world, container, 'pve2');
    world.server.faults.loseFiles('pve1');
    const made = await runGuest(world, container, 'pve3');
    await world.backend.stopInstance({ ...order, generation: 2 }, 0, signal);
    await morePolls(world, 3);
    expect(phaseOf(world, made.instanceId)).toBe('running 1');
    expect(world.backend.status('lab')).toMatchObject({ connected: true, quorate: true });
    expect(gone(world)).toEqual([]);
  });

  it('does nothing for its own guests, which is told as that, and can be asked once more', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world, container, 'pve2');
    world.server.faults.loseFiles('pve2');
    const next = { ...order, generation: 2 };
    await expect(world.backend.stopInstance(next, 0, signal)).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('Unable to load access control list') as string,
    });
    expect(gone(world)).toEqual([]);
    world.server.faults.restoreFiles('pve2');
    await until(() => phaseOf(world, order.instanceId) === 'stopped 2', {
      what: 'stopped',
      deadlineMs: 30_000,
    });
  });

  it('and all others with it are a cluster that does not answer: nothing of it is gone', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world);
    for (const node of ['pve1', 'pve2', 'pve3']) world.server.faults.loseFiles(node);
    await until(() => world.backend.status('lab')?.connected === false, {
      what: 'silence',
      deadlineMs: 30_000,
    });
    expect(world.backend.status('lab')?.message).toContain('Unable to load access control list');
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
    for (const node of ['pve1', 'pve2', 'pve3']) world.server.faults.restoreFiles(node);
    await until(() => world.backend.status('lab')?.connected === true, {
      what: 'answers',
      deadlineMs: 60_000,
    });
    expect(phaseOf(world, order.instanceId)).toBe('running 1');
  });
});

describe.each(versions)('a node that answers as if it were in no cluster, on %s', (version) => {
  it('is believed in nothing that it says of the others, and of guests that it does not know', async () => {
    await using world = await openQuickWorld({ version });
    world.server.faults.setApart('pve1');
    const order = await runGuest(world, container, 'pve2');
    await morePolls(world, 5);
    expect(world.backend.status('lab')).toMatchObject({ connected: true, quorate: true });
    expect(world.backend.status('lab')?.nodes).toHaveLength(3);
    expect(gone(world)).toEqual([]);
    await world.backend.removeInstance({ ...order, generation: 2 }, 0, signal);
    expect(world.server.world.guests.size).toBe(0);
  });

  it('and is the only one that can be asked: nothing is known, and nothing is gone', async () => {
    await using world = await openQuickWorld({
      version,
      reachedBy: ({ endpoints }) => ({ endpoints: [endpoints.get('pve1') ?? ''] }),
    });
    world.server.faults.setApart('pve1');
    const order = await runGuest(world, container, 'pve2');
    for (const name of ['pve2', 'pve3']) await world.server.faults.killNode(name, { answers: 'refused' });
    await until(() => world.backend.status('lab')?.connected === false, {
      what: 'silence',
      deadlineMs: 30_000,
    });
    expect(world.backend.status('lab')?.message).toContain('pve1 says that it is in no cluster');
    const removed = world.backend.removeInstance({ ...order, generation: 2 }, 0, signal);
    await expect(removed).rejects.toMatchObject({ kind: 'unavailable' });
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
    expect(world.store.snapshot().get('cluster-guest', order.instanceId)?.intent).not.toBe('removed');
  });

  it('is not believed after a start of ours either', async () => {
    await using world = await openQuickWorld({ version });
    world.server.faults.setApart('pve1');
    const order = await runGuest(world, container, 'pve2');
    await world.backend.close();
    const backend = await startAnew(world);
    try {
      expect(backend.status('lab')).toMatchObject({ clusterName: 'rig', quorate: true });
      expect(backend.guests('lab').map(({ instanceId }) => instanceId)).toEqual([order.instanceId]);
    } finally {
      await backend.close();
    }
  });
});

describe('a guest whose node is not known to who is asked', () => {
  it.each(versions)('is not gone for that, on %s', async (version) => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world, container, 'pve2');
    const { vmid } = world.store.snapshot().get('cluster-guest', order.instanceId) ?? { vmid: 0 };
    const guest = world.server.world.guests.get(vmid);
    if (guest === undefined) throw new Error('there is no guest');
    // A list from before it was made, and a configuration that cannot be asked for: as of a node that comes up.
    world.server.faults.failNext(
      'GET /nodes/{node}/lxc/{vmid}/config',
      { status: 500, message: "hostname lookup 'pve2' failed - failed to get address info for: pve2" },
      100,
    );
    world.server.world.guests.delete(vmid);
    await morePolls(world, 5);
    expect(gone(world)).toEqual([]);
    world.server.faults.reset();
    world.server.world.guests.set(vmid, guest);
    await morePolls(world, 3);
    expect(phaseOf(world, order.instanceId)).toBe('running 1');
  });
});

describe.each(versions)('nodes that nobody has told of lately, on %s', (version) => {
  it('take part as before for a minute, with what was told last, and are away after that', async () => {
    const clock = createQuickClock(20);
    await using world = await openQuickWorld({ version, clock });
    const order = await runGuest(world);
    const { server, backend, seen } = world;
    const template = server.world.newGuest({
      vmid: 9000,
      kind: 'lxc',
      node: 'pve1',
      config: { hostname: 'golden', template: '1', rootfs: 'local:9000/base-9000-disk-0.raw,size=1G' },
    });
    server.world.guests.set(9000, template);
    const viewed = (vmid: number) => backend.guests('lab').find((each) => each.vmid === vmid);
    await until(() => viewed(9000)?.template, { what: 'the template is listed', deadlineMs: 30_000 });
    const sizes = () =>
      [...seen].findLast((one) => one.kind === 'facts')?.facts.pools?.map(({ sizeMib }) => sizeMib);
    const before = sizes();
    const count = seen.length;
    const sinceMs = clock.monotonicMs();
    server.world.broadcasts.pause(true);
    await until(() => gone(world).length > 0, { what: 'they are away', deadlineMs: 60_000 });
    expect(clock.monotonicMs() - sinceMs).toBeGreaterThan(60_000);
    const meanwhile = seen.slice(count);
    const first = meanwhile.findIndex(({ kind }) => kind === 'disconnected');
    expect(meanwhile.slice(0, first).filter(({ kind }) => kind === 'facts')).toEqual([]);
    expect(sizes()).toEqual(before);
    expect(viewed(9000)).toMatchObject({ name: 'golden', template: true });
    expect(phaseOf(world, order.instanceId)).toBe('running 1');
    const node = world.node('pve1');
    await until(() => seen.some((one) => one.kind === 'disconnected' && one.node === node), {
      what: 'it is away',
      deadlineMs: 30_000,
    });
    server.world.broadcasts.pause(false);
    const last = () => seen.findLast((one) => 'node' in one && one.node === node)?.kind;
    await until(() => last() !== 'disconnected', { what: 'it is back', deadlineMs: 30_000 });
    expect(seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
  });
});
