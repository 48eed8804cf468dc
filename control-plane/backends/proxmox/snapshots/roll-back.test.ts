/** A step back loses what a guest did since: it is made once for each order, whatever is lost on the way. */
import { randomUUID, randomUUIDv7 } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { InstanceSpec, SnapshotId, VolumeId } from '#shared/model.ts';
import {
  anyGuest,
  container,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
  startAnew,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import type { OrderHead } from '../../backend.ts';
import { snapshotName } from './roll-back.ts';

const { signal } = new AbortController();
const versions = ['8.4.21', '9.2.11'] as const;
const kinds = [
  { kind: 'lxc', spec: { ...container, rootPool: 'btr' } },
  { kind: 'qemu', spec: machine },
] as const;
const rollbackOf = (kind: 'lxc' | 'qemu') =>
  `POST /nodes/{node}/${kind}/{vmid}/snapshot/{snapname}/rollback` as const;
const begun = ({ server }: ProxmoxWorld): number =>
  [...server.world.nodes.keys()]
    .flatMap((node) => server.world.tasks.list(node))
    .filter(({ type }) => type.endsWith('rollback')).length;

interface Scene {
  readonly order: OrderHead;
  readonly snapshot: SnapshotId;
}

async function withSnapshot(world: ProxmoxWorld, spec: InstanceSpec): Promise<Scene> {
  const order = await runGuest(world, spec);
  const snapshot = randomUUIDv7() as SnapshotId;
  await world.backend.createSnapshot(order, { id: snapshot, name: 'before' }, signal);
  return { order: { ...order, requestId: randomUUID() }, snapshot };
}

for (const version of versions) {
  describe.each(kinds)(`a step back on ${version}, of $kind`, ({ kind, spec }) => {
    it.each([
      { when: 'after it was begun', fault: 'lose', sent: 1 },
      { when: 'before anything was done', fault: 'cut', sent: 2 },
    ])('is made once where its answer was lost $when', async ({ fault, sent }) => {
      await using world = await openQuickWorld({ version });
      const { order, snapshot } = await withSnapshot(world, spec);
      if (fault === 'lose') world.server.faults.loseAnswer(rollbackOf(kind));
      else world.server.faults.cut(rollbackOf(kind));
      await world.backend.rollbackSnapshot(order, snapshot, signal);
      expect(world.server.requests.list().filter((each) => each.endsWith('rollback'))).toHaveLength(sent);
      expect(begun(world)).toBe(1);
      await until(() => phaseOf(world, order.instanceId) === 'running 1', { what: 'running again' });
      // The same order once more is answered, and changes nothing: the guest has run on.
      await world.backend.rollbackSnapshot(order, snapshot, signal);
      expect(begun(world)).toBe(1);
      // Another order is another step back.
      await world.backend.rollbackSnapshot({ ...order, requestId: randomUUID() }, snapshot, signal);
      expect(begun(world)).toBe(2);
    });

    it('that failed is told with what its task says, though its answer was lost', async () => {
      await using world = await openQuickWorld({ version });
      const { order, snapshot } = await withSnapshot(world, spec);
      anyGuest(world).config['lock'] = 'snapshot-delete';
      world.server.faults.loseAnswer(rollbackOf(kind), 100);
      await expect(world.backend.rollbackSnapshot(order, snapshot, signal)).rejects.toMatchObject({
        message: expect.stringContaining('snapshot-delete') as string,
      });
    });

    it('is not made where a data volume is newer: it would be taken out of the guest', async () => {
      await using world = await openQuickWorld({ version });
      const { order, snapshot } = await withSnapshot(world, spec);
      const data = {
        name: 'data',
        mountPath: '/data',
        sizeMib: 1024,
        pool: '',
        readOnly: false,
        keep: false,
      };
      const volumes = [{ name: 'data', volumeId: randomUUIDv7() as VolumeId }];
      const wider = { ...spec, volumes: [data], assigned: { ...spec.assigned, volumes } };
      const next = { ...order, generation: 2, requestId: randomUUID() };
      await world.backend.ensureInstance(next, wider, signal);
      await until(() => phaseOf(world, order.instanceId) === 'running 2', { what: 'generation 2' });
      await expect(world.backend.rollbackSnapshot(next, snapshot, signal)).rejects.toMatchObject({
        kind: 'failed-precondition',
        message: expect.stringContaining('volume data is newer than that snapshot') as string,
      });
      expect(begun(world)).toBe(0);
      const disks = () =>
        Object.keys(anyGuest(world).config).filter((key) => /^(?:mp0|scsi1|unused0)$/.test(key));
      expect(disks()).toEqual([kind === 'lxc' ? 'mp0' : 'scsi1']);
      // Without it, its disk is out of the guest, and there still.
      const narrow = { ...order, generation: 3, requestId: randomUUID() };
      await world.backend.ensureInstance(narrow, spec, signal);
      await until(() => phaseOf(world, order.instanceId) === 'running 3', { what: 'generation 3' });
      await world.backend.rollbackSnapshot(narrow, snapshot, signal);
      expect(disks()).toEqual(['unused0']);
    });

    it('is found again after a crash of ours, and not made once more', async () => {
      await using world = await openQuickWorld({ version });
      const { order, snapshot } = await withSnapshot(world, spec);
      const result = world.backend.rollbackSnapshot(order, snapshot, signal).catch(() => 'given up');
      await until(() => begun(world) === 1, { what: 'it is under way' });
      await world.backend.close();
      expect(await result).toBe('given up');
      const backend = await startAnew(world);
      try {
        await backend.rollbackSnapshot(order, snapshot, signal);
        expect(begun(world)).toBe(1);
        const record = () => world.store.snapshot().get('cluster-guest', order.instanceId);
        await until(() => record()?.appliedGeneration === 1, { what: 'all is as its spec says' });
        expect(anyGuest(world).status).toBe('running');
      } finally {
        await backend.close();
      }
    });
  });
}

describe('a step back that was under way when we ended', () => {
  it('is followed by what the spec says, though nobody asks again', async () => {
    await using world = await openQuickWorld();
    const { order, snapshot } = await withSnapshot(world, { ...container, rootPool: 'btr' });
    const next = { ...order, generation: 2, requestId: randomUUID() };
    const resources = { ...container.resources, memoryMib: 128 };
    await world.backend.ensureInstance(next, { ...container, rootPool: 'btr', resources }, signal);
    await until(() => phaseOf(world, order.instanceId) === 'running 2', { what: 'generation 2' });
    void world.backend.rollbackSnapshot(next, snapshot, signal).catch(() => undefined);
    await until(() => begun(world) === 1, { what: 'it is under way' });
    await world.backend.close();
    await world.server.world.tasks.idle();
    expect(anyGuest(world).config['memory']).toBe('64');
    const backend = await startAnew(world);
    try {
      await until(() => anyGuest(world).config['memory'] === '128', { what: 'its memory of generation 2' });
      expect(begun(world)).toBe(1);
    } finally {
      await backend.close();
    }
  });
});

describe('a step back', () => {
  it.each([
    { version: '8.4.21', spec: machine },
    { version: '9.2.11', spec: { ...container, rootPool: 'btr' } },
  ] as const)(
    'whose node died under it is unknown, and not made once more when that is back, on $version',
    async ({ version, spec }) => {
      await using world = await openQuickWorld({ version });
      const { order, snapshot } = await withSnapshot(world, spec);
      const result = world.backend.rollbackSnapshot(order, snapshot, signal).catch((error: unknown) => error);
      await until(() => begun(world) === 1, { what: 'it is under way' });
      await world.server.faults.killNode('pve1');
      expect(await result).toMatchObject({ kind: 'unavailable' });
      await world.server.faults.reviveNode('pve1');
      const node = world.node('pve1');
      await until(
        () => world.seen.findLast((one) => 'node' in one && one.node === node)?.kind !== 'disconnected',
        { what: 'its node is back' },
      );
      await expect(world.backend.rollbackSnapshot(order, snapshot, signal)).rejects.toMatchObject({
        reason: 'task-lost',
      });
      expect(begun(world)).toBe(1);
    },
  );
});

describe.each(versions)('snapshots that were taken on nodes with other clocks, on %s', (version) => {
  it('are newer by what they come from: a step back to the last of them removes none', async () => {
    await using world = await openQuickWorld({ version });
    const node = world.server.world.nodes.get('pve1');
    if (node === undefined) throw new Error('there is no pve1');
    node.skewMs = 300_000;
    const { order, snapshot } = await withSnapshot(world, machine);
    node.skewMs = 0;
    const later = randomUUIDv7() as SnapshotId;
    await world.backend.createSnapshot(order, { id: later, name: 'later' }, signal);
    const names = () => [...anyGuest(world).snapshots.keys()];
    await world.backend.rollbackSnapshot(order, later, signal);
    expect(names()).toEqual([snapshotName(snapshot), snapshotName(later)]);
    await world.backend.rollbackSnapshot({ ...order, requestId: randomUUID() }, snapshot, signal);
    expect(names()).toEqual([snapshotName(snapshot)]);
  });
});

describe('a step back on ZFS', () => {
  async function onZfs(version: (typeof versions)[number]) {
    const world = await openQuickWorld({ version });
    const { storages } = world.server.world;
    storages.add({ id: 'tank', type: 'zfspool', content: ['images', 'rootdir'], path: '/tank' });
    await until(
      () =>
        world.seen.findLast(
          (one) => one.kind === 'facts' && one.facts.pools?.some(({ name }) => name === 'tank'),
        ) !== undefined,
      { what: 'the pool is known' },
    );
    const { order, snapshot } = await withSnapshot(world, { ...container, rootPool: 'tank' });
    const later = randomUUIDv7() as SnapshotId;
    await world.backend.createSnapshot(order, { id: later, name: 'later' }, signal);
    return { world, order, snapshot, later };
  }

  it.each(versions)('removes those of ours that are newer, on %s', async (version) => {
    const { world, order, snapshot } = await onZfs(version);
    await using _world = world;
    await world.backend.rollbackSnapshot(order, snapshot, signal);
    expect([...anyGuest(world).snapshots.keys()]).toEqual([snapshotName(snapshot)]);
    expect(begun(world)).toBe(2);
  });

  it.each(versions)('names those of others that are newer, and removes nothing, on %s', async (version) => {
    const { world, order, snapshot, later } = await onZfs(version);
    await using _world = world;
    const guest = anyGuest(world);
    const [first] = guest.snapshots.values();
    if (first === undefined) throw new Error('there is no snapshot');
    const parent = snapshotName(later);
    guest.snapshots.set('byhand', { ...first, name: 'byhand', parent, description: 'mine' });
    guest.config.parent = 'byhand';
    const before = [...guest.snapshots.keys()];
    await expect(world.backend.rollbackSnapshot(order, snapshot, signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'newer-snapshots',
      message: expect.stringMatching(/, and byhand of guest \d+ came after it/) as string,
    });
    expect([...guest.snapshots.keys()]).toEqual(before);
    expect(guest.status).toBe('running');
  });
});
