import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId, WorkloadSpec } from '#shared/model.ts';
import { createFakeFleet } from '../../test/fakes/backend.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import type { FakeNode } from '../../test/fakes/node.ts';
import { createSeededRandom } from '../../test/fakes/random.ts';
import { startControlPlane } from '../../test/simulation/control-plane.ts';
import type { Backend } from '../backends/backend.ts';
import { createMemoryJournal } from '../store/memory.ts';

const secondMs = 1000;

async function createWorld(nodeNames: readonly string[] = ['a', 'b', 'c']) {
  const clock = createFakeClock();
  const fleet = createFakeFleet({ clock });
  const { backend, poison, calls } = poisonable(fleet.backend);
  const journal = createMemoryJournal();
  const random = createSeededRandom(7);
  const control = await startControlPlane({ clock, random, journal, backend });
  const nodes: FakeNode[] = [];
  for (const name of nodeNames) {
    await control.enroll(name);
    nodes.push(fleet.addNode(name));
  }
  await clock.advance(10);
  const [a, b, c] = nodes as [FakeNode, FakeNode, FakeNode];

  /** Guests of a workload by what is really on the nodes. */
  const guests = (workload: string) =>
    nodes.flatMap((node) =>
      [...node.instances.values()]
        .filter(({ spec }) => spec.workload === workload)
        .map(({ spec, state }) => ({ node: node.name, image: spec.image, phase: state.phase })),
    );
  const running = (workload: string) => guests(workload).filter(({ phase }) => phase === 'running').length;
  const starts = () => nodes.map((node) => [...node.starts.values()].reduce((sum, each) => sum + each, 0));
  return {
    ...control,
    clock,
    fleet,
    nodes,
    a,
    b,
    c,
    guests,
    running,
    starts,
    poison,
    calls,
    [Symbol.asyncDispose]: () => control.close(),
  };
}

/** A backend on which the copies of one workload are refused, or are never answered for. */
function poisonable(inner: Backend) {
  const poison = { refused: '', hung: '' };
  const calls = { ensure: 0, resolve: 0, refused: 0 };
  const backend: Backend = {
    ...inner,
    async ensureInstance(order, spec, signal) {
      calls.ensure += 1;
      if (spec.workload === poison.hung)
        await new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(new DroverError('deadline-exceeded', 'no answer'))),
        );
      if (spec.workload !== poison.refused) return inner.ensureInstance(order, spec, signal);
      calls.refused += 1;
      const nextStep = 'choose another runtime';
      throw new DroverError('invalid-argument', 'the runtime does not know this spec', { nextStep });
    },
    resolveImage(node, reference, credential, signal) {
      calls.resolve += 1;
      return inner.resolveImage(node, reference, credential, signal);
    },
  };
  return { backend, poison, calls };
}

const lost = () => new DroverError('unavailable', 'the answer was lost');
const big: Partial<WorkloadSpec> = {
  resources: { cpuMillicores: 100, memoryMib: 5000, diskMib: 100, pids: 64 },
};

describe('the life of a workload', () => {
  it('goes from applied to placed to running, and ends its operation', async () => {
    await using world = await createWorld();
    await world.apply('web', { replicas: 3 });
    await world.clock.advance(2 * secondMs);

    expect(world.running('web')).toBe(3);
    expect(world.nodes.map((node) => node.instances.size)).toEqual([1, 1, 1]);
    expect(world.workload('web')?.resolved?.image).toMatch(/^registry.example\/web@sha256:/);
    const [operation] = world.operations('web');
    expect(operation?.state).toBe('succeeded');
    expect(operation?.steps.map(({ message }) => message).join('\n')).toMatch(/goes to [abc](.|\n)*running/);
  });

  it('says once for each generation what should run', async () => {
    await using world = await createWorld(['a']);
    await world.apply('web', { replicas: 2 });
    await world.clock.advance(120 * secondMs);
    expect(world.starts()).toEqual([2]);
    expect(world.calls.ensure).toBe(2);
    const revision = world.store.snapshot().revision;
    await world.clock.advance(300 * secondMs);
    expect(world.store.snapshot().revision).toBe(revision);
  });

  it('scales up and down and keeps what runs', async () => {
    await using world = await createWorld();
    await world.apply('web', { replicas: 2 });
    await world.clock.advance(2 * secondMs);
    const before = world.instances('web').map(({ metadata }) => metadata.id);
    await world.scale('web', 5);
    await world.clock.advance(2 * secondMs);
    expect(world.running('web')).toBe(5);
    expect(world.instances('web').map(({ metadata }) => metadata.id)).toEqual(expect.arrayContaining(before));

    await world.scale('web', 1);
    await world.clock.advance(2 * secondMs);
    expect(world.guests('web')).toHaveLength(1);
    expect(world.operations('web').map(({ state }) => state)).toEqual([
      'succeeded',
      'succeeded',
      'succeeded',
    ]);
  });

  it('adds and retires more copies than one commit holds', async () => {
    await using world = await createWorld();
    const tiny = { resources: { cpuMillicores: 1, memoryMib: 1, diskMib: 1, pids: 8 } };
    await world.apply('web', { replicas: 70, ...tiny });
    await world.clock.advance(5 * secondMs);
    expect(world.running('web')).toBe(70);
    await world.scale('web', 0);
    await world.clock.advance(5 * secondMs);
    expect(world.guests('web')).toEqual([]);
  });

  it('updates one copy at a time and never has fewer running than wanted', async () => {
    await using world = await createWorld();
    await world.apply('web', { replicas: 3 });
    await world.clock.advance(2 * secondMs);
    await world.apply('web', { replicas: 3, image: 'registry.example/web:2' });
    const next = () =>
      world.guests('web').filter(({ image }) => image === world.workload('web')?.resolved?.image);
    for (let step = 0; step < 100; step += 1) {
      await world.clock.advance(100);
      expect(world.running('web')).toBeGreaterThanOrEqual(3);
      expect(world.guests('web').length).toBeLessThanOrEqual(4);
    }
    expect(next()).toHaveLength(3);
    expect(world.guests('web')).toHaveLength(3);
  });

  it('gives up an old copy first where no node has room for one more', async () => {
    await using world = await createWorld(['a', 'b']);
    await world.apply('web', { replicas: 2, ...big });
    await world.clock.advance(2 * secondMs);
    await world.apply('web', { replicas: 2, ...big, image: 'registry.example/web:2' });
    await world.clock.advance(30 * secondMs);
    const image = world.workload('web')?.resolved?.image;
    expect(world.guests('web')).toEqual([
      { node: 'a', image, phase: 'running' },
      { node: 'b', image, phase: 'running' },
    ]);
  });

  it('deletes all of it, and its record last', async () => {
    await using world = await createWorld();
    await world.apply('web', { replicas: 3 });
    await world.clock.advance(2 * secondMs);
    await world.remove('web');
    await world.clock.advance(2 * secondMs);
    expect(world.guests('web')).toEqual([]);
    expect(world.instances('web')).toEqual([]);
    expect(world.workload('web')).toBeUndefined();
    expect(world.operations('web').at(-1)).toMatchObject({ kind: 'delete', state: 'succeeded' });
  });
});

describe('placing', () => {
  it('never overcommits, and says why a copy has no node', async () => {
    await using world = await createWorld(['a', 'b']);
    await world.apply('web', { replicas: 3, ...big });
    await world.clock.advance(2 * secondMs);
    expect(world.running('web')).toBe(2);
    const waiting = world.instances('web').find(({ node }) => node === undefined);
    expect(waiting?.placedBecause).toMatch(/lack memory/);
  });

  it('places what waited as soon as a node comes', async () => {
    await using world = await createWorld(['a']);
    await world.apply('web', { replicas: 2, ...big });
    await world.clock.advance(60 * secondMs);
    expect(world.running('web')).toBe(1);
    await world.enroll('late');
    const late = world.fleet.addNode('late');
    await world.clock.advance(secondMs / 10);
    expect(late.instances.size).toBe(1);
  });
});

describe('a node that is away', () => {
  it('keeps its copies: nothing takes their place', async () => {
    await using world = await createWorld();
    await world.apply('web', { replicas: 3 });
    await world.clock.advance(2 * secondMs);
    world.a.disconnect();
    await world.clock.advance(3600 * secondMs);
    expect(world.guests('web')).toHaveLength(3);
    expect(world.instances('web')).toHaveLength(3);
    world.a.connect();
    await world.clock.advance(secondMs);
    expect(world.starts()).toEqual([1, 1, 1]);
  });

  it('is told to remove what was scaled away once it is back', async () => {
    await using world = await createWorld(['a']);
    await world.apply('web', { replicas: 2 });
    await world.clock.advance(2 * secondMs);
    world.a.disconnect();
    await world.scale('web', 0);
    await world.clock.advance(60 * secondMs);
    expect(world.instances('web').map(({ intent }) => intent)).toEqual(['remove', 'remove']);
    world.a.connect();
    await world.clock.advance(secondMs);
    expect(world.instances('web')).toEqual([]);
    expect(world.a.instances.size).toBe(0);
  });

  it('holds up no update of the others', async () => {
    await using world = await createWorld();
    await world.apply('web', { replicas: 3 });
    await world.clock.advance(2 * secondMs);
    world.a.disconnect();
    await world.apply('web', { replicas: 3, image: 'registry.example/web:2' });
    await world.clock.advance(60 * secondMs);
    const image = world.workload('web')?.resolved?.image;
    const updated = world.guests('web').filter((guest) => guest.image === image && guest.node !== 'a');
    expect(updated.length).toBeGreaterThanOrEqual(2);
  });

  it('is replaced once an operator says that it is lost', async () => {
    await using world = await createWorld();
    await world.apply('web', { replicas: 3 });
    await world.clock.advance(2 * secondMs);
    world.a.disconnect();
    await world.clock.advance(secondMs);
    await world.expel('a');
    await world.clock.advance(5 * secondMs);
    const nodes = world.instances('web').map(({ node }) => node);
    expect(nodes.filter((node) => node === 'a')).toEqual([]);
    expect(nodes).toHaveLength(3);
    expect(world.b.instances.size + world.c.instances.size).toBe(3);
    const ids = [world.a, world.b, world.c].flatMap(({ instances }) => [...instances.keys()]);
    expect(new Set(ids).size).toBe(4);
  });

  it('is rid of what it held when it joins again after that', async () => {
    await using world = await createWorld();
    await world.apply('web', { replicas: 6 });
    await world.clock.advance(2 * secondMs);
    world.a.disconnect();
    await world.expel('a');
    await world.clock.advance(5 * secondMs);
    expect(world.running('web')).toBe(8);
    await world.enroll('a');
    world.a.connect();
    for (let step = 0; step < 5; step += 1) await world.clock.advance(secondMs);
    expect(world.running('web')).toBe(6);
    expect(world.a.instances.size).toBe(0);
    expect(world.store.snapshot().list('released-instance')).toEqual([]);
    const types = new Set(
      world.store
        .snapshot()
        .list('event')
        .map(({ type }) => type),
    );
    expect(types).not.toContain('node.strangers-found');
  });

  it('runs again what it lost with its state directory', async () => {
    await using world = await createWorld(['a']);
    await world.apply('web');
    await world.clock.advance(2 * secondMs);
    world.a.disconnect();
    world.a.wipe();
    world.a.connect();
    await world.clock.advance(2 * secondMs);
    expect(world.running('web')).toBe(1);
    const types = world.store
      .snapshot()
      .list('event')
      .map(({ type }) => type);
    expect(types).toEqual(expect.arrayContaining(['node.replaced', 'instance.vanished']));
  });
});

describe('an instance that was removed on its host', () => {
  it('is replaced by another, which has another id', async () => {
    await using world = await createWorld(['a']);
    await world.apply('web');
    await world.clock.advance(2 * secondMs);
    const id = world.instances('web')[0]?.metadata.id as InstanceId;
    world.a.remove(id, 1);
    for (let step = 0; step < 5; step += 1) await world.clock.advance(secondMs);
    expect(world.running('web')).toBe(1);
    expect(world.instances('web').map(({ metadata }) => metadata.id)).not.toContain(id);
    expect(world.instances('web')).toHaveLength(1);
  });

  it('is replaced even when it was never reported', async () => {
    await using world = await createWorld(['a']);
    const removed = new DroverError('failed-precondition', 'it was removed', { reason: 'removed' });
    world.a.failNext('ensure', removed);
    await world.apply('web');
    await world.clock.advance(5 * secondMs);
    expect(world.running('web')).toBe(1);
    expect(world.instances('web')).toHaveLength(1);
    const events = world.store.snapshot().list('event');
    expect(events.filter(({ type }) => type === 'instance.retired')).toMatchObject([
      { message: 'its node holds it no more' },
    ]);
  });
});

describe('failures', () => {
  it('a lost answer runs nothing twice', async () => {
    await using world = await createWorld(['a']);
    world.a.failNext('ensure', lost(), { afterDoing: true });
    await world.apply('web');
    await world.clock.advance(5 * secondMs);
    expect([...world.a.starts.values()]).toEqual([1]);
    expect(world.instances('web')).toHaveLength(1);

    world.a.failNext('remove', lost(), { afterDoing: true });
    await world.remove('web');
    await world.clock.advance(5 * secondMs);
    expect(world.workload('web')).toBeUndefined();
  });

  it('an image that nobody finds is said, and asked for less and less', async () => {
    await using world = await createWorld(['a']);
    for (let count = 0; count < 1000; count += 1)
      world.a.failNext(
        'resolve',
        new DroverError('not-found', 'no such image', { nextStep: 'mend its name' }),
      );
    await world.apply('poison', { replicas: 50 });
    await world.clock.advance(600 * secondMs);
    expect(world.workload('poison')?.resolveMessage).toBe('no such image; mend its name');
    expect(world.instances('poison')).toEqual([]);
    expect(world.operations('poison')[0]?.steps.map(({ message }) => message)).toEqual([
      'image registry.example/web:1 is not resolved: no such image; mend its name',
    ]);
    expect(world.calls.resolve).toBeLessThan(50);
  });

  it('one poisoned workload slows no other', async () => {
    await using world = await createWorld(['a']);
    world.poison.refused = 'refused';
    world.poison.hung = 'hung';
    await world.apply('refused', { replicas: 10 });
    await world.apply('hung', { replicas: 10 });
    await world.clock.advance(300 * secondMs);
    expect(world.calls.refused).toBeLessThan(10 * 25);
    const told = world.store
      .snapshot()
      .list('event')
      .filter(({ type }) => type === 'order.failed');
    expect(told.map(({ message }) => message)).toEqual(
      Array(10).fill('ensure failed: the runtime does not know this spec; choose another runtime'),
    );
    await world.apply('web', { replicas: 3 });
    await world.clock.advance(secondMs);
    expect(world.running('web')).toBe(3);
  });

  it('a guest that ends is its agent’s to start again', async () => {
    await using world = await createWorld(['a']);
    await world.apply('web');
    await world.clock.advance(2 * secondMs);
    const id = world.instances('web')[0]?.metadata.id as InstanceId;
    world.a.endGuest(id, 1);
    await world.clock.advance(100);
    expect(world.instances('web')[0]?.observed).toMatchObject({ phase: 'backing-off', restarts: 1 });
    await world.clock.advance(2 * secondMs);
    expect(world.running('web')).toBe(1);
    expect(world.starts()).toEqual([2]);
  });
});
