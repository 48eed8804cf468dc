import { describe, expect, it } from 'vitest';
import { startClusterWorld } from '../../../test/cluster-world.ts';
import type { Template } from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { NodeName } from '#shared/model.ts';

const pve1 = 'lab-pve1' as NodeName;
type World = Awaited<ReturnType<typeof startClusterWorld>>;

const create = ({ service, context }: World, source: string, name = 'golden', snapshot = '') =>
  service.createTemplate({ project: '', source, name, snapshot }, context);

async function list({ service, context }: World, cluster = ''): Promise<Template[]> {
  const found: Template[] = [];
  for await (const each of service.listTemplates({ cluster }, context)) found.push(each);
  return found;
}

describe('a template', () => {
  it('is made of a guest, listed as ours beside others, and removed', async () => {
    await using world = await startClusterWorld();
    world.clusters.addGuest({ vmid: 105, node: pve1, status: 'stopped' });
    world.clusters.addGuest({ vmid: 9000, node: pve1, name: 'theirs', template: true });
    const { template } = await create(world, 'lab/105');
    expect(template).toMatchObject({ cluster: 'lab', name: 'golden', own: true, state: 'ready', node: pve1 });
    expect(await list(world, 'lab')).toMatchObject([
      { vmid: 9000, name: 'theirs', own: false, state: 'ready' },
      { vmid: template?.vmid, name: 'golden', own: true, state: 'ready' },
    ]);
    const { service, context } = world;
    await service.removeTemplate({ cluster: 'lab', template: 'golden' }, context);
    expect(await list(world)).toMatchObject([{ name: 'theirs' }]);
  });

  it('that failed is told with its reason', async () => {
    await using world = await startClusterWorld();
    const source = { node: 'pve1', vmid: 105, snapshot: '' };
    const record = {
      key: 'lab/half',
      cluster: 'lab',
      name: 'half',
      vmid: 9009,
      kind: 'lxc',
      source,
    } as const;
    await world.store.transact((tx) =>
      tx.put('cluster-template', record.key, {
        ...record,
        state: 'failed',
        message: 'no space left',
        changedAtMs: 1,
      }),
    );
    expect(await list(world)).toMatchObject([
      { vmid: 9009, state: 'failed', message: 'no space left', node: '' },
    ]);
  });

  it.each([
    { name: '9000', source: 'lab/105', kind: 'invalid-argument' },
    { name: 'no name', source: 'lab/105', kind: 'invalid-argument' },
    { name: 'golden', source: 'lab/105', snapshot: 'a b', kind: 'invalid-argument' },
    { name: 'golden', source: 'lab/404', kind: 'not-found' },
    { name: 'golden', source: 'nowhere/105', kind: 'not-found' },
    { name: 'golden', source: 'lab/106', kind: 'failed-precondition' },
    { name: 'golden', source: 'lab/9000', kind: 'failed-precondition' },
  ])('called $name of $source is refused: $kind', async ({ name, source, snapshot, kind }) => {
    await using world = await startClusterWorld();
    world.clusters.addGuest({ vmid: 105, node: pve1, status: 'stopped' });
    world.clusters.addGuest({ vmid: 106, node: pve1 });
    world.clusters.addGuest({ vmid: 9000, node: pve1, template: true });
    await expect(create(world, source, name, snapshot)).rejects.toMatchObject({ kind });
    expect(world.store.snapshot().list('cluster-template')).toEqual([]);
  });

  it('goes from our records with its cluster, and stays there', async () => {
    await using world = await startClusterWorld();
    world.clusters.addGuest({ vmid: 105, node: pve1, status: 'stopped' });
    await create(world, 'lab/105');
    await world.service.removeCluster({ name: 'lab', releaseGuests: true }, world.context);
    expect(world.store.snapshot().list('cluster-template')).toEqual([]);
    expect(world.clusters.backend.guests('lab').some(({ name }) => name === 'golden')).toBe(true);
  });
});
