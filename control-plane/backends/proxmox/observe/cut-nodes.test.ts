/** Nodes that run on and that nobody reaches, and guests that others hold or broke. */
import { describe, expect, it } from 'vitest';
import {
  container,
  guestOf,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
} from '../../../../test/proxmox-world.ts';
import { createQuickClock } from '../../../../test/fakes/quick-clock.ts';
import { until } from '../../../../test/until.ts';

const { signal } = new AbortController();
const sent = ({ server }: ProxmoxWorld, what: RegExp): string[] =>
  server.requests.list().filter((each) => what.test(each));

describe('a node that is cut off', () => {
  it('is asked in vain for thirty seconds, which hold up no poll and no order of the others', async () => {
    // What a slow machine takes for the others is little of thirty seconds.
    const clock = createQuickClock(4);
    await using world = await openQuickWorld({ clock, pace: 1, nodes: ['pve1', 'pve2', 'pve3', 'pve4'] });
    const [here, there] = [await runGuest(world), await runGuest(world, container, 'pve2')];
    const { server, backend } = world;
    server.faults.cutNode('pve2');
    const startMs = server.world.clock.monotonicMs();
    // Not known to be away yet: what is asked of it waits for the cluster's own answer.
    const vain = backend.stopInstance({ ...there, generation: 2 }, 0, signal).then(
      () => undefined,
      (error: unknown) => ({ error, afterMs: server.world.clock.monotonicMs() - startMs }),
    );
    const polls = (): number => sent(world, /cluster\/resources/).length;
    const before = polls();
    await backend.stopInstance({ ...here, generation: 2 }, 0, signal);
    await runGuest(world, container, 'pve3');
    await until(() => polls() > before, { what: 'a poll' });
    const othersMs = server.world.clock.monotonicMs() - startMs;
    const end = await vain;
    expect(othersMs).toBeLessThan(end?.afterMs ?? 0);
    expect(end?.error).toMatchObject({ name: 'DroverError' });
    expect(end?.afterMs).toBeGreaterThan(20_000);
    expect(backend.status('lab')).toMatchObject({ connected: true, quorate: true });
    const usable = backend.status('lab')?.endpoints.filter(({ problem }) => problem === '') ?? [];
    expect(usable.length).toBeGreaterThanOrEqual(3);
    expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
    server.faults.joinNode('pve2');
    await until(() => phaseOf(world, there.instanceId) === 'stopped 2', {
      what: 'stopped when it is back',
      deadlineMs: 30_000,
    });
    expect(guestOf(world, there.instanceId).status).toBe('stopped');
  });

  it('is asked through the others, and its 595 after thirty seconds stops none of them', async () => {
    await using world = await openQuickWorld({ pace: 1, nodes: ['pve1', 'pve2', 'pve3', 'pve4'] });
    const { server, backend } = world;
    const order = await runGuest(world, container, 'pve2');
    // Its own API cannot be reached from here at all: others pass on what it is asked.
    await server.faults.killNode('pve2', { answers: 'silent' });
    const stop = backend.stopInstance({ ...order, generation: 2 }, 0, signal);
    await expect(stop).rejects.toMatchObject({ name: 'DroverError' });
    expect(backend.status('lab')).toMatchObject({ connected: true });
    const made = await runGuest(world, container, 'pve4');
    expect(phaseOf(world, made.instanceId)).toBe('running 1');
  });
});

describe.each([
  { kind: 'lxc', spec: container, unlock: 'pct unlock' },
  { kind: 'qemu', spec: machine, unlock: 'qm unlock' },
] as const)('a lock that nobody takes away, $kind', ({ spec, unlock }) => {
  it('keeps it from no sight, is told with the way out, and is never taken away by us', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    const guest = guestOf(world, order.instanceId);
    guest.config['lock'] = 'backup';
    world.server.requests.reset();
    await expect(world.backend.removeInstance({ ...order, generation: 2 }, 0, signal)).rejects.toMatchObject({
      message: expect.stringMatching(/is locked \(backup\)/) as string,
    });
    const last = world.seen.findLast((one) => one.kind === 'instance');
    expect(last).toMatchObject({
      state: { message: expect.stringContaining(unlock) as string },
    });
    const writes = sent(world, /^(PUT|POST|DELETE) /);
    expect(writes.filter((each) => /config/.test(each))).toEqual([]);
    expect(guest.config['lock']).toBe('backup');
    delete guest.config['lock'];
    await until(() => world.state(order.instanceId) === 'absent', { what: 'removed', deadlineMs: 30_000 });
  });
});

describe('a container whose disk somebody removed', () => {
  it('cannot be removed through the API: that is told, it stays in sight, and goes once it can', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, { ...container, rootPool: 'btr' });
    const guest = guestOf(world, order.instanceId);
    await world.backend.stopInstance({ ...order, generation: 2 }, 0, signal);
    const volumes = world.server.world.storages.volumes('btr', 'pve1');
    const [volid, volume] = [...volumes].find(([, { vmid }]) => vmid === guest.vmid) ?? ['', undefined];
    volumes.delete(volid);
    await expect(world.backend.removeInstance({ ...order, generation: 3 }, 0, signal)).rejects.toMatchObject({
      message: expect.stringMatching(/btrfs subvolume delete/) as string,
    });
    expect(world.state(order.instanceId)).toMatchObject({
      phase: 'stopping',
      message: expect.stringMatching(/vzdestroy of \d+ .*btrfs subvolume delete/) as string,
    });
    expect(world.server.world.guests.has(guest.vmid)).toBe(true);
    if (volume !== undefined) volumes.set(volid, volume);
    await until(() => world.state(order.instanceId) === 'absent', { what: 'removed', deadlineMs: 30_000 });
    expect(world.server.world.guests.has(guest.vmid)).toBe(false);
  });
});
