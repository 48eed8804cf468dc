import { describe, expect, it } from 'vitest';
import type { InstanceId, NodeName } from '#shared/model.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { fakeFacts } from '../../test/fakes/node.ts';
import { createFakeFleet } from '../../test/fakes/backend.ts';
import { createSeededRandom } from '../../test/fakes/random.ts';
import { startControlPlane } from '../../test/simulation/control-plane.ts';
import type { Observation } from '../backends/backend.ts';
import { createObservationQueue } from '../backends/observation-queue.ts';
import { createMemoryJournal } from '../store/memory.ts';

const a = 'a' as NodeName;
const connected: Observation = {
  kind: 'connected',
  node: a,
  facts: fakeFacts('a'),
  incarnation: 'state-1',
  bootId: 'boot-1',
  clockSkewMs: 0,
};
const complete = (ids: readonly string[] = []): Observation => ({
  kind: 'complete',
  node: a,
  present: new Set(ids as InstanceId[]),
});
const feeling = (clockSkewMs: number): Observation => ({
  kind: 'feeling',
  node: a,
  capacity: { memoryAvailableMib: 1, diskFreeMib: 1, cpuUsedMillicores: 0, instances: 0, pools: [] },
  conditions: [],
  clockSkewMs,
});

async function createWorld() {
  const clock = createFakeClock();
  const queue = createObservationQueue();
  const backend = { ...createFakeFleet({ clock }).backend, watch: queue.read };
  const journal = createMemoryJournal();
  const control = await startControlPlane({ clock, random: createSeededRandom(3), journal, backend });
  await control.enroll('a');
  const tell = async (...observations: Observation[]): Promise<void> => {
    for (const observation of observations) await queue.put(observation);
    await clock.advance(0);
  };
  const events = () =>
    control.store
      .snapshot()
      .list('event')
      .map(({ type }) => type);
  return { ...control, clock, tell, events, [Symbol.asyncDispose]: () => control.close() };
}

describe('the observer', () => {
  it('knows a node only once it has told all it holds, and not while it is away', async () => {
    await using world = await createWorld();
    const known = () => {
      const { connected: isConnected, listed } = world.view.node(a) ?? {};
      return [isConnected, listed];
    };
    await world.tell(connected);
    expect(known()).toEqual([true, false]);
    await world.tell(complete());
    expect(known()).toEqual([true, true]);
    await world.tell({ kind: 'disconnected', node: a, reason: 'cut' });
    expect(known()).toEqual([false, false]);
    expect(world.events()).toEqual(['node.connected', 'node.disconnected']);
  });

  it('keeps what a node is, and says when it was replaced or rebooted', async () => {
    await using world = await createWorld();
    await world.tell(connected, { ...connected, bootId: 'boot-2' });
    await world.tell({ ...connected, bootId: 'boot-2', incarnation: 'state-2' });
    expect(world.store.snapshot().named('node', 'a')).toMatchObject({
      bootId: 'boot-2',
      incarnation: 'state-2',
      facts: { cpuCount: 4 },
    });
    expect(world.events().filter((type) => type !== 'node.connected')).toEqual([
      'node.rebooted',
      'node.replaced',
    ]);
  });

  it('writes nothing for a heartbeat', async () => {
    await using world = await createWorld();
    await world.tell(connected, complete());
    const before = world.store.snapshot().revision;
    await world.clock.advance(5000);
    await world.tell(feeling(0), feeling(10), feeling(0));
    expect(world.store.snapshot().revision).toBe(before);
    expect(world.view.node(a)?.lastSeenAtMs).toBe(world.clock.nowMs());
  });

  it('says once that a clock is wrong, and once that it is right again', async () => {
    await using world = await createWorld();
    await world.tell(connected, complete(), feeling(60_000), feeling(61_000));
    expect(world.view.node(a)?.conditions).toMatchObject([{ type: 'ClockSkew', holds: true }]);
    await world.tell(feeling(0));
    expect(world.view.node(a)?.conditions).toEqual([]);
    expect(world.events().filter((type) => type === 'node.condition-changed')).toHaveLength(2);
  });

  it('tells of guests that nobody bound to their node, and leaves them alone', async () => {
    await using world = await createWorld();
    await world.tell(connected, complete(['0198c0de-0000-7000-8000-000000000001']));
    expect(world.events()).toContain('node.strangers-found');
  });

  it('ignores a node that is not of this fleet', async () => {
    await using world = await createWorld();
    await world.tell({ ...connected, node: 'x' as NodeName });
    expect(world.view.node('x' as NodeName)).toBeUndefined();
    expect(world.events()).toEqual([]);
  });
});
