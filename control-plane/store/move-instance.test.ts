/** Guests of clusters that move by themselves. */
import { describe, expect, it } from 'vitest';
import { hostRecord, openFakeStore } from '../../test/fakes/cluster-records.ts';
import { instanceRecord, stateRecord, workloadRecord } from '../../test/fakes/records.ts';
import type { InstanceId, NodeName, Volume, VolumeId } from '#shared/model.ts';
import { hasMoved, recordObservation } from './record-observation.ts';

const workload = workloadRecord();
const volumeId = '00000000-0000-7000-8000-0000000000aa' as VolumeId;

/** web-00001 on lab-pve1, with a data volume. */
async function openWorld() {
  const world = await openFakeStore({ clusters: ['lab', 'far'], hosts: ['h1'] });
  const { store, put } = world;
  for (const [cluster, node] of [
    ['lab', 'pve1'],
    ['lab', 'pve2'],
    ['far', 'pve1'],
  ] as const)
    await put(cluster, node);
  const plain = instanceRecord(workload, 1, { node: 'lab-pve1' as NodeName });
  const assigned = { attachments: [], ports: [], volumes: [{ name: 'data', volumeId }] };
  const instance = { ...plain, spec: { ...plain.spec, assigned } };
  const id = instance.metadata.id as InstanceId;
  const volume: Volume = {
    metadata: { ...hostRecord('web-data-0').metadata, id: volumeId },
    workload: 'web',
    claim: 'data',
    slot: 0,
    node: 'lab-pve1' as NodeName,
    instanceId: id,
    sizeMib: 1,
    pool: '',
    keep: true,
    removingSinceMs: undefined,
  };
  await store.transact((tx) => {
    tx.put('instance', id, instance);
    tx.put('volume', volumeId, volume);
  });
  const see = (node: string, observed: Parameters<typeof recordObservation>[1]['observed']) =>
    store.transact((tx) => recordObservation(tx, { node: node as NodeName, id, observed }, 7));
  return { ...world, id, see, seen: () => store.snapshot().get('instance', id) };
}

const state = (id: InstanceId) => stateRecord({ instanceId: id, displayName: 'web-00001' });

describe('an instance of a cluster', () => {
  it('is followed to another node of its cluster, with its volumes, and people are told', async () => {
    await using world = await openWorld();
    const { store, see, seen, id } = world;
    // It says nothing new but where it is.
    await see('lab-pve2', state(id));
    expect(seen()).toMatchObject({ node: 'lab-pve2', observed: { phase: 'running' } });
    expect(store.snapshot().instancesOnNode('lab-pve1')).toEqual([]);
    expect(store.snapshot().instancesOnNode('lab-pve2')).toHaveLength(1);
    expect(store.snapshot().get('volume', volumeId)?.node).toBe('lab-pve2');
    expect(store.snapshot().list('event')).toContainEqual(
      expect.objectContaining({
        type: 'instance.moved',
        message: 'from lab-pve1 to lab-pve2',
        subject: expect.objectContaining({ node: 'lab-pve2' }) as object,
      }),
    );
  });

  it('is not lost because the node that it left holds it no more', async () => {
    await using world = await openWorld();
    const { see, seen, id } = world;
    await see('lab-pve2', state(id));
    await see('lab-pve1', 'absent');
    expect(seen()).toMatchObject({ node: 'lab-pve2', observed: { phase: 'running' } });
  });

  it.each([
    ['a node of another cluster', 'far-pve1'],
    ['a plain host', 'h1'],
    ['a node that nobody knows', 'lab-pve9'],
  ])('does not follow what %s says of it', async (_title, node) => {
    await using world = await openWorld();
    const { see, seen, id } = world;
    await see(node, stateRecord({ instanceId: id, phase: 'failed' }));
    expect(seen()).toMatchObject({ node: 'lab-pve1', observed: { phase: 'running' } });
  });

  it('does not move where it is absent', async () => {
    await using world = await openWorld();
    const { store, see, seen } = world;
    await see('lab-pve2', 'absent');
    expect(seen()?.node).toBe('lab-pve1');
    const sighting = { node: 'lab-pve2' as NodeName, id: world.id, observed: 'absent' } as const;
    expect(hasMoved(store.snapshot(), { node: 'lab-pve1' as NodeName }, sighting)).toBe(false);
  });
});

it('a plain host never takes an instance from another', async () => {
  await using world = await openFakeStore({ hosts: ['h1', 'h2'] });
  const instance = instanceRecord(workload, 1);
  const id = instance.metadata.id as InstanceId;
  const sighting = { node: 'h2' as NodeName, id, observed: state(id) };
  expect(hasMoved(world.store.snapshot(), instance, sighting)).toBe(false);
});
