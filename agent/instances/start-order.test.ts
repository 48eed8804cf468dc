import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { createAgentWorld, phaseOf, reach, runInstance } from '../../test/fakes/agent-world.ts';
import { until } from '../../test/until.ts';

const { signal } = new AbortController();

describe('after a reboot', () => {
  it('lower numbers start first, and one that fails keeps nobody waiting', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const last = await runInstance(world, instances, { startOrder: 20 });
    const broken = await runInstance(world, instances, { startOrder: 10, rootPool: 'other' });
    const second = await runInstance(world, instances, { startOrder: 10 });
    const first = await runInstance(world, instances);
    await instances.close();
    world.reboot();
    world.otherVolumes.failWith('prepare', new DroverError('unavailable', 'its daemon is away'));
    const next = await world.open();
    await reach(next, last, 'running');
    expect([...world.host.guests.keys()]).toEqual([first, second, last]);
    expect(phaseOf(next, broken)).toBe('failed');
    world.otherVolumes.failWith('prepare', undefined);
    await reach(next, broken, 'running');
  });

  it('those who wait are stopped and removed at once', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const [first, second] = [
      await runInstance(world, instances),
      await runInstance(world, instances, { startOrder: 1 }),
    ];
    await instances.close();
    world.reboot();
    const held = Promise.withResolvers<void>();
    const next = await world.open((moment) => (moment === 'before guest.create' ? held.promise : undefined));
    await next.stop(world.order(second, 1), undefined, signal);
    expect(world.host.guests.size).toBe(0);
    await next.remove(world.order(second, 1), undefined, signal);
    held.resolve();
    await reach(next, first, 'running');
    expect([...world.host.guests.keys()]).toEqual([first]);
  });

  it('those whose policy is done with them are not waited for', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const restart = { policy: 'never', maxAttempts: 0 } as const;
    const once = await runInstance(world, instances, { restart });
    const always = await runInstance(world, instances, { startOrder: 5 });
    await instances.close();
    world.reboot();
    const next = await world.open();
    await reach(next, always, 'running');
    expect(phaseOf(next, once)).toBe('exited');
  });
});

describe('after a restart of the agent alone', () => {
  it('nobody waits for anybody', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const broken = await runInstance(world, instances, { rootPool: 'other' });
    const later = await runInstance(world, instances, { startOrder: 5 });
    await instances.close();
    world.host.end(broken, 1);
    world.host.end(later, 1);
    world.otherVolumes.failWith('prepare', new DroverError('unavailable', 'its daemon is away'));
    const next = await world.open();
    await until(() => world.host.calls.get('create') === 3, { what: 'a start of the later one' });
    await reach(next, later, 'running');
  });
});
