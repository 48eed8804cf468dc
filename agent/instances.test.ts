import { truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import {
  type AgentWorld,
  createAgentWorld,
  forever,
  phaseOf,
  reach,
  runInstance as running,
} from '../test/fakes/agent-world.ts';
import { until } from '../test/until.ts';
import type { InstanceEvent, Instances } from './instances.ts';

const { signal } = new AbortController();
describe('the life of an instance', () => {
  it('runs, is stopped, and is removed without a trace', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = world.newId();
    const first = await instances.ensure(world.order(id, 1), world.spec(forever));
    expect(first).toMatchObject({ generation: 1, phase: 'preparing' });
    await reach(instances, id, 'running');
    const stopped = await instances.stop(world.order(id, 1), undefined, signal);
    expect(stopped).toMatchObject({ phase: 'stopped' });
    expect(stopped.exit?.unknown).toBe(false);
    await instances.remove(world.order(id, 1), undefined, signal);
    expect(instances.list()).toEqual([]);
    expect(world.host.guests.size).toBe(0);
    expect(await world.volumes.list(signal)).toEqual([]);
    const late = instances.ensure(world.order(id, 2), world.spec(forever));
    await expect(late).rejects.toMatchObject({ kind: 'failed-precondition', reason: 'removed' });
    await instances.remove(world.order(id, 1), undefined, signal);
  });

  it('keeps a stopped instance stopped until a higher generation', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await running(world, instances);
    await instances.stop(world.order(id, 1), undefined, signal);
    await instances.ensure(world.order(id, 1), world.spec(forever));
    expect(phaseOf(instances, id)).toBe('stopped');
    await instances.ensure(world.order(id, 2), world.spec(forever));
    await reach(instances, id, 'running');
  });

  it('replaces the guest when the spec changes', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await running(world, instances);
    const { state } = await instances.inspect(id);
    await instances.ensure(world.order(id, 2), world.spec(forever, { env: { A: '1' } }));
    const next = await until(
      async () => {
        const seen = (await instances.inspect(id)).state;
        return seen.phase === 'running' && seen.pid !== state.pid ? seen : undefined;
      },
      { what: 'a new guest' },
    );
    expect(next).toMatchObject({ generation: 2, restarts: 0 });
  });

  it('starts again by the policy, and not when the policy says never', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const [again, never] = [world.newId(), world.newId()];
    await instances.ensure(world.order(again, 1), world.spec(['sh', '-c', 'exit 3']));
    const restart = { policy: 'never', maxAttempts: 0 } as const;
    await instances.ensure(world.order(never, 1), world.spec(['sh', '-c', 'exit 3'], { restart }));
    await reach(instances, never, 'exited');
    await until(async () => (await instances.inspect(again)).state.restarts > 0, { what: 'a restart' });
    expect((await instances.inspect(never)).state).toMatchObject({ restarts: 0, exit: { code: 3 } });
  });

  it('says why an image cannot be had, and tries again', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = world.newId();
    world.store.failWith('registry.test/app', new DroverError('unavailable', 'the registry is away'));
    const spec = world.spec(forever);
    world.store.failWith(spec.image, new DroverError('unavailable', 'the registry is away'));
    await instances.ensure(world.order(id, 1), spec);
    await reach(instances, id, 'failed');
    expect((await instances.inspect(id)).state.message).toContain('the registry is away');
    world.store.failWith('registry.test/app', undefined);
    world.store.failWith(spec.image, undefined);
    await reach(instances, id, 'running');
  });

  it('removes at once what is still being made', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = world.newId();
    await instances.ensure(world.order(id, 1), world.spec(forever));
    await instances.remove(world.order(id, 1), 0, signal);
    expect([instances.list().length, world.host.guests.size]).toEqual([0, 0]);
  });
});

describe('the list of instances', () => {
  it('asks nobody', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const ids = await Promise.all([running(world, instances), running(world, instances)]);
    const before = new Map(world.host.calls);
    const listed = instances.list();
    expect(new Set(listed.map(({ state }) => state.instanceId))).toEqual(new Set(ids));
    expect(world.host.calls).toEqual(before);
  });

  it('has those whose driver could not say what it has', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await running(world, instances);
    await instances.close();
    world.host.failNext('list', new DroverError('unavailable', 'the tool is missing'));
    const next = await world.open();
    await reach(next, id, 'running');
    expect(world.host.calls.get('start')).toBe(1);
  });
});

describe('orders', () => {
  it('answers a repeated request id as at first, also after a restart', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = world.newId();
    const order = world.order(id, 1);
    const first = await instances.ensure(order, world.spec(forever));
    await reach(instances, id, 'running');
    expect(await instances.ensure(order, world.spec(forever))).toEqual(first);
    await instances.close();
    const next = await world.open();
    expect(await next.ensure(order, world.spec(forever))).toEqual(first);
    const other = next.ensure(order, world.spec(['sh', '-c', 'exit 1']));
    await expect(other).rejects.toMatchObject({ kind: 'invalid-argument', reason: 'request-id-reused' });
    expect(world.host.calls.get('start')).toBe(1);
  });

  it('keeps the epoch across a restart', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = world.newId();
    await instances.ensure(world.order(id, 1, { fleetEpoch: 5 }), world.spec(forever));
    await instances.close();
    const next = await world.open();
    const old = next.stop(world.order(id, 1, { fleetEpoch: 4 }), undefined, signal);
    await expect(old).rejects.toMatchObject({ reason: 'stale-epoch' });
  });

  it('sends a signal once for each request id', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await running(world, instances);
    const order = world.order(id, 0);
    await instances.signal(order, 10, signal);
    await instances.signal(order, 10, signal);
    expect(world.host.calls.get('signal')).toBe(1);
  });
});

describe('what is found after a restart', () => {
  it.each(['', '{"format":1', 'not json\n{}', '{"format":1,"sha256":"00"}\n{"id":"x"}\n'])(
    'a record of %j hides no guest and destroys nothing',
    async (content) => {
      await using world = await createAgentWorld();
      const instances = await world.open();
      const id = await running(world, instances);
      await instances.close();
      const file = path.join(world.folder, 'state/instances', id, 'record.json');
      await truncate(file, 0);
      await writeFile(file, content);
      const next = await world.open();
      expect(next.list().map(({ state }) => state)).toMatchObject([
        { instanceId: id, phase: 'running', generation: 0 },
      ]);
      await next.ensure(world.order(id, 1), world.spec(forever));
      await reach(next, id, 'running');
      expect(world.host.calls.get('start')).toBe(1);
      await next.remove(world.order(id, 1), undefined, signal);
      expect(world.host.guests.size).toBe(0);
    },
  );

  it('guests run on while the agent is away, and their exits are counted', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = world.newId();
    const restart = { policy: 'never', maxAttempts: 0 } as const;
    await instances.ensure(world.order(id, 1), world.spec(forever, { restart }));
    await reach(instances, id, 'running');
    await instances.close();
    world.host.end(id, 42);
    const next = await world.open();
    await reach(next, id, 'exited');
    expect((await next.inspect(id)).state.exit).toMatchObject({ code: 42, unknown: false });
  });

  it('after a reboot the code is unknown, and the policy decides', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const [always, never] = [await running(world, instances), world.newId()];
    const restart = { policy: 'never', maxAttempts: 0 } as const;
    await instances.ensure(world.order(never, 1), world.spec(forever, { restart }));
    await reach(instances, never, 'running');
    await instances.close();
    world.reboot();
    const next = await world.open();
    await reach(next, always, 'running');
    await reach(next, never, 'exited');
    expect((await next.inspect(never)).state.exit?.unknown).toBe(true);
  });
});

class Killed extends Error {}

/** Moments at which the agent is killed, found by running the work once. */
async function momentsOf(
  work: (world: AgentWorld, instances: Instances) => Promise<void>,
): Promise<string[]> {
  await using world = await createAgentWorld();
  const moments: string[] = [];
  const instances = await world.open((moment) => void moments.push(moment));
  await work(world, instances);
  return moments;
}

describe('killed at every step', () => {
  const life = async (world: AgentWorld, instances: Instances, id: InstanceId): Promise<void> => {
    const restart = { policy: 'never', maxAttempts: 0 } as const;
    await instances.ensure(world.order(id, 1), world.spec(forever, { restart }));
    await reach(instances, id, 'running');
    await instances.stop(world.order(id, 1), 20, signal);
    await instances.remove(world.order(id, 1), 20, signal);
  };

  it('loses nothing, runs nothing twice and leaves nothing', { timeout: 60_000 }, async () => {
    const moments = await momentsOf(async (world, instances) => life(world, instances, world.newId()));
    expect(moments.length).toBeGreaterThan(20);
    for (const [index, moment] of moments.entries()) {
      await using world = await createAgentWorld();
      const id = world.newId();
      const death = Promise.withResolvers<void>();
      let passed = 0;
      let killed = false;
      const instances = await world.open((now) => {
        killed ||= now === moment && passed === index;
        passed += 1;
        if (!killed) return;
        death.resolve();
        throw new Killed(now);
      });
      await Promise.race([life(world, instances, id).catch(() => undefined), death.promise]);
      expect({ moment, killed }).toEqual({ moment, killed: true });
      await instances.close();

      const next = await world.open();
      await finish(world, next, id, moment);
      const startsTwice = (world.host.calls.get('start') ?? 0) > 1;
      const left = [world.host.guests.size, next.list().length, (await world.volumes.list(signal)).length];
      expect({ moment, startsTwice, left }).toEqual({ moment, startsTwice: false, left: [0, 0, 0] });
    }
  });

  /** What a control plane does: it asks again. */
  async function finish(world: AgentWorld, next: Instances, id: InstanceId, moment: string): Promise<void> {
    const before = phaseOf(next, id);
    if (before !== undefined && before !== 'stopping' && before !== 'stopped') {
      await until(() => ['running', 'exited', 'stopped'].includes(phaseOf(next, id) ?? ''), { what: moment });
    }
    await next.remove(world.order(id, 1), 20, signal);
  }
});

describe('watch', () => {
  async function read(events: AsyncIterable<InstanceEvent>, count: number): Promise<InstanceEvent[]> {
    const seen: InstanceEvent[] = [];
    for await (const event of events) {
      seen.push(event);
      if (seen.length === count) break;
    }
    return seen;
  }

  it('sends all that is, a bookmark, then changes; and resumes', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await running(world, instances);
    const [all, bookmark] = await read(instances.watch({ incarnation: '', sequence: 0 }, signal), 2);
    expect(all).toMatchObject({ kind: 'changed', state: { instanceId: id, phase: 'running' } });
    if (bookmark?.kind !== 'bookmark') throw new Error('no bookmark');
    await instances.remove(world.order(id, 1), 10, signal);
    const from = { incarnation: instances.incarnation, sequence: bookmark.sequence };
    const later = await read(instances.watch(from, signal), 2);
    expect(later[0]).toMatchObject({ kind: 'changed', state: { phase: 'stopping' } });
  });

  it('begins anew for another life or another state', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    await running(world, instances);
    const old = { incarnation: instances.incarnation, sequence: 7 };
    expect(await read(instances.watch(old, signal), 1)).toEqual([{ kind: 'resync', reason: 'compacted' }]);
    const other = { incarnation: 'another', sequence: 7 };
    expect(await read(instances.watch(other, signal), 1)).toEqual([
      { kind: 'resync', reason: 'other-incarnation' },
    ]);
  });
});
