import { describe, expect, it } from 'vitest';
import { startClusterWorld } from '../../../test/cluster-world.ts';
import { until } from '../../../test/until.ts';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId, NodeName } from '#shared/model.ts';

const pve1 = 'lab-pve1' as NodeName;
const data = { name: 'data', mountPath: '/data', sizeMib: 64, pool: '', readOnly: false, keep: false };

describe('releasing', () => {
  it('forgets all records and leaves the guest as it is', async () => {
    await using world = await startClusterWorld();
    const { clusters, store, settle } = world;
    const guest = clusters.addGuest({ vmid: 105, node: pve1, name: 'web', tags: ['prod'] });
    guest.spec = { ...guest.spec, volumes: [data] };
    const before = guest.view;
    await world.adopt({ vmid: 105 });
    const [released] = await world.release('web');
    expect(released).toMatchObject({ node: pve1, cluster: 'lab', vmid: 105, error: '' });
    await settle();
    const snapshot = store.snapshot();
    for (const kind of ['workload', 'instance', 'volume', 'cluster-guest', 'released-instance'] as const)
      expect(snapshot.list(kind)).toEqual([]);
    expect(clusters.guest('lab', 105)?.view).toEqual(before);
    // And it can be adopted once more.
    await expect(world.adopt({ vmid: 105 })).resolves.toMatchObject([{ adopted: true }]);
  });

  it('takes one copy of several, and makes no other in its place', async () => {
    await using world = await startClusterWorld();
    const { clusters, control, settle } = world;
    const [first, second] = await world.run('web', 2);
    await world.release(first?.metadata.name ?? '');
    await settle();
    expect(control.workload('web')?.spec.replicas).toBe(1);
    expect(control.instances('web').map(({ metadata }) => metadata.id)).toEqual([second?.metadata.id]);
    expect(clusters.backend.guests('lab')).toHaveLength(2);
    expect(second?.metadata.generation).toBe(control.instances('web')[0]?.metadata.generation);
  });

  it('takes all copies of a workload, one result each', async () => {
    await using world = await startClusterWorld();
    const { clusters, control } = world;
    await world.run('web', 2);
    clusters.failNext('release', new DroverError('unavailable', 'nobody answers', { nextStep: 'try again' }));
    const results = await world.release('web');
    expect(results.map(({ error }) => error)).toEqual(['nobody answers; try again', '']);
    expect(control.instances('web').map(({ metadata }) => metadata.name)).toEqual([results[0]?.instance]);
    await world.settle();
    expect(control.instances('web')).toHaveLength(1);
    await world.release('web');
    expect(control.workload('web')).toBeUndefined();
  });

  it('leaves everything as it was where the mark cannot be taken away', async () => {
    await using world = await startClusterWorld();
    const { clusters, store, control, settle } = world;
    const guest = clusters.addGuest({ vmid: 105, node: pve1, name: 'web' });
    guest.spec = { ...guest.spec, volumes: [data] };
    await world.adopt({ vmid: 105 });
    await until(() => typeof control.instances('web')[0]?.observed === 'object', { what: 'it is seen' });
    await settle();
    const bare = () =>
      (['workload', 'instance', 'volume', 'cluster-guest'] as const).map(
        (kind) =>
          JSON.parse(
            JSON.stringify(store.snapshot().list(kind), (key, value: unknown) =>
              key === 'revision' ? 0 : value,
            ),
          ) as unknown,
      );
    const before = bare();
    clusters.failNext('release', new DroverError('unavailable', 'nobody answers'));
    await expect(world.release('web')).rejects.toMatchObject({ kind: 'unavailable' });
    await settle();
    expect(bare()).toEqual(before);
  });

  it('forgets what is gone already', async () => {
    await using world = await startClusterWorld();
    const { clusters, store } = world;
    await world.run('web');
    clusters.failNext('release', new DroverError('not-found', 'there is no such guest'));
    await expect(world.release('web')).resolves.toMatchObject([{ error: '' }]);
    expect(store.snapshot().list('cluster-guest')).toEqual([]);
  });

  it('refuses what is on a plain host, what is not there, and what is being removed', async () => {
    await using world = await startClusterWorld();
    await world.run('plain', 1, 'crun');
    await expect(world.release('plain')).rejects.toMatchObject({
      kind: 'unimplemented',
      nextStep: 'drover delete plain stops and removes it',
    });
    await expect(world.release('webb')).rejects.toMatchObject({ kind: 'not-found' });
    const [web] = await world.run('web');
    world.clusters.fleet.nodes.get(web?.node ?? '')?.disconnect();
    await until(() => world.control.view.node(web?.node ?? pve1)?.connected === false, {
      what: 'it is away',
    });
    await world.control.remove('web');
    await expect(world.release('web')).rejects.toMatchObject({ kind: 'failed-precondition' });
  });

  it('is ended by an adoption where it was left half done', async () => {
    await using world = await startClusterWorld();
    const { clusters, control, store } = world;
    await world.run('web');
    const id = control.instances('web')[0]?.metadata.id as InstanceId;
    // As a control plane leaves it that ended between the records and the mark.
    await store.transact((tx) => {
      for (const kind of ['workload', 'instance'] as const)
        for (const { metadata } of tx.list(kind)) tx.delete(kind, metadata.id);
    });
    const vmid = clusters.backend.guests('lab')[0]?.vmid ?? 0;
    const [adoption] = await world.adopt({ vmid, name: 'again' });
    expect(adoption).toMatchObject({ adopted: true });
    expect(store.snapshot().get('cluster-guest', id)).toBeUndefined();
    expect(control.instances('again')).toHaveLength(1);
  });
});
