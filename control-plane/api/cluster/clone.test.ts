import { describe, expect, it } from 'vitest';
import { startClusterWorld } from '../../../test/cluster-world.ts';
import type { NodeName } from '#shared/model.ts';
import { parseWorkloadDocument } from '#shared/wire/workload.ts';

const pve1 = 'lab-pve1' as NodeName;
type World = Awaited<ReturnType<typeof startClusterWorld>>;

const planOf = async ({ service, context }: World, source: string, name = 'copy', snapshot = '') => {
  const { document, notes } = await service.planClone({ project: '', source, name, snapshot }, context);
  const parsed = parseWorkloadDocument(document ?? { metadata: undefined, spec: undefined });
  return { ...parsed, notes };
};

describe('what a copy of a guest would be', () => {
  it('is what would be written for a stranger, where it is, without what one alone can have', async () => {
    await using world = await startClusterWorld();
    const guest = world.clusters.addGuest({ vmid: 105, node: pve1, name: 'old' });
    guest.snapshots.push('before');
    guest.notes.push('it has 512 MiB of swap', 'eth0 keeps its hardware address BC:24:11:00:00:01');
    guest.spec = {
      ...guest.spec,
      networks: [{ network: 'lan', addresses: ['10.20.0.5'] }],
      network: 'bridged',
    };
    const { spec, name, notes } = await planOf(world, 'lab/105', 'copy', 'before');
    expect(name).toBe('copy');
    expect(spec).toMatchObject({
      image: 'proxmox:guest/105@before',
      runtime: 'proxmox-lxc',
      replicas: 1,
      networks: [{ network: 'lan', addresses: [] }],
      placement: { require: ['proxmox.cluster = lab', 'proxmox.node = pve1'] },
    });
    expect(notes).toEqual([
      'its address 10.20.0.5 in lan is not taken along',
      'its interfaces get hardware addresses of their own',
      'it has 512 MiB of swap',
    ]);
  });

  it('is the spec of the workload that it is, by instance, workload and number', async () => {
    await using world = await startClusterWorld();
    const [instance] = await world.run('web', 1, 'proxmox-vm');
    const id = instance?.metadata.id ?? '';
    const { vmid = 0 } = world.store.snapshot().get('cluster-guest', id) ?? {};
    const { spec } = world.control.workload('web') ?? {};
    const taken = 'before';
    world.clusters.guest('lab', vmid)?.snapshots.push(taken);
    for (const source of ['web', instance?.metadata.name ?? '', id, `lab/${vmid}`]) {
      const plan = await planOf(world, source, 'copy', taken);
      expect(plan.spec).toMatchObject({
        image: `proxmox:guest/${vmid}@before`,
        resources: spec?.resources,
        command: spec?.command,
      });
    }
  });

  it('is refused by name where there is none', async () => {
    await using world = await startClusterWorld();
    world.clusters.addGuest({ vmid: 106, node: pve1 });
    const stuck = world.clusters.addGuest({ vmid: 105, node: pve1, status: 'stopped' });
    world.clusters.addGuest({ vmid: 107, node: pve1 }).snapshots.push('before', 'after');
    stuck.obstacles.push('eth0 is on vmbr9: apply a Network first');
    world.clusters.addGuest({ vmid: 9000, node: pve1, template: true });
    await world.run('web', 2);
    await world.run('plain', 1, 'crun');
    const rows: readonly (readonly [string, object, string?, string?])[] = [
      ['lab/105', { kind: 'failed-precondition', reason: 'not-clonable' }],
      ['lab/106', { kind: 'failed-precondition', reason: 'running', message: /a container that runs/ }],
      ['lab/9000', { kind: 'failed-precondition', message: 'lab/9000 is a template' }],
      ['lab/777', { kind: 'not-found' }],
      ['nowhere/105', { kind: 'not-found' }],
      ['nothing', { kind: 'not-found' }],
      ['web', { kind: 'failed-precondition', message: /has 2 instances/ }],
      ['plain', { kind: 'unimplemented' }],
      ['lab/105', { kind: 'already-exists' }, 'web'],
      ['lab/105', { kind: 'invalid-argument' }, 'Not A Name'],
      ['lab/105', { kind: 'invalid-argument' }, 'copy', 'no such/name'],
      [
        'lab/107',
        { kind: 'not-found', reason: 'snapshot', message: /has no snapshot befor; there are before, after$/ },
        'copy',
        'befor',
      ],
    ];
    for (const [source, wanted, name, snapshot] of rows) {
      const error: unknown = await planOf(world, source, name, snapshot).catch((caught: unknown) => caught);
      const { message, ...rest } = wanted as { message?: string | RegExp };
      expect(error).toMatchObject(rest);
      if (message !== undefined) expect(String(error)).toMatch(message);
    }
  });
});
