import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId, InstanceSpec, SnapshotId, VolumeId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import {
  type AgentWorld,
  createAgentWorld,
  forever,
  phaseOf,
  reach,
  runInstance,
} from '../../test/fakes/agent-world.ts';
import { until } from '../../test/until.ts';
import type { Instances } from '../instances.ts';

const { signal } = new AbortController();
const newSnapshotId = (): SnapshotId => systemRandom.uuidV7() as SnapshotId;

const withData = (pool = ''): Partial<InstanceSpec> => {
  const volumeId = systemRandom.uuidV7() as VolumeId;
  const claim = { name: 'data', mountPath: '/data', sizeMib: 0, pool, readOnly: false, keep: true };
  return {
    volumes: [claim],
    assigned: { attachments: [], ports: [], volumes: [{ name: 'data', volumeId }] },
  };
};

const guestOf = (world: AgentWorld, id: InstanceId) => {
  const found = world.host.guests.get(id)?.guest;
  if (found === undefined) throw new Error('no guest');
  return found;
};
const write = (world: AgentWorld, id: InstanceId, text: string): Promise<void[]> =>
  Promise.all(placesOf(world, id).map((place) => writeFile(path.join(place, 'note'), text)));
const read = async (world: AgentWorld, id: InstanceId): Promise<string[]> =>
  Promise.all(placesOf(world, id).map((place) => readFile(path.join(place, 'note'), 'utf8')));
const placesOf = (world: AgentWorld, id: InstanceId): string[] => {
  const { rootfs, mounts } = guestOf(world, id);
  return [rootfs, ...mounts.map(({ source }) => source)];
};

const take = (
  world: AgentWorld,
  instances: Instances,
  id: InstanceId,
  name: string,
  snapshotId = newSnapshotId(),
) => instances.createSnapshot(world.order(id, 0), { id: snapshotId, name }, signal);

describe('snapshots of an instance', () => {
  it('hold all its volumes under one name, and are listed with them', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances, withData('other'));
    const made = await take(world, instances, id, 'first');
    expect(made).toMatchObject({ name: 'first', kind: 'manual', instanceId: id, generation: 1 });
    expect(made.volumes.map(({ name }) => name)).toEqual(['root', 'data']);
    expect(await instances.snapshots(id, signal)).toEqual([made]);
    expect(await instances.snapshots(undefined, signal)).toEqual([made]);
  });

  it('are the same when the same is asked again, and refuse a name that is taken', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const made = await take(world, instances, id, 'first');
    expect(await take(world, instances, id, 'first', made.id)).toEqual(made);
    await expect(take(world, instances, id, 'first')).rejects.toMatchObject({ kind: 'already-exists' });
    await expect(take(world, instances, world.newId(), 'x')).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('freeze the guest where its volumes cannot be taken at one moment, and let it go on', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances, withData());
    const calls = world.host.calls;
    const made = await take(world, instances, id, 'first');
    expect([calls.get('pause'), calls.get('resume')]).toEqual([1, 1]);
    expect(made.crashInconsistent).toBe(false);
    expect(made.pauseMs).toBeLessThan(1000);
    expect(phaseOf(instances, id)).toBe('running');
  });

  it('freeze nothing where the pool takes them together', async () => {
    await using world = await createAgentWorld({ pools: { local: ['snapshots', 'atomic-snapshots'] } });
    const instances = await world.open();
    const id = await runInstance(world, instances, withData());
    const made = await take(world, instances, id, 'first');
    expect(world.host.calls.get('pause') ?? 0).toBe(0);
    expect(made).toMatchObject({ crashInconsistent: false, pauseMs: 0 });
  });

  it('are refused by name where a pool takes none', async () => {
    await using world = await createAgentWorld({ pools: { local: [] } });
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await expect(take(world, instances, id, 'first')).rejects.toMatchObject({
      kind: 'unimplemented',
      message: expect.stringContaining('local'),
    });
  });

  it('set every volume back, start the guest again, and lose what came later', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances, withData());
    await write(world, id, 'good');
    const good = await take(world, instances, id, 'good');
    await write(world, id, 'bad');
    await take(world, instances, id, 'later');
    const order = world.order(id, 0);
    for (const _ of [1, 2]) await instances.rollBack(order, good.id, signal);
    await reach(instances, id, 'running');
    expect(await read(world, id)).toEqual(['good', 'good']);
    expect((await instances.snapshots(id, signal)).map(({ name }) => name)).toEqual(['good']);
    await write(world, id, 'after');
    await instances.rollBack(order, good.id, signal);
    expect(await read(world, id)).toEqual(['after', 'after']);
  });

  it('leave a stopped instance stopped', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await write(world, id, 'good');
    const good = await take(world, instances, id, 'good');
    await write(world, id, 'bad');
    await instances.stop(world.order(id, 1), 0, signal);
    expect(await instances.rollBack(world.order(id, 0), good.id, signal)).toMatchObject({ phase: 'stopped' });
    await instances.ensure(world.order(id, 2), world.spec(forever, {}));
    await reach(instances, id, 'running');
    expect(await read(world, id)).toEqual(['good']);
  });

  it('refuse to go back to what there is not, and touch nothing', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const { pid } = (await instances.inspect(id)).state;
    const back = instances.rollBack(world.order(id, 0), newSnapshotId(), signal);
    await expect(back).rejects.toMatchObject({ kind: 'not-found' });
    expect((await instances.inspect(id)).state.pid).toBe(pid);
  });

  it('tell why a pool refused, and let the guest go on', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const made = await take(world, instances, id, 'first');
    const refusal = new DroverError('failed-precondition', 'a clone stands on a later snapshot');
    world.volumes.failWith('rollback', refusal);
    await expect(instances.rollBack(world.order(id, 0), made.id, signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringContaining('clone'),
    });
    world.volumes.failWith('rollback', undefined);
    await reach(instances, id, 'running');
  });

  it('tell which volumes are set back already where a later one refuses', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances, withData());
    const made = await take(world, instances, id, 'first');
    const { rollback } = world.volumes;
    let calls = 0;
    world.volumes.rollback = async (...args) => {
      calls += 1;
      if (calls === 1) return rollback(...args);
      throw new DroverError('failed-precondition', 'a clone stands on it', { nextStep: 'remove the clone' });
    };
    await expect(instances.rollBack(world.order(id, 0), made.id, signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringMatching(
        `a clone stands on it; already set back: ${made.volumes[0]?.volumeId}; remove the clone, then roll back again`,
      ),
    });
    world.volumes.rollback = rollback;
    await reach(instances, id, 'running');
    await instances.rollBack(world.order(id, 0), made.id, signal);
    await reach(instances, id, 'running');
  });

  it('go when they are removed, once and again', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances, withData());
    const made = await take(world, instances, id, 'first');
    for (const _ of [1, 2]) await instances.removeSnapshot(world.order(id, 0), made.id, signal);
    expect(await instances.snapshots(undefined, signal)).toEqual([]);
  });

  it('of a data volume are there for the instance that has it next', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const spec = withData();
    const first = await runInstance(world, instances, spec);
    await take(world, instances, first, 'old');
    await instances.remove(world.order(first, 1), undefined, signal);
    const second = await runInstance(world, instances, spec);
    const [found] = await instances.snapshots(second, signal);
    expect(found).toMatchObject({ name: 'old', volumes: [{ name: 'data' }] });
  });
});

describe('an update that makes the guest anew', () => {
  it('has its snapshot before it, with the old generation, and keeps the last three', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    for (const generation of [2, 3, 4, 5, 6]) {
      await instances.ensure(
        world.order(id, generation),
        world.spec(forever, { env: { G: `${generation}` } }),
      );
      await until(
        () =>
          instances.list().every(({ state }) => state.phase === 'running' && state.generation === generation),
        {
          what: `generation ${generation} runs`,
        },
      );
    }
    const found = await instances.snapshots(id, signal);
    expect(found.map(({ name, kind, generation }) => [name, kind, generation])).toEqual(
      [3, 4, 5].map((generation) => [`before-update-${generation}`, 'before-update', generation]),
    );
  });

  it('waits while the snapshot cannot be taken, and the guest of before goes on', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    world.volumes.failWith('snapshot', new DroverError('resource-exhausted', 'the pool is full'));
    await instances.ensure(world.order(id, 2), world.spec(forever, { env: { NEW: '1' } }));
    const stateOf = () => instances.list().find(({ state }) => state.instanceId === id)?.state;
    await until(() => stateOf()?.message.includes('the pool is full') === true, { what: 'it says why' });
    expect(world.host.guests.get(id)?.process?.exit).toBeUndefined();
    world.volumes.failWith('snapshot', undefined);
    await reach(instances, id, 'running');
  });
});

describe('an agent that is killed', () => {
  it('in the middle of a snapshot lets the guest go on and leaves no half of one', async () => {
    await using world = await createAgentWorld();
    let instances = await world.open();
    const id = await runInstance(world, instances, withData('other'));
    await instances.close();
    for (const moment of ['before snapshot.take', 'after snapshot.take', 'after guest.freeze']) {
      const dying = await world.open((at) => {
        if (at === moment) throw new Error('killed');
      });
      await expect(take(world, dying, id, 'cut')).rejects.toThrow('killed');
      await dying.close();
      instances = await world.open();
      await until(() => phaseOf(instances, id) === 'running', { what: `running after ${moment}` });
      expect(await instances.snapshots(id, signal)).toEqual([]);
      await instances.close();
    }
    instances = await world.open();
    await take(world, instances, id, 'cut');
  });

  it('in the middle of going back goes on with it', async () => {
    await using world = await createAgentWorld();
    let instances = await world.open();
    const id = await runInstance(world, instances, withData());
    await write(world, id, 'good');
    const good = await take(world, instances, id, 'good');
    for (const moment of [
      'before guest.stop',
      'after guest.remove',
      'before snapshot.set-back',
      'after snapshot.set-back',
    ]) {
      await reach(instances, id, 'running');
      await write(world, id, 'bad');
      await instances.close();
      const dying = await world.open((at) => {
        if (at === moment) throw new Error('killed');
      });
      await dying.rollBack(world.order(id, 0), good.id, signal).catch(() => undefined);
      await dying.close();
      instances = await world.open();
      await reach(instances, id, 'running');
      await until(async () => (await read(world, id).catch(() => [])).join() === 'good,good', {
        what: `good after ${moment}`,
      });
    }
  });
});
