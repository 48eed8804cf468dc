import { describe, expect, it } from 'vitest';
import { createAgentWorld, forever, reach, runInstance } from '../../test/fakes/agent-world.ts';

const { signal } = new AbortController();

describe('a paused instance', () => {
  it('stands still until it is resumed', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const { pid } = (await instances.inspect(id)).state;
    expect(await instances.pause(world.order(id, 0), signal)).toMatchObject({ phase: 'paused', pid });
    expect(await instances.pause(world.order(id, 0), signal)).toMatchObject({ phase: 'paused' });
    expect(await instances.resume(world.order(id, 0), signal)).toMatchObject({ phase: 'running', pid });
    expect(world.host.calls.get('start')).toBe(1);
  });

  it('is paused once for each request id, whatever came after', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const order = world.order(id, 0);
    const first = await instances.pause(order, signal);
    await instances.resume(world.order(id, 0), signal);
    await instances.close();
    const next = await world.open();
    expect(await next.pause(order, signal)).toEqual(first);
    expect((await next.inspect(id)).state.phase).toBe('running');
  });

  it('stays paused over a restart of the agent', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await instances.pause(world.order(id, 0), signal);
    await instances.close();
    const next = await world.open();
    expect((await next.inspect(id)).state.phase).toBe('paused');
    expect(await next.resume(world.order(id, 0), signal)).toMatchObject({ phase: 'running' });
  });

  it('stays paused without its record', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await instances.pause(world.order(id, 0), signal);
    await instances.close();
    await world.loseRecord(id);
    const next = await world.open();
    expect((await next.inspect(id)).state.phase).toBe('paused');
    await next.ensure(world.order(id, 1), world.spec(forever));
    await reach(next, id, 'paused');
    expect(world.host.calls.get('start')).toBe(1);
  });

  it('is stopped with its own code, removed, and made anew', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await instances.pause(world.order(id, 0), signal);
    const stopped = await instances.stop(world.order(id, 1), undefined, signal);
    expect(stopped).toMatchObject({ phase: 'stopped', exit: { code: 0, unknown: false } });
    await instances.ensure(world.order(id, 2), world.spec(forever));
    await reach(instances, id, 'running');
    await instances.pause(world.order(id, 0), signal);
    await instances.ensure(world.order(id, 3), world.spec(forever, { env: { A: '1' } }));
    await reach(instances, id, 'running');
    await instances.pause(world.order(id, 0), signal);
    await instances.remove(world.order(id, 3), undefined, signal);
    expect(world.host.guests.size).toBe(0);
  });

  it('is refused where nothing runs or nothing is', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await instances.stop(world.order(id, 1), undefined, signal);
    for (const call of ['pause', 'resume'] as const) {
      const stopped = instances[call](world.order(id, 0), signal);
      await expect(stopped).rejects.toMatchObject({ kind: 'failed-precondition' });
      const missing = instances[call](world.order(world.newId(), 0), signal);
      await expect(missing).rejects.toMatchObject({ kind: 'not-found' });
    }
  });

  it('names what the driver cannot do', async () => {
    await using world = await createAgentWorld({ driver: { capabilities: ['network-none'] } });
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const paused = instances.pause(world.order(id, 0), signal);
    await expect(paused).rejects.toMatchObject({ kind: 'unimplemented', message: /pause/ });
  });
});
