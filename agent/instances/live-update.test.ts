import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId, Resources, VolumeId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createAgentWorld, forever, phaseOf, reach, runInstance } from '../../test/fakes/agent-world.ts';
import { until } from '../../test/until.ts';
import type { Instances } from '../instances.ts';
import type { InstanceRecord } from './record.ts';

const { signal } = new AbortController();
const larger: Resources = { cpuMillicores: 500, memoryMib: 64, diskMib: 100, pids: 128 };

const limitsOf = async (instances: Instances, id: InstanceId) => (await instances.inspect(id)).state.limits;
const limited = (instances: Instances, id: InstanceId): Promise<unknown> =>
  until(async () => (await limitsOf(instances, id))?.memoryMib === larger.memoryMib, { what: 'new limits' });

describe('a generation with other limits', () => {
  it('sets them while the guest goes on', async () => {
    await using world = await createAgentWorld({ pools: { local: ['idmap', 'quota'] } });
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const before = (await instances.inspect(id)).state;
    const answer = await instances.ensure(world.order(id, 2), world.spec(forever, { resources: larger }));
    expect(answer).toMatchObject({ generation: 2, phase: 'running', pid: before.pid });
    await limited(instances, id);
    const after = (await instances.inspect(id)).state;
    expect(after).toMatchObject({ generation: 2, phase: 'running', pid: before.pid, notEnforced: [] });
    expect(world.host.calls.get('create')).toBe(1);
    const [root] = await world.volumes.list(signal);
    expect(root?.diskMib).toBe(100);
  });

  it('says that the size of a root is not enforced where the pool has no quota', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await instances.ensure(world.order(id, 2), world.spec(forever, { resources: larger }));
    await until(async () => (await instances.inspect(id)).state.notEnforced.includes('disk'), {
      what: 'the disk named',
    });
  });

  it('sets the sizes of its data volumes, too', async () => {
    await using world = await createAgentWorld({ pools: { local: ['idmap', 'quota'] } });
    const instances = await world.open();
    const volumeId = systemRandom.uuidV7() as VolumeId;
    const withSize = (sizeMib: number) => ({
      volumes: [{ name: 'data', mountPath: '/data', sizeMib, pool: '', readOnly: false, keep: true }],
      assigned: { attachments: [], ports: [], volumes: [{ name: 'data', volumeId }] },
    });
    const id = await runInstance(world, instances, withSize(10));
    const { pid } = (await instances.inspect(id)).state;
    await instances.ensure(world.order(id, 2), world.spec(forever, withSize(20)));
    const sizeNow = async () =>
      (await world.volumes.list(signal)).find((each) => each.id === volumeId)?.diskMib;
    await until(async () => (await sizeNow()) === 20, { what: 'the new size' });
    expect((await instances.inspect(id)).state.pid).toBe(pid);
  });

  it('are set on a paused guest, which stays paused', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await instances.pause(world.order(id, 0), signal);
    await instances.ensure(world.order(id, 2), world.spec(forever, { resources: larger }));
    await limited(instances, id);
    expect((await instances.inspect(id)).state.phase).toBe('paused');
  });

  it('are tried again when they were refused, and an end is seen meanwhile', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const restart = { policy: 'never', maxAttempts: 0 } as const;
    const id = await runInstance(world, instances, { restart });
    world.host.failNext('update', new DroverError('failed-precondition', 'it uses more already'));
    await instances.ensure(world.order(id, 2), world.spec(forever, { restart, resources: larger }));
    await until(async () => (await instances.inspect(id)).state.message === 'it uses more already', {
      what: 'the refusal',
    });
    expect(phaseOf(instances, id)).toBe('running');
    await limited(instances, id);
    await until(async () => (await instances.inspect(id)).state.message === '', { what: 'no refusal' });
    world.host.failNext('update', new DroverError('failed-precondition', 'it uses more already'));
    await instances.ensure(world.order(id, 3), world.spec(forever, { restart }));
    await until(() => world.host.calls.get('update') === 3, { what: 'a third attempt' });
    world.host.end(id, 3);
    await reach(instances, id, 'exited');
  });

  it('of a driver that cannot set them make the guest anew', async () => {
    await using world = await createAgentWorld({ driver: { capabilities: ['network-none'] } });
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await instances.ensure(world.order(id, 2), world.spec(forever, { resources: larger }));
    await limited(instances, id);
    expect([world.host.calls.get('create'), world.host.calls.get('update') ?? 0]).toEqual([2, 0]);
  });

  it('come with the next start where nothing runs', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await instances.stop(world.order(id, 1), undefined, signal);
    await instances.ensure(world.order(id, 2), world.spec(forever, { resources: larger }));
    await limited(instances, id);
    expect(world.host.calls.get('update') ?? 0).toBe(0);
  });

  class Killed extends Error {}

  it.each(['before record.write', 'after record.write', 'before guest.update', 'after guest.update'])(
    'come also when the agent is killed %s, without a restart',
    async (moment) => {
      await using world = await createAgentWorld();
      const first = await world.open();
      const id = await runInstance(world, first);
      await first.close();
      const { pid } = world.host.guests.get(id)?.process ?? { pid: 0 };
      const second = await world.open((now) => {
        if (now === moment) throw new Killed(now);
      });
      const order = world.order(id, 2);
      const spec = world.spec(forever, { resources: larger });
      await Promise.race([
        second.ensure(order, spec).then(() => limited(second, id)),
        until(() => second.list().length === 0, { what: 'never', deadlineMs: 300 }),
      ]).catch(() => undefined);
      await second.close();

      const third = await world.open();
      await third.ensure(order, spec);
      await limited(third, id);
      expect((await third.inspect(id)).state).toMatchObject({ generation: 2, pid });
      expect(world.host.calls.get('create')).toBe(1);
    },
  );
});

describe('a generation with anything else', () => {
  it('waits for what must be kept of the guest of before', async () => {
    await using world = await createAgentWorld();
    const seen: { generation: number; env: unknown; lives: boolean }[] = [];
    let full = true;
    const keep = async (old: InstanceRecord): Promise<void> => {
      const lives = world.host.guests.get(old.id)?.process?.exit === undefined;
      seen.push({ generation: old.generation, env: old.spec.env, lives });
      if (full) throw new DroverError('resource-exhausted', 'the pool is full');
    };
    const instances = await world.open(undefined, keep);
    const id = await runInstance(world, instances, { env: { A: '1' } });
    await instances.ensure(world.order(id, 2), world.spec(forever, { env: { A: '2' } }));
    await reach(instances, id, 'failed');
    await instances.close();
    expect(world.host.calls.get('create')).toBe(1);
    full = false;
    const next = await world.open(undefined, keep);
    await reach(next, id, 'running');
    expect(seen.length).toBeGreaterThan(1);
    expect(new Set(seen.map((one) => JSON.stringify(one)))).toEqual(
      new Set([JSON.stringify({ generation: 1, env: { A: '1' }, lives: true })]),
    );
    expect(world.host.guests.get(id)?.guest.spec.env).toEqual({ A: '2' });
  });

  it('keeps nothing where limits alone change, and nothing at a restart', async () => {
    await using world = await createAgentWorld({ driver: { capabilities: ['network-none'] } });
    let calls = 0;
    const instances = await world.open(undefined, async () => void (calls += 1));
    const id = await runInstance(world, instances);
    await instances.ensure(world.order(id, 2), world.spec(forever, { resources: larger }));
    await until(() => world.host.calls.get('create') === 2, { what: 'a new guest' });
    await reach(instances, id, 'running');
    world.host.end(id, 1);
    await until(() => world.host.calls.get('create') === 3, { what: 'a restart' });
    expect(calls).toBe(0);
  });
});
