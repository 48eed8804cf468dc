import { describe, expect, it } from 'vitest';
import { openFakeStore } from '../../test/fakes/cluster-records.ts';
import { cordonNode } from './cordon-node.ts';
import { addCluster } from './put-cluster.ts';
import { clusterNodeName, nodesOfCluster } from './put-cluster-node.ts';

describe('the name of a node of a cluster', () => {
  it.each([
    ['puts the cluster in front', 'lab', 'pve1', 'lab-pve1'],
    ['is in lower case', 'lab', 'PVE1', 'lab-pve1'],
    [
      'is cut with a hash where it is too long',
      'a-cluster-in-town',
      'x'.repeat(40),
      /^a-cluster-in-town-x{13}-[0-9a-f]{8}$/,
    ],
    ['has a hash where it would be no name', 'lab', 'pve_1.', /^lab-pve-1-[0-9a-f]{8}$/],
    ['does not end with what stands before the hash', 'lab', 'n-'.repeat(20), /^lab-(n-){14}[0-9a-f]{8}$/],
  ] as const)('%s', (_title, cluster, node, wanted) => {
    const name = clusterNodeName(cluster, node);
    if (typeof wanted === 'string') expect(name).toBe(wanted);
    else expect(name).toMatch(wanted);
    expect(name.length).toBeLessThanOrEqual(40);
    expect(clusterNodeName(cluster, node)).toBe(name);
  });

  it('tells long names apart that begin alike', () => {
    const [a, b] = ['1', '2'].map((end) => clusterNodeName('lab', `${'x'.repeat(50)}${end}`));
    expect(a).not.toBe(b);
  });
});

describe('putting a node of a cluster', () => {
  it('makes it once, with its labels, and leaves it as it is from then on', async () => {
    await using world = await openFakeStore({ clusters: ['lab'] });
    const { store, put } = world;
    expect(await put('lab', 'PVE1')).toBe('lab-pve1');
    await store.transact((tx) => cordonNode(tx, { node: 'lab-pve1', cordoned: true, caller: 'me' }, 1));
    const { revision } = store.snapshot();
    expect(await put('lab', 'PVE1')).toBe('lab-pve1');
    expect(store.snapshot().revision).toBe(revision);
    expect(store.snapshot().named('node', 'lab-pve1')).toMatchObject({
      cluster: 'lab',
      cordoned: true,
      metadata: { labels: { 'proxmox.cluster': 'lab', 'proxmox.node': 'PVE1' } },
    });
    expect(nodesOfCluster(store.snapshot(), 'lab')).toHaveLength(1);
    expect(nodesOfCluster(store.snapshot(), 'other')).toEqual([]);
  });

  it('gives way to a plain host and to another cluster’s node of the same name', async () => {
    await using world = await openFakeStore({ clusters: ['a', 'a-b'], hosts: ['a-pve1'] });
    expect(await world.put('a', 'pve1')).toMatch(/^a-pve1-[0-9a-f]{8}$/);
    expect(await world.put('a', 'b-c')).toBe('a-b-c');
    const other = await world.put('a-b', 'c');
    expect(other).toMatch(/^a-b-c-[0-9a-f]{8}$/);
    expect(await world.put('a-b', 'c')).toBe(other);
    expect(world.store.snapshot().named('node', 'a-pve1')?.cluster).toBeUndefined();
  });

  it('makes none for a cluster that is unknown or on its way out', async () => {
    await using world = await openFakeStore({ clusters: ['lab'] });
    await expect(world.put('lost', 'pve1')).rejects.toMatchObject({ kind: 'not-found' });
    await world.store.transact((tx) => {
      const lab = tx.named('cluster', 'lab');
      if (lab !== undefined) tx.put('cluster', lab.metadata.id, { ...lab, removingSinceMs: 1 });
    });
    await expect(world.put('lab', 'pve1')).rejects.toMatchObject({ kind: 'failed-precondition' });
  });
});

describe('adding a cluster', () => {
  it('refuses a name that is taken, and tells no secret in its event', async () => {
    await using world = await openFakeStore({ clusters: ['lab'] });
    const { store, spec } = world;
    const again = { name: 'lab', spec, id: 'another', caller: 'admin/root' };
    await expect(store.transact((tx) => addCluster(tx, again, 1))).rejects.toMatchObject({
      kind: 'already-exists',
      nextStep: expect.stringContaining('drover cluster update lab') as string,
    });
    const events = JSON.stringify(store.snapshot().list('event'));
    expect(events).toContain('cluster.added');
    expect(events).not.toContain(spec.credential.kind === 'token' ? spec.credential.secret : '');
  });
});
