import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { InstanceSpec, NodeVolume, VolumeClaim, VolumeId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import {
  type AgentWorld,
  createAgentWorld,
  fleetId,
  forever,
  reach,
  runInstance,
} from '../../test/fakes/agent-world.ts';
import { until } from '../../test/until.ts';
import type { Instances } from '../instances.ts';

const { signal } = new AbortController();
const from = { fleetId, fleetEpoch: 1 };
const newVolume = (): VolumeId => systemRandom.uuidV7() as VolumeId;

const claim = (name: string, more: Partial<VolumeClaim> = {}): VolumeClaim => ({
  name,
  mountPath: `/${name}`,
  sizeMib: 0,
  pool: '',
  readOnly: false,
  keep: false,
  ...more,
});

const withVolumes = (...volumes: readonly (readonly [VolumeClaim, VolumeId])[]): Partial<InstanceSpec> => ({
  volumes: volumes.map(([one]) => one),
  assigned: {
    attachments: [],
    ports: [],
    volumes: volumes.map(([{ name }, volumeId]) => ({ name, volumeId })),
  },
});

const listed = (instances: Instances): Promise<NodeVolume[]> => Array.fromAsync(instances.volumes(signal));
const mountsOf = (world: AgentWorld, id: string) =>
  [...world.host.guests.values()].find(({ guest }) => guest.id === id)?.guest.mounts ?? [];

describe('data volumes', () => {
  it('are mounted, outlive their instance, and are given to the next', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const volume = newVolume();
    const spec = withVolumes([claim('data', { readOnly: true }), volume]);
    const first = await runInstance(world, instances, spec);
    const [mount] = mountsOf(world, first);
    expect(mount).toMatchObject({ target: '/data', readOnly: true });
    await writeFile(path.join(mount?.source ?? '', 'kept'), 'by the first');
    expect(await listed(instances)).toMatchObject([{ id: volume, pool: 'local', instanceId: first }]);

    await instances.remove(world.order(first, 1), undefined, signal);
    expect(world.volumes.isMounted(volume)).toBe(false);
    expect(await listed(instances)).toMatchObject([{ id: volume, instanceId: undefined }]);

    const second = await runInstance(world, instances, spec);
    const source = mountsOf(world, second)[0]?.source ?? '';
    expect(await readFile(path.join(source, 'kept'), 'utf8')).toBe('by the first');
  });

  it('has the ids of its guest', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const volume = newVolume();
    const id = await runInstance(world, instances, withVolumes([claim('data'), volume]));
    const found = await world.volumes.list(signal);
    const guest = world.host.guests.get(id)?.guest;
    expect(found.map(({ range }) => range)).toEqual([guest?.range, guest?.range]);
    expect(guest?.range.base).toBe(1_000_000 + 65_536);
  });

  it('is found in the pool where it lies, whatever the spec says of pools', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const volume = newVolume();
    const named = withVolumes([claim('data', { pool: 'other' }), volume]);
    const first = await runInstance(world, instances, named);
    await instances.remove(world.order(first, 1), undefined, signal);
    await runInstance(world, instances, withVolumes([claim('data'), volume]));
    expect(await listed(instances)).toMatchObject([{ id: volume, pool: 'other' }]);
    expect(world.otherVolumes.isMounted(volume)).toBe(true);
  });

  it('of an older spec is released when the guest is made anew', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const [old, kept] = [newVolume(), newVolume()];
    const id = await runInstance(world, instances, withVolumes([claim('old'), old], [claim('kept'), kept]));
    const next = world.spec(forever, withVolumes([claim('kept'), kept]));
    await instances.ensure(world.order(id, 2), next);
    await until(() => mountsOf(world, id).length === 1, { what: 'a guest with one volume' });
    await reach(instances, id, 'running');
    expect([world.volumes.isMounted(old), world.volumes.isMounted(kept)]).toEqual([false, true]);
    await instances.removeVolume(from, old, signal);
    expect((await listed(instances)).map((one) => one.id)).toEqual([kept]);
  });

  it('goes to no second instance while the first is there', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const spec = withVolumes([claim('data'), newVolume()]);
    const first = await runInstance(world, instances, spec);
    const second = world.newId();
    await instances.ensure(world.order(second, 1), world.spec(forever, spec));
    await reach(instances, second, 'failed');
    expect((await instances.inspect(second)).state.message).toContain(`belongs to instance ${first}`);
    await instances.remove(world.order(first, 1), undefined, signal);
    await reach(instances, second, 'running');
  });

  it('without an id for a claim no order is taken', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const order = instances.ensure(world.order(world.newId(), 1), {
      ...world.spec(forever),
      volumes: [claim('data')],
    });
    await expect(order).rejects.toMatchObject({ kind: 'invalid-argument' });
    expect(instances.list()).toEqual([]);
  });

  it('a volume that a killed removal left mounted is released by the next life', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const volume = newVolume();
    const range = { base: 1_000_000, size: 65_536 };
    await world.volumes.prepareData({ id: volume, range, diskMib: 0 }, signal);
    await instances.close();
    await world.open();
    expect(world.volumes.isMounted(volume)).toBe(false);
  });
});

describe('the removal of a data volume', () => {
  it('is refused while an instance has it, and may be repeated', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const volume = newVolume();
    const id = await runInstance(world, instances, withVolumes([claim('data'), volume]));
    await instances.stop(world.order(id, 1), undefined, signal);
    const early = instances.removeVolume(from, volume, signal);
    await expect(early).rejects.toMatchObject({ kind: 'failed-precondition' });
    await instances.remove(world.order(id, 1), undefined, signal);
    await instances.removeVolume(from, volume, signal);
    await instances.removeVolume(from, volume, signal);
    expect(await listed(instances)).toEqual([]);
  });

  it('never takes the root of an instance', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const wrong = instances.removeVolume(from, id, signal);
    await expect(wrong).rejects.toMatchObject({ kind: 'failed-precondition' });
    expect(world.volumes.isMounted(id)).toBe(true);
  });

  it.each([
    ['another fleet', { fleetId: '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b0009', fleetEpoch: 1 }, 'unknown-fleet'],
    ['an older epoch', { fleetId, fleetEpoch: 4 }, 'stale-epoch'],
  ])('is refused to %s', async (_name, other, reason) => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    await instances.removeVolume({ fleetId, fleetEpoch: 5 }, newVolume(), signal);
    const refused = instances.removeVolume(other, newVolume(), signal);
    await expect(refused).rejects.toMatchObject({ kind: 'failed-precondition', reason });
  });
});

describe('an instance whose record is lost', () => {
  it('may use every volume and every image, until it is known again or gone', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const volume = newVolume();
    const id = await runInstance(world, instances, withVolumes([claim('data'), volume]));
    const digest = [...instances.usedImages().keys()][0];
    if (digest === undefined) throw new Error('no image is used');
    await instances.close();
    await world.loseRecord(id);
    const next = await world.open();
    expect(world.volumes.isMounted(volume)).toBe(true);
    const wanted = { kind: 'failed-precondition', message: /record is lost/ };
    await expect(next.removeVolume(from, volume, signal)).rejects.toMatchObject(wanted);
    await expect(next.removeImage(digest, signal)).rejects.toMatchObject(wanted);
    await next.stop(world.order(id, 1), undefined, signal);
    await expect(next.removeImage(digest, signal)).rejects.toMatchObject(wanted);
    await next.remove(world.order(id, 1), undefined, signal);
    await next.removeVolume(from, volume, signal);
    await next.removeImage(digest, signal);
  });

  it('keeps its volumes from instances that are new here', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const spec = withVolumes([claim('data'), newVolume()]);
    const id = await runInstance(world, instances, spec);
    const before = await world.volumes.list(signal);
    await instances.close();
    await world.loseRecord(id);
    const next = await world.open();
    const second = world.newId();
    await next.ensure(world.order(second, 1), world.spec(forever, spec));
    await reach(next, second, 'failed');
    expect(next.list().find(({ state }) => state.instanceId === second)?.state.message).toMatch(/is lost/);
    const kept = (await world.volumes.list(signal)).filter((one) => one.id !== (second as string));
    expect(kept).toEqual(before);
    await next.remove(world.order(id, 1), undefined, signal);
    await reach(next, second, 'running');
  });
});

describe('images', () => {
  it('count their instances, and stay while one is made from them', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const [digest] = [...instances.usedImages().keys()];
    if (digest === undefined) throw new Error('no image is used');
    expect(world.spec([]).image).toContain(digest);
    expect(instances.usedImages().get(digest)).toBe(1);
    const early = instances.removeImage(digest, signal);
    await expect(early).rejects.toMatchObject({ kind: 'failed-precondition' });
    await instances.remove(world.order(id, 1), undefined, signal);
    expect(instances.usedImages().size).toBe(0);
    await instances.removeImage(digest, signal);
  });
});
