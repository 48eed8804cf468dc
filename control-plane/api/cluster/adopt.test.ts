import { describe, expect, it } from 'vitest';
import { startClusterWorld } from '../../../test/cluster-world.ts';
import { until } from '../../../test/until.ts';
import { DroverError } from '#shared/errors.ts';
import type { NodeName } from '#shared/model.ts';
import { parseWorkloadDocument } from '#shared/wire/workload.ts';
import { takeBackAllAdoptions } from '../../store/adopt-guest.ts';
import { putWorkload } from '../../store/put-workload.ts';
import { reserveGuest } from '../../store/put-cluster-guest.ts';

const pve1 = 'lab-pve1' as NodeName;
const data = { name: 'data', mountPath: '/data', sizeMib: 64, pool: '', readOnly: false, keep: false };

describe('adopting a guest', () => {
  it('makes it a workload bound where it is, for which nothing is left to do', async () => {
    await using world = await startClusterWorld();
    const { clusters, control, store, settle } = world;
    const guest = clusters.addGuest({ vmid: 105, node: pve1, name: 'Old_Web.example', tags: ['prod'] });
    guest.notes.push('it is called old-web inside');
    const [adoption, ...rest] = await world.adopt({ vmid: 105 });
    expect(rest).toEqual([]);
    expect(adoption).toMatchObject({ adopted: true, skipped: '', notes: ['it is called old-web inside'] });
    const workload = control.workload('old-web-example');
    expect(workload).toMatchObject({
      spec: { image: 'proxmox:guest/105', runtime: 'proxmox-lxc', replicas: 1 },
      resolved: { generation: 1, reference: 'proxmox:guest/105' },
    });
    const [instance, ...more] = control.instances('old-web-example');
    expect(more).toEqual([]);
    expect(instance?.metadata.name).toBe(adoption?.instance);
    expect(instance).toMatchObject({ node: pve1, observed: { phase: 'running', generation: 1 } });
    expect(store.snapshot().get('cluster-guest', instance?.metadata.id ?? '')).toMatchObject({
      cluster: 'lab',
      vmid: 105,
      adopted: true,
      generation: 1,
    });
    await until(() => typeof control.instances('old-web-example')[0]?.observed === 'object', {
      what: 'it is seen',
    });
    await settle();
    // What its node was told in the meantime came from nobody else: no order, no change.
    expect(await settle()).toBe(0);
    expect(clusters.fleet.nodes.get(pve1)?.starts.size).toBe(0);
    expect(control.operations('old-web-example')).toEqual([]);
  });

  it('writes a spec whose apply changes nothing', async () => {
    await using world = await startClusterWorld();
    const { clusters, store } = world;
    clusters.addGuest({ vmid: 105, node: pve1, name: 'web' });
    const [adoption] = await world.adopt({ vmid: 105 });
    const document = parseWorkloadDocument(adoption?.document ?? { metadata: undefined, spec: undefined });
    const ids = { workloadId: 'w', operationId: 'o', caller: 'operator/test', planRevision: 0 };
    const { result } = await store.transact((tx) => putWorkload(tx, { document, ...ids }, 1));
    expect(result.change).toBe('unchanged');
  });

  it('only says what would be, when asked so', async () => {
    await using world = await startClusterWorld();
    const { clusters, store } = world;
    clusters.addGuest({ vmid: 105, node: pve1, name: 'web' });
    const { revision } = store.snapshot();
    const [adoption] = await world.adopt({ vmid: 105, name: 'shop', dryRun: true });
    expect(adoption).toMatchObject({ adopted: true, instance: '', document: { metadata: { name: 'shop' } } });
    expect(store.snapshot().revision).toBe(revision);
    expect(clusters.guest('lab', 105)?.view.instanceId).toBeUndefined();
  });

  it('takes everything back where the mark cannot be written, volumes among it', async () => {
    await using world = await startClusterWorld();
    const { clusters, store, control } = world;
    const guest = clusters.addGuest({ vmid: 105, node: pve1, name: 'web' });
    guest.spec = { ...guest.spec, volumes: [data] };
    clusters.failNext('adopt', new DroverError('unavailable', 'the node behind is away'));
    await expect(world.adopt({ vmid: 105 })).rejects.toMatchObject({ kind: 'unavailable' });
    const snapshot = store.snapshot();
    for (const kind of ['workload', 'instance', 'volume', 'cluster-guest', 'address', 'operation'] as const)
      expect(snapshot.list(kind)).toEqual([]);
    expect(snapshot.list('event').map(({ type }) => type)).toContain('guest.not-adopted');
    await expect(world.adopt({ vmid: 105 })).resolves.toMatchObject([{ adopted: true }]);
    expect(control.instances('web')[0]?.spec.assigned.volumes).toHaveLength(1);
  });

  it('is not taken for lost while its mark is being written', async () => {
    await using world = await startClusterWorld();
    const { clusters, control } = world;
    clusters.addGuest({ vmid: 105, node: pve1, name: 'web' });
    clusters.during('adopt', async () => {
      // All that the node holds is told anew, and the guest is not among it.
      clusters.fleet.nodes.get(pve1)?.disconnect();
      clusters.fleet.nodes.get(pve1)?.connect();
      await until(() => control.view.node(pve1)?.listed === true, { what: 'its node is listed again' });
      await world.settle();
      expect(control.instances('web')).toMatchObject([{ intent: 'run', observed: { phase: 'running' } }]);
    });
    await world.adopt({ vmid: 105 });
    await world.settle();
    expect(control.instances('web')).toHaveLength(1);
  });

  it('begins anew where somebody changed the guest meanwhile, and gives up where that goes on', async () => {
    await using world = await startClusterWorld();
    const { clusters, control } = world;
    const guest = clusters.addGuest({ vmid: 105, node: pve1, name: 'web' });
    clusters.during('adopt', async () => {
      guest.digest = 'second';
      guest.spec = { ...guest.spec, resources: { ...guest.spec.resources, memoryMib: 512 } };
    });
    await expect(world.adopt({ vmid: 105 })).resolves.toMatchObject([{ adopted: true }]);
    expect(control.workload('web')?.spec.resources.memoryMib).toBe(512);

    const other = clusters.addGuest({ vmid: 106, node: pve1, name: 'busy' });
    for (const digest of ['a', 'b', 'c', 'd'])
      clusters.during('adopt', async () => {
        other.digest = digest;
      });
    await expect(world.adopt({ vmid: 106 })).rejects.toMatchObject({ kind: 'aborted' });
    expect(control.workload('busy')).toBeUndefined();
  });

  it('takes back what a control plane left that ended in the middle', async () => {
    await using world = await startClusterWorld();
    const { clusters, control, store } = world;
    clusters.addGuest({ vmid: 105, node: pve1, name: 'web' });
    clusters.addGuest({ vmid: 106, node: pve1, name: 'whole' });
    await world.adopt({ vmid: 106 });
    clusters.during('adopt', async () => {
      await store.transact((tx) => takeBackAllAdoptions(tx, 1));
      throw new DroverError('unavailable', 'it ends');
    });
    await expect(world.adopt({ vmid: 105 })).rejects.toMatchObject({ kind: 'unavailable' });
    expect(control.workload('web')).toBeUndefined();
    expect(control.workload('whole')).toBeDefined();
    expect(store.snapshot().list('cluster-guest')).toHaveLength(1);
  });
});

describe('what is not adopted', () => {
  it.each([
    ['a template', { template: true }, 'it is a template: an image, and no guest'],
    ['what does not run', { status: 'stopped' }, 'it is stopped; start it first'],
    ['what nobody knows the state of', { status: 'unknown' }, 'it is unknown; start it first'],
  ])('is %s', async (_title, changes, because) => {
    await using world = await startClusterWorld();
    world.clusters.addGuest({ vmid: 105, node: pve1, ...changes });
    await expect(world.adopt({ vmid: 105 })).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: `lab/105 cannot be adopted: ${because}`,
    });
    await expect(world.adopt({ vmid: 105, dryRun: true })).resolves.toMatchObject([
      { adopted: false, skipped: because },
    ]);
  });

  it('is what is an instance already, and what has obstacles', async () => {
    await using world = await startClusterWorld();
    const { clusters } = world;
    const [web] = await world.run('web');
    await expect(world.adopt({ vmid: 100 })).rejects.toMatchObject({
      message: `lab/100 cannot be adopted: it is the instance ${web?.metadata.name} already`,
    });
    clusters
      .addGuest({ vmid: 105, node: pve1 })
      .obstacles.push('it is locked (backup)', 'it has a passthrough');
    await expect(world.adopt({ vmid: 105 })).rejects.toMatchObject({
      message: 'lab/105 cannot be adopted: it is locked (backup); it has a passthrough',
    });
  });

  it.each([
    ['a name that is taken', { vmid: 105, name: 'web' }, 'already-exists'],
    ['a name that is none', { vmid: 105, name: 'Web_' }, 'invalid-argument'],
    ['a name for all', { name: 'shop' }, 'invalid-argument'],
    ['a number that is none', { vmid: 7 }, 'invalid-argument'],
    ['a guest that is not there', { vmid: 999 }, 'not-found'],
    ['a cluster that is not there', { vmid: 105, cluster: 'town' }, 'not-found'],
    ['a cluster that is no name', { vmid: 105, cluster: '../x' }, 'invalid-argument'],
  ])('is asked for with %s', async (_title, request, kind) => {
    await using world = await startClusterWorld();
    await world.run('web');
    world.clusters.addGuest({ vmid: 105, node: pve1 });
    await expect(world.adopt(request)).rejects.toMatchObject({ kind });
  });

  it('has a spec that cannot be written, or an address that another holds', async () => {
    await using world = await startClusterWorld();
    const { clusters } = world;
    const guest = clusters.addGuest({ vmid: 105, node: pve1 });
    guest.spec = { ...guest.spec, rootPool: 'Not A Pool' };
    await expect(world.adopt({ vmid: 105 })).rejects.toMatchObject({
      kind: 'invalid-argument',
      message: expect.stringContaining('Not A Pool') as string,
    });
    guest.spec = {
      ...guest.spec,
      rootPool: '',
      network: 'bridged',
      networks: [{ network: 'lan', addresses: [] }],
    };
    await expect(world.adopt({ vmid: 105 })).rejects.toMatchObject({ kind: 'failed-precondition' });
    expect(world.control.workload('ct105')).toBeUndefined();
  });

  it('has a number that is kept for another instance', async () => {
    await using world = await startClusterWorld();
    const { clusters, store } = world;
    clusters.addGuest({ vmid: 105, node: pve1 });
    const taken = { cluster: 'lab', vmid: 105, kind: 'lxc', node: pve1, generation: 1 } as const;
    const record = {
      ...taken,
      instanceId: 'x' as never,
      intent: 'run',
      specDigest: 'y',
      adopted: false,
    } as const;
    await store.transact((tx) => reserveGuest(tx, record, 1));
    await expect(world.adopt({ vmid: 105 })).rejects.toMatchObject({ kind: 'already-exists' });
  });
});

describe('adopting a whole cluster', () => {
  it('adopts what can be, and says of everything else why not', async () => {
    await using world = await startClusterWorld();
    const { clusters, control } = world;
    await world.run('own');
    clusters.addGuest({ vmid: 300, node: pve1, name: 'web' });
    clusters.addGuest({ vmid: 301, node: 'lab-pve2' as NodeName, name: 'web' });
    clusters.addGuest({ vmid: 302, node: pve1, name: '' });
    clusters.addGuest({ vmid: 303, node: pve1, template: true });
    clusters.addGuest({ vmid: 304, node: pve1, status: 'stopped' });
    clusters.addGuest({ vmid: 305, node: pve1 }).obstacles.push('it is locked (backup)');
    clusters.failNext('adopt', new DroverError('permission-denied', 'it may not change its tags'));
    const report = await world.adopt({});
    expect(
      report.map(({ guest, adopted, skipped, errorKind }) => [guest?.vmid, adopted, skipped, errorKind]),
    ).toEqual([
      [100, false, expect.stringMatching(/^it is the instance own-/), ''],
      [300, false, 'it may not change its tags', 'permission-denied'],
      [301, true, '', ''],
      [302, true, '', ''],
      [303, false, 'it is a template: an image, and no guest', ''],
      [304, false, 'it is stopped; start it first', ''],
      [305, false, 'it is locked (backup)', ''],
    ]);
    expect(control.instances('web')).toMatchObject([{ node: 'lab-pve2' }]);
    expect(control.instances('guest-302')).toHaveLength(1);
    // Once more: what is ours by now is left as it is, and the others have another chance.
    const again = await world.adopt({});
    expect(
      again.filter(({ adopted }) => adopted).map(({ guest, instance }) => [guest?.vmid, instance]),
    ).toEqual([[300, expect.stringMatching(/^web-300-/)]]);
  });
});
