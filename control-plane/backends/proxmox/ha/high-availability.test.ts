/** Guests that HA manages: it acts in its own time, and what it does is followed. */
import { describe, expect, it } from 'vitest';
import { addHaResource } from '../../../../test/fakes/proxmox/ha-resources.ts';
import type { ProxmoxVersion } from '../../../../test/fakes/proxmox/world.ts';
import {
  container,
  guestOf,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import type { OrderHead } from '../../backend.ts';

const { signal } = new AbortController();
const shared = { ...container, rootPool: 'shared' };
const slow = { timeout: 60_000 };

/** Runs on pve2 and is HA's. */
async function underHa(version: ProxmoxVersion = '8.4.21') {
  const world = await openQuickWorld({ version });
  const order = await runGuest(world, shared, 'pve2');
  const guest = guestOf(world, order.instanceId);
  addHaResource(world.server.world, guest, true);
  const { vmid } = guest;
  await until(() => viewOf(world, vmid)?.haState === 'started' && viewOf(world, vmid)?.name !== '', {
    what: 'it is HA’s',
    deadlineMs: 20_000,
  });
  world.server.requests.reset();
  return { world, order, guest, vmid };
}

const viewOf = ({ backend }: ProxmoxWorld, vmid: number) =>
  backend.guests('lab').find((each) => each.vmid === vmid);
const sent = ({ server }: ProxmoxWorld, what: RegExp): string[] =>
  server.requests.list().filter((each) => what.test(each));

describe('a guest that HA manages', slow, () => {
  it.each([
    { rows: 'forgotten', version: '8.4.21' },
    { rows: 'kept', version: '9.2.11' },
  ] as const)(
    'is found where HA brought it when its node died, its name and itself never lost: rows are $rows',
    async ({ rows, version }) => {
      const { world, order, guest, vmid } = await underHa(version);
      await using _ = world;
      const name = viewOf(world, vmid)?.name;
      expect(name).not.toBe('');
      await world.server.faults.killNode('pve2', { rows });
      const names = new Set<string | undefined>();
      const last = () =>
        world.seen.findLast((one) => one.kind === 'instance' && one.state.instanceId === order.instanceId);
      await until(
        () => {
          names.add(viewOf(world, vmid)?.name);
          return guest.node !== 'pve2' && last()?.node === world.node(guest.node);
        },
        { what: 'told on another node', deadlineMs: 40_000 },
      );
      await until(() => phaseOf(world, order.instanceId) === 'running 1', {
        what: 'running',
        deadlineMs: 20_000,
      });
      expect(names).toEqual(new Set([name]));
      expect(world.seen.filter(({ kind }) => kind === 'absent')).toEqual([]);
      // HA did it alone.
      expect(sent(world, /^(POST|PUT|DELETE) /)).toEqual([]);
      expect(world.store.snapshot().get('cluster-guest', order.instanceId)?.node).toBe(
        world.node(guest.node),
      );
    },
  );

  it('has stopped when a stop is done, and runs when it was started again', async () => {
    const { world, order, guest } = await underHa();
    await using _ = world;
    expect(await world.backend.stopInstance(order, 5000, signal)).toMatchObject({ phase: 'stopped' });
    expect(guest.status).toBe('stopped');
    await world.backend.ensureInstance({ ...order, generation: 2 }, shared, signal);
    await until(() => phaseOf(world, order.instanceId) === 'running 2', {
      what: 'running again',
      deadlineMs: 20_000,
    });
    expect(guest.status).toBe('running');
    expect(world.server.world.ha.resources.get(`ct:${guest.vmid}`)?.state).toBe('started');
  });

  it('is ended at once where no grace is given: HA takes no word about shutdowns', async () => {
    const { world, order, guest } = await underHa('9.2.11');
    await using _ = world;
    expect(await world.backend.stopInstance(order, 0, signal)).toMatchObject({ phase: 'stopped' });
    expect(guest.status).toBe('stopped');
    expect(sent(world, /status\/(?:stop|shutdown)$/)).toHaveLength(1);
  });

  it('is told to be given up where it does not heed HA’s shutdown, with what to do about it', async () => {
    const { world, order, guest, vmid } = await underHa('9.2.11');
    await using _ = world;
    guest.inside.shutdownMs = Number.POSITIVE_INFINITY;
    await expect(world.backend.stopInstance(order, 2000, signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'ha-error',
      message: expect.stringContaining(`service 'ct:${vmid}' in error state`) as string,
      nextStep: expect.stringContaining('--state disabled') as string,
    });
    expect(guest.status).toBe('running');
    const resource = world.server.world.ha.resources.get(`ct:${vmid}`);
    if (resource !== undefined) resource.state = 'disabled';
    guest.inside.shutdownMs = 0;
    const stop = () => world.backend.stopInstance(order, 0, signal).catch(() => ({ phase: 'running' }));
    await until(async () => (await stop()).phase === 'stopped', { what: 'stopped', deadlineMs: 20_000 });
  });

  it('is not told as stopped while HA cannot act, whatever its task says', async () => {
    const { world, order, guest } = await underHa();
    await using _ = world;
    for (const name of ['pve1', 'pve3']) await world.server.faults.killNode(name);
    const stop = world.backend.stopInstance(order, 0, signal);
    await expect(stop).rejects.toMatchObject({ kind: 'unavailable' });
    expect(guest.status).toBe('running');
    expect(phaseOf(world, order.instanceId)).not.toMatch(/^stopped/);
  });

  it('is on the other node when a move is done', async () => {
    const { world, order, guest } = await underHa();
    await using _ = world;
    await world.backend.migrate(order, world.node('pve3'), signal);
    expect(guest.node).toBe('pve3');
    expect(sent(world, /migrate$/)).toHaveLength(1);
    await until(() => phaseOf(world, order.instanceId) === 'running 1', { what: 'running' });
  });

  describe.each([
    { version: '8.4.21', what: 'group' },
    { version: '9.2.11', what: 'rule' },
    // Not all nodes have come to 9 yet.
    { version: '9.2.11', what: 'group' },
  ] as const)('of $version, kept to some nodes by a $what of HA', ({ version, what }) => {
    /** Strictly, unless it is said otherwise. */
    function keepTo({ server }: ProxmoxWorld, vmid: number, fields: Record<string, string> = {}): void {
      const { ha } = server.world;
      const nodes = 'pve1:2,pve2';
      const sid = `ct:${vmid}`;
      if (what === 'group') ha.groups.set('near', { nodes, restricted: '1', ...fields });
      const resource = ha.resources.get(sid);
      if (resource !== undefined && fields['failback'] !== undefined)
        resource.fields['failback'] = fields['failback'];
      if (what === 'group' && resource !== undefined) resource.fields['group'] = 'near';
      if (what === 'rule')
        ha.rules.set('near', { type: 'node-affinity', resources: sid, nodes, strict: '1', ...fields });
    }

    /** Where HA has it in the end is HA's affair. */
    async function asksToMove(world: ProxmoxWorld, order: OrderHead): Promise<void> {
      const calls = new AbortController();
      const move = world.backend.migrate(order, world.node('pve3'), calls.signal).catch(() => undefined);
      await until(() => sent(world, /^POST .*migrate$/).length > 0, { what: 'the move', deadlineMs: 20_000 });
      calls.abort();
      await move;
    }

    it('is moved to none of the others, and its cluster is not asked to', async () => {
      const { world, order, guest, vmid } = await underHa(version);
      await using _ = world;
      keepTo(world, vmid);
      await expect(world.backend.migrate(order, world.node('pve3'), signal)).rejects.toMatchObject({
        kind: 'failed-precondition',
        reason: 'stuck',
        message: `it stays where it is: HA keeps it to lab-pve1, lab-pve2 (${what} "near")`,
      });
      expect(sent(world, /^(POST|PUT|DELETE) /)).toEqual([]);
      await world.backend.migrate(order, world.node('pve1'), signal);
      expect(guest.node).toBe('pve1');
    });

    it('is moved to none where HA would not leave it', async () => {
      const { world, order, vmid } = await underHa(version);
      await using _ = world;
      keepTo(world, vmid, { restricted: '0', strict: '0' });
      await expect(world.backend.migrate(order, world.node('pve3'), signal)).rejects.toMatchObject({
        reason: 'stuck',
        message: `it stays where it is: HA would bring it back to lab-pve1 (${what} "near")`,
      });
      expect(sent(world, /^(POST|PUT|DELETE) /)).toEqual([]);
    });

    it('says so before anybody asks, and no more once the rule is gone', async () => {
      const { world, order, vmid } = await underHa(version);
      await using _ = world;
      const bonds = () => {
        const state = world.state(order.instanceId);
        return typeof state === 'object' ? state.bonds : undefined;
      };
      expect(bonds()).toBeUndefined();
      keepTo(world, vmid, { nofailback: '1', failback: '0' });
      await until(() => bonds() !== undefined, { what: 'the rule is told', deadlineMs: 20_000 });
      expect(bonds()).toEqual([
        {
          kind: 'only',
          nodes: ['lab-pve1', 'lab-pve2'],
          because: `HA keeps it to lab-pve1, lab-pve2 (${what} "near")`,
        },
      ]);
      world.server.world.ha.groups.clear();
      world.server.world.ha.rules.clear();
      await until(() => bonds() === undefined, { what: 'it is gone', deadlineMs: 20_000 });
      // A poll never waits for them, and asks for one of the two at a time.
      expect(sent(world, /ha\/(resources|groups|rules)/).length).toBeLessThan(
        sent(world, /cluster\/resources/).length,
      );
    });

    it.each([
      {
        why: 'where HA only prefers them and leaves it where it was brought',
        fields: { restricted: '0', strict: '0', nofailback: '1', failback: '0' },
      },
      ...(what === 'rule' ? [{ why: 'where the rule is off', fields: { disable: '1' } }] : []),
    ])('is moved elsewhere $why', async ({ fields }) => {
      const { world, order, vmid } = await underHa(version);
      await using _ = world;
      keepTo(world, vmid, fields);
      await asksToMove(world, order);
    });

    it.each([403, 500, 501])('is its cluster’s affair where that cannot be read: %i', async (status) => {
      const { world, order, vmid } = await underHa(version);
      await using _ = world;
      keepTo(world, vmid);
      const message = 'ha cannot be read';
      world.server.faults.failNext(`GET /cluster/ha/${what}s`, { status, message }, 8);
      await asksToMove(world, order);
    });
  });

  describe('of 9.2.11, with a rule about another guest', () => {
    /** Another one on pve1, and a rule about both. */
    async function withOther(affinity: 'positive' | 'negative', node = 'pve1') {
      const found = await underHa('9.2.11');
      const { world, vmid } = found;
      const order = await runGuest(world, shared, node);
      const { vmid: otherVmid = 0 } = world.store.snapshot().get('cluster-guest', order.instanceId) ?? {};
      const other = world.server.world.guests.get(otherVmid);
      if (other === undefined) throw new Error('there is no other guest');
      addHaResource(world.server.world, other, true);
      await until(() => viewOf(world, otherVmid)?.haState === 'started', {
        what: 'it is HA’s',
        deadlineMs: 20_000,
      });
      const resources = `ct:${vmid},ct:${otherVmid}`;
      world.server.world.ha.rules.set('duo', { type: 'resource-affinity', affinity, resources });
      world.server.requests.reset();
      return { ...found, other, name: viewOf(world, otherVmid)?.name };
    }

    it('is not moved to the one that it is kept apart from, and the rule is named', async () => {
      const { world, order, guest, name } = await withOther('negative');
      await using _ = world;
      await expect(world.backend.planMove(order, world.node('pve1'), signal)).rejects.toMatchObject({
        reason: 'stuck',
        message: `it stays where it is: HA keeps it apart from ${name} on lab-pve1 (rule "duo")`,
      });
      await expect(world.backend.migrate(order, world.node('pve1'), signal)).rejects.toMatchObject({
        reason: 'stuck',
      });
      expect(sent(world, /^(POST|PUT|DELETE) /)).toEqual([]);
      expect(await world.backend.planMove(order, world.node('pve3'), signal)).toBe('restarted');
      expect(guest.node).toBe('pve2');
      expect(sent(world, /^(POST|PUT|DELETE) /)).toEqual([]);
    });

    it('takes along what it is kept together with, which is followed', async () => {
      const { world, order, guest, other } = await withOther('positive', 'pve2');
      await using _ = world;
      await world.backend.migrate(order, world.node('pve3'), signal);
      expect(guest.node).toBe('pve3');
      await until(() => other.node === 'pve3', { what: 'the other is there', deadlineMs: 20_000 });
      expect(sent(world, /^POST .*migrate$/)).toHaveLength(1);
    });
  });

  it('is removed, and HA forgets it', async () => {
    const { world, order, vmid } = await underHa();
    await using _ = world;
    await world.backend.removeInstance(order, 0, signal);
    expect(world.server.world.guests.has(vmid)).toBe(false);
    expect([...world.server.world.ha.resources.keys()]).toEqual([]);
  });
});
