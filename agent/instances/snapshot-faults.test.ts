import { describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId, InstanceSpec, SnapshotId, VolumeId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import {
  type AgentWorld,
  createAgentWorld,
  fleetId,
  forever,
  phaseOf,
  reach,
  runInstance,
} from '../../test/fakes/agent-world.ts';
import { until } from '../../test/until.ts';
import type { Instances } from '../instances.ts';
import type { VolumeDriver } from '../volumes/volume-driver.ts';

const { signal } = new AbortController();
const newSnapshotId = (): SnapshotId => systemRandom.uuidV7() as SnapshotId;

const withData = (pool: string, volumeId = systemRandom.uuidV7() as VolumeId): Partial<InstanceSpec> => ({
  volumes: [{ name: 'data', mountPath: '/data', sizeMib: 0, pool, readOnly: false, keep: true }],
  assigned: { attachments: [], ports: [], volumes: [{ name: 'data', volumeId }] },
});

const take = (world: AgentWorld, instances: Instances, id: InstanceId, name: string, as = newSnapshotId()) =>
  instances.createSnapshot(world.order(id, 0), { id: as, name }, signal);

const namesOf = async (instances: Instances, id: InstanceId): Promise<string[]> =>
  (await instances.snapshots(id, signal)).map(({ name }) => name);

/** Until it is undone, the pool says that it is not well. */
function takeAway(pool: VolumeDriver): () => void {
  const { fingerprint } = pool;
  const change = (now: VolumeDriver['fingerprint']): unknown => Object.assign(pool, { fingerprint: now });
  change(async (wanted) => ({ ...(await fingerprint(wanted)), healthy: false, detail: 'no daemon' }));
  return () => void change(fingerprint);
}

/** Snapshots of the pool wait until they are let go on. */
function holdSnapshots(pool: VolumeDriver): { readonly isHeld: Promise<void>; letGo(): void } {
  const { snapshot } = pool;
  const [held, going] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const waiting: VolumeDriver['snapshot'] = async (...args) => {
    held.resolve();
    const aborted = new Promise<never>((_, reject) => {
      args[3].addEventListener('abort', () => reject(args[3].reason), { once: true });
    });
    await Promise.race([going.promise, aborted]);
    return snapshot(...args);
  };
  Object.assign(pool, { snapshot: waiting });
  return { isHeld: held.promise, letGo: () => going.resolve() };
}

describe('a pool that is away', () => {
  it('when the agent starts costs no snapshot its other parts', async () => {
    await using world = await createAgentWorld();
    let instances = await world.open();
    const id = await runInstance(world, instances, withData('other'));
    const made = await take(world, instances, id, 'kept');
    await instances.close();
    const bringBack = takeAway(world.otherVolumes);
    instances = await world.open();
    await expect(instances.snapshots(id, signal)).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(take(world, instances, id, 'kept', made.id)).rejects.toMatchObject({ kind: 'unavailable' });
    await instances.close();
    bringBack();
    instances = await world.open();
    expect(await instances.snapshots(id, signal)).toEqual([made]);
  });

  it('keeps half a snapshot only until it is back', async () => {
    const after: Clock['after'] = (delayMs, work) => systemClock.after(Math.min(delayMs, 300), work);
    await using world = await createAgentWorld({ clock: { ...systemClock, after } });
    let instances = await world.open();
    const id = await runInstance(world, instances, withData('other'));
    const kept = await take(world, instances, id, 'kept');
    await instances.close();
    const dying = await world.open((at) => {
      if (at === 'after snapshot.take') throw new Error('killed');
    });
    world.volumes.failWith('removeSnapshot', new DroverError('unavailable', 'killed'));
    await take(world, dying, id, 'half').catch(() => undefined);
    await dying.close();
    world.volumes.failWith('removeSnapshot', undefined);
    const parts = () => world.volumes.snapshots(id as unknown as VolumeId, signal);
    expect((await parts()).length).toBe(2);
    const bringBack = takeAway(world.otherVolumes);
    instances = await world.open();
    expect((await parts()).length).toBe(2);
    bringBack();
    await until(async () => (await parts()).length === 1, { what: 'half of it went' });
    expect(await instances.snapshots(id, signal)).toEqual([kept]);
  });

  it('keeps a way back waiting, and gives it up for no other state', async () => {
    await using world = await createAgentWorld();
    let instances = await world.open();
    const id = await runInstance(world, instances, withData('other'));
    const made = await take(world, instances, id, 'good');
    await instances.close();
    const dying = await world.open((at) => {
      if (at === 'before snapshot.set-back') throw new Error('killed');
    });
    await dying.rollBack(world.order(id, 0), made.id, signal).catch(() => undefined);
    await dying.close();
    const bringBack = takeAway(world.otherVolumes);
    instances = await world.open();
    await reach(instances, id, 'failed');
    expect(instances.list()[0]?.state.message).toContain('no daemon');
    bringBack();
    await reach(instances, id, 'running');
  });

  it('costs the instances of other pools nothing', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await take(world, instances, id, 'first');
    world.otherVolumes.failWith('snapshots', new DroverError('unavailable', 'no daemon'));
    await take(world, instances, id, 'second');
    expect(await namesOf(instances, id)).toEqual(['first', 'second']);
  });
});

describe('a snapshot', () => {
  it('stays when one of its data volumes is removed later', async () => {
    await using world = await createAgentWorld();
    let instances = await world.open();
    const volumeId = systemRandom.uuidV7() as VolumeId;
    const id = await runInstance(world, instances, withData('other', volumeId));
    await take(world, instances, id, 'kept');
    await instances.ensure(world.order(id, 2), world.spec(forever));
    await until(async () => (await instances.inspect(id)).state.generation === 2, { what: 'generation 2' });
    await reach(instances, id, 'running');
    await until(() => !world.otherVolumes.isMounted(volumeId), { what: 'the volume is released' });
    await until(
      () =>
        instances.removeVolume({ fleetId, fleetEpoch: 1 }, volumeId, signal).then(
          () => true,
          () => false,
        ),
      { what: 'the volume is removed' },
    );
    for (const life of [1, 2]) {
      expect([life, await namesOf(instances, id)]).toEqual([life, ['kept', 'before-update-1']]);
      await instances.close();
      instances = await world.open();
    }
  });

  it('is never taken away for one of another instance', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const [one, other] = [await runInstance(world, instances), await runInstance(world, instances)];
    const made = await take(world, instances, one, 'mine');
    await expect(take(world, instances, other, 'theirs', made.id)).rejects.toMatchObject({
      kind: 'already-exists',
      message: expect.stringContaining(one),
    });
    expect(await instances.snapshots(one, signal)).toEqual([made]);
  });

  it('in the middle of which the guest went on says so', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const { isHeld, letGo } = holdSnapshots(world.volumes);
    const taking = take(world, instances, id, 'first');
    await isHeld;
    for (const order of ['pause', 'resume'] as const) {
      await expect(instances[order](world.order(id, 0), signal)).rejects.toMatchObject({ kind: 'aborted' });
    }
    await instances.stop(world.order(id, 1), 0, signal);
    letGo();
    expect(await taking).toMatchObject({ crashInconsistent: true });
    expect(phaseOf(instances, id)).toBe('stopped');
  });

  it('is given up for the removal of its instance, and leaves nothing', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const { isHeld } = holdSnapshots(world.volumes);
    const taking = take(world, instances, id, 'first');
    await isHeld;
    await Promise.all([
      expect(taking).rejects.toMatchObject({ kind: 'failed-precondition' }),
      instances.remove(world.order(id, 1), 0, signal),
    ]);
    expect(await world.volumes.list(signal)).toEqual([]);
  });
});

describe('a guest that could not be let go on', () => {
  const broken = new DroverError('deadline-exceeded', 'the tool hangs');

  it('goes on as soon as it can', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    world.host.failNext('resume', broken);
    await take(world, instances, id, 'first').catch(() => undefined);
    await until(async () => (await instances.inspect(id)).state.phase === 'running', { what: 'it goes on' });
  });

  it('keeps no other frozen after a crash', async () => {
    await using world = await createAgentWorld();
    let instances = await world.open();
    const ids = [await runInstance(world, instances), await runInstance(world, instances)];
    await instances.close();
    for (const id of ids) {
      const dying = await world.open((at) => {
        if (at === 'after guest.freeze') throw new Error('killed');
      });
      // What a killed agent never comes to.
      world.host.failNext('resume', broken);
      await take(world, dying, id, 'cut').catch(() => undefined);
      await dying.close();
      if (id === ids[0]) world.host.failNext('resume', broken);
    }
    world.host.failNext('resume', broken);
    instances = await world.open();
    for (const id of ids) {
      await until(async () => (await instances.inspect(id)).state.phase === 'running', {
        what: `${id} goes on`,
      });
    }
  });
});

it('a way back is not kept waiting by the back-off of a guest that fails', async () => {
  await using world = await createAgentWorld();
  const instances = await world.open();
  const id = await runInstance(world, instances);
  const made = await take(world, instances, id, 'good');
  for (let failures = 0; failures < 2; failures += 1) {
    world.host.end(id, 1);
    await reach(instances, id, 'backing-off');
    if (failures === 0) await reach(instances, id, 'running');
  }
  const beganMs = performance.now();
  await instances.rollBack(world.order(id, 0), made.id, signal);
  expect(performance.now() - beganMs).toBeLessThan(1000);
  await reach(instances, id, 'running');
});
