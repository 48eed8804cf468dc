/** Guests made as copies of guests that are there, ours or anybody's. */
import { randomUUIDv7 } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { InstanceId, InstanceSpec, SnapshotId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { workloadRecord } from '../../../../test/fakes/records.ts';
import { placeGuest } from '../../../../test/fakes/proxmox/place-guest.ts';
import {
  container,
  guestOf,
  machine,
  openQuickWorld,
  type ProxmoxWorld,
  runGuest,
  specOf,
  startAnew,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import { adoptedIdentity } from '../../../store/adopt-guest.ts';
import { openClusterApi } from '../api/api.ts';
import type { ClusterApi } from '../cluster-api.ts';
import { readMark, tagOf } from '../identity/marks.ts';
import { createTasks } from '../tasks/tasks.ts';

const { signal } = new AbortController();
const versions = ['8.4.21', '9.2.11'] as const;
const kinds = [
  { kind: 'lxc', spec: { ...container, rootPool: '' } },
  { kind: 'qemu', spec: { ...machine, rootPool: '' } },
] as const;

const record = ({ store }: ProxmoxWorld, id: InstanceId) => store.snapshot().get('cluster-guest', id);
const vmidOf = (world: ProxmoxWorld, id: InstanceId): number => record(world, id)?.vmid ?? 0;
const clones = ({ server }: ProxmoxWorld): number =>
  server.requests.list().filter((each) => /^POST .*\/clone$/.test(each)).length;
const copyOf = (spec: InstanceSpec, vmid: number, snapshot = ''): InstanceSpec => ({
  ...spec,
  image: `proxmox:guest/${vmid}${snapshot}`,
});

/** A task of the cluster's, by anybody. */
async function act(world: ProxmoxWorld, call: (api: ClusterApi) => Promise<unknown>): Promise<void> {
  const api = openClusterApi('lab', specOf(world.server), { clock: systemClock, random: systemRandom });
  try {
    const answer = await call(api);
    if (typeof answer === 'string' && answer.startsWith('UPID:'))
      await createTasks({ cluster: 'lab', api, clock: systemClock }).wait(answer, { signal });
  } finally {
    await api.close();
  }
}

async function toldOf(world: ProxmoxWorld, spec: InstanceSpec, words: RegExp, node = 'pve1') {
  const order = world.order(node);
  await world.backend.ensureInstance(order, spec, signal);
  await until(
    () => {
      const now = world.state(order.instanceId);
      return now !== undefined && now !== 'absent' && words.test(now.message);
    },
    { what: `told ${words.source}` },
  );
  return order;
}

describe.each(versions)('copies of guests on %s', (version) => {
  it.each(kinds)('are $kind with a mark of their own, and their source keeps its', async ({ kind, spec }) => {
    await using world = await openQuickWorld({ version });
    const first = await runGuest(world, spec);
    const source = guestOf(world, first.instanceId);
    if (kind === 'lxc')
      await act(world, (api) =>
        api.call(
          'POST /nodes/{node}/lxc/{vmid}/status/stop',
          { node: 'pve1', vmid: source.vmid },
          { signal },
        ),
      );
    // Nobody starts it again meanwhile.
    if (kind === 'lxc') await world.backend.stopInstance({ ...first, generation: 2 }, 0, signal);
    const before = { ...source.config };
    const { instanceId } = await runGuest(world, copyOf(spec, source.vmid));
    const copy = guestOf(world, instanceId);
    expect(copy).toMatchObject({ kind, node: 'pve1', status: 'running' });
    expect(copy.config['tags']).toBe(tagOf(instanceId));
    expect(readMark(copy.config['description'] ?? '')).toMatchObject({ instanceId, vmid: copy.vmid });
    expect(source.config).toEqual(before);
    expect(clones(world)).toBe(1);
    const conditions = world.seen.flatMap((each) => (each.kind === 'feeling' ? each.conditions : []));
    expect(conditions.filter(({ type, holds }) => type === 'CopyFound' && holds)).toEqual([]);
    await world.backend.removeInstance({ ...first, generation: 3 }, 0, signal);
    expect(guestOf(world, instanceId).status).toBe('running');
  });

  it('are of strangers too, and leave them as they are', async () => {
    await using world = await openQuickWorld({ version });
    const place = { node: 'pve1', vmid: 700 };
    await act(world, (api) =>
      api.call(
        'POST /nodes/{node}/qemu',
        { ...place, name: 'old', scsi0: 'local:1', tags: 'old' },
        { signal },
      ),
    );
    await act(world, (api) => api.call('POST /nodes/{node}/qemu/{vmid}/status/start', place, { signal }));
    const { instanceId } = await runGuest(world, {
      ...copyOf(machine, 700),
      rootPool: '',
      resources: { ...machine.resources, diskMib: 1024 },
    });
    expect(world.server.world.guests.get(700)).toMatchObject({ status: 'running', config: { tags: 'old' } });
    expect(guestOf(world, instanceId).config['smbios1']).not.toBe(
      world.server.world.guests.get(700)?.config['smbios1'],
    );
  });

  it.each([
    ['a container that runs', container, '', /container \d+ runs: it is copied from a snapshot, or stopped/],
    ['a snapshot that is not there', container, '@nope', /has no snapshot nope; there are none/],
    ['another kind', machine, '', /guest \d+ is one of containers/],
  ])('are refused of %s, before anything is made', async (_title, spec, snapshot, words) => {
    await using world = await openQuickWorld({ version });
    const { instanceId } = await runGuest(world);
    await toldOf(world, { ...copyOf(spec, vmidOf(world, instanceId), snapshot), rootPool: '' }, words);
    await toldOf(world, { ...copyOf(container, 12345), rootPool: '' }, /there is no guest 12345 in lab/);
    await world.backend.stopInstance({ ...world.order('pve1'), instanceId, generation: 2 }, 0, signal);
    const elsewhere = { ...copyOf(container, vmidOf(world, instanceId)), rootPool: '' };
    await toldOf(world, elsewhere, /with disks on local, which is not shared/, 'pve2');
    expect(clones(world)).toBe(0);
    expect(world.server.world.guests.size).toBe(1);
  });

  it('are of a snapshot of what runs on', async () => {
    await using world = await openQuickWorld({ version });
    const first = await runGuest(world, { ...machine, rootPool: '' });
    const vmid = vmidOf(world, first.instanceId);
    await act(world, (api) =>
      api.call(
        'POST /nodes/{node}/qemu/{vmid}/snapshot',
        { node: 'pve1', vmid, snapname: 'before' },
        { signal },
      ),
    );
    const { instanceId } = await runGuest(world, { ...copyOf(machine, vmid, '@before'), rootPool: '' });
    expect(guestOf(world, instanceId)).toMatchObject({ status: 'running', snapshots: new Map() });
    const id = randomUUIDv7() as SnapshotId;
    await world.backend.createSnapshot(first, { id, name: 'by-drover' }, signal);
    const third = await runGuest(world, { ...copyOf(machine, vmid, '@by-drover'), rootPool: '' });
    expect(guestOf(world, third.instanceId).config['tags']).toBe(tagOf(third.instanceId));
    expect(guestOf(world, first.instanceId).status).toBe('running');
  });

  it.each(kinds)(
    '$kind are found again after a start of ours, marked, and made once',
    async ({ spec }) => {
      await using world = await openQuickWorld({ version, pace: 8 });
      const first = await runGuest(world, spec);
      await world.backend.stopInstance({ ...first, generation: 2 }, 0, signal);
      const vmid = vmidOf(world, first.instanceId);
      const second = world.order('pve1');
      await world.backend.ensureInstance(second, copyOf(spec, vmid), signal);
      await until(() => clones(world) === 1, { what: 'the copy is asked for' });
      await world.backend.close();
      // Its source goes meanwhile: what bears its tag is not it.
      const backend = await startAnew(world);
      try {
        await until(() => record(world, second.instanceId)?.appliedGeneration === 1, {
          what: 'it is as wanted',
        });
        expect(clones(world)).toBe(1);
        const copy = guestOf(world, second.instanceId);
        expect(copy.vmid).not.toBe(vmid);
        expect(copy.config['tags']).toBe(tagOf(second.instanceId));
        expect(record(world, first.instanceId)).toMatchObject({ vmid });
        expect(record(world, first.instanceId)?.copies ?? []).toEqual([]);
        expect(guestOf(world, first.instanceId).config['tags']).toBe(tagOf(first.instanceId));
      } finally {
        await backend.close();
      }
    },
    30_000,
  );

  it('are not taken for their source where that goes while they are made', async () => {
    await using world = await openQuickWorld({ version, pace: 30 });
    const first = await runGuest(world, { ...container, rootPool: '' });
    await world.backend.stopInstance({ ...first, generation: 2 }, 0, signal);
    const vmid = vmidOf(world, first.instanceId);
    const second = world.order('pve1');
    await world.backend.ensureInstance(second, { ...copyOf(container, vmid), rootPool: '' }, signal);
    const { guests } = world.server.world;
    await until(() => guests.size === 2, { what: 'the copy is begun' });
    const copy = vmidOf(world, second.instanceId);
    expect(guests.get(copy)?.config['tags']).toBe(tagOf(first.instanceId));
    const polls = (): number => world.server.requests.list().filter((each) => /resources/.test(each)).length;
    const before = polls();
    await until(() => polls() > before + 2, { what: 'the list is read while both bear one tag' });
    expect(record(world, first.instanceId)?.copies ?? []).toEqual([]);
    await world.backend.close();
    guests.delete(vmid);
    const backend = await startAnew(world);
    try {
      await until(() => record(world, second.instanceId)?.appliedGeneration === 1, { what: 'as wanted' });
      expect(record(world, first.instanceId)).toMatchObject({ vmid });
      expect(guests.get(copy)?.config['tags']).toBe(tagOf(second.instanceId));
    } finally {
      await backend.close();
    }
  }, 30_000);

  it('of a template of machines share its disk where cluster.clone says so', async () => {
    await using world = await openQuickWorld({ version });
    const place = { node: 'pve1', vmid: 9000 };
    const disk = { scsi0: 'local:1,format=qcow2' };
    await act(world, (api) =>
      api.call('POST /nodes/{node}/qemu', { ...place, name: 'base', ...disk }, { signal }),
    );
    await act(world, (api) => api.call('POST /nodes/{node}/qemu/{vmid}/template', place, { signal }));
    world.server.world.broadcasts.tell();
    await until(() => world.backend.guests('lab').some(({ template }) => template), { what: 'a template' });
    const cluster = { ...plainClusterOptions, clone: 'linked' as const };
    const resources = { ...machine.resources, diskMib: 1024 };
    const spec = { ...machine, image: 'proxmox:template/9000', rootPool: '', cluster, resources };
    const { instanceId } = await runGuest(world, spec);
    const volid = guestOf(world, instanceId).config['scsi0']?.split(',')[0] ?? '';
    expect(world.server.world.storages.find(volid, 'pve1')?.parent).toMatch(/^local:9000\//);
    await toldOf(
      world,
      { ...spec, rootPool: 'shared' },
      /where its template is, on local, and root\.pool says/,
    );
  });

  it.each(kinds)(
    '$kind leave nothing where they are removed after such a start',
    async ({ spec }) => {
      await using world = await openQuickWorld({ version, pace: 8 });
      const first = await runGuest(world, spec);
      await world.backend.stopInstance({ ...first, generation: 2 }, 0, signal);
      const vmid = vmidOf(world, first.instanceId);
      const second = world.order('pve1');
      await world.backend.ensureInstance(second, copyOf(spec, vmid), signal);
      await until(() => clones(world) === 1, { what: 'the copy is asked for' });
      await world.backend.close();
      const backend = await startAnew(world);
      try {
        await backend.removeInstance({ ...second, generation: 2 }, 0, signal);
        expect([...world.server.world.guests.keys()]).toEqual([vmid]);
        expect(
          world.server.world.tasks.list('pve1').filter(({ exitStatus }) => exitStatus === undefined),
        ).toEqual([]);
        expect(record(world, second.instanceId)?.intent).toBe('removed');
        expect(clones(world)).toBe(1);
      } finally {
        await backend.close();
      }
    },
    30_000,
  );

  it.each(kinds)(
    '$kind that were cut off half made are told, and not forgotten',
    async ({ kind, spec }) => {
      await using world = await openQuickWorld({ version });
      const first = await runGuest(world, spec);
      const vmid = vmidOf(world, first.instanceId);
      const second = world.order('pve1');
      world.server.faults.failNext(
        `POST /nodes/{node}/${kind}/{vmid}/clone`,
        { status: 595, message: '' },
        99,
      );
      await world.backend.stopInstance({ ...first, generation: 2 }, 0, signal);
      await world.backend.ensureInstance(second, copyOf(spec, vmid), signal);
      await until(() => record(world, second.instanceId)?.source, { what: 'what it is a copy of is known' });
      const { server } = world;
      const lock = kind === 'lxc' ? 'create' : 'clone';
      const half = server.world.newGuest({
        vmid: vmidOf(world, second.instanceId),
        kind,
        node: 'pve1',
        config: { lock, ...(kind === 'qemu' && { description: 'qmclone temporary file\n' }) },
      });
      server.world.guests.set(half.vmid, half);
      const removal = (): Promise<string> =>
        world.backend.removeInstance({ ...second, generation: 2 }, 0, signal).then(
          () => 'removed',
          (error: unknown) => String(error),
        );
      await until(async () => (await removal()).includes(`half made and locked (${lock})`), { what: 'told' });
      expect(record(world, second.instanceId)?.intent).toBe('remove');
      server.world.guests.delete(half.vmid);
      await world.backend.removeInstance({ ...second, generation: 2 }, 0, signal);
      expect([...server.world.guests.keys()]).toEqual([vmid]);
    },
    30_000,
  );
});

it('of one storage are made eight at a time, on whatever nodes', async () => {
  await using world = await openQuickWorld({ pace: 400 });
  const config = { name: 'base', template: '1', scsi0: 'shared:900/base-900-disk-0.qcow2,size=1G' };
  placeGuest(world.server.world, { vmid: 900, kind: 'qemu', node: 'pve1', config });
  world.server.world.broadcasts.tell();
  await until(() => world.backend.guests('lab').some(({ vmid }) => vmid === 900), { what: 'it is listed' });
  const resources = { ...machine.resources, memoryMib: 16, diskMib: 1024 };
  const spec = { ...machine, image: 'proxmox:template/900', rootPool: '', resources };
  const nodes = Array.from({ length: 12 }, (_, place) => `pve${(place % 3) + 1}`);
  for (const node of nodes) await world.backend.ensureInstance(world.order(node), spec, signal);
  const copies = () => world.server.world.tasks.list('pve1').filter(({ type }) => type === 'qmclone');
  await until(() => copies().length === 8, { what: 'eight at once' });
  const polls = (): number => world.server.requests.list().filter((each) => /resources/.test(each)).length;
  const before = polls();
  await until(() => polls() > before + 2, { what: 'a while' });
  expect(copies().map(({ exitStatus }) => exitStatus)).toEqual(Array.from({ length: 8 }, () => undefined));
});

it('of a machine that runs, which is locked meanwhile, are made one after the other', async () => {
  await using world = await openQuickWorld({ pace: 20 });
  const { instanceId } = await runGuest(world, { ...machine, rootPool: '' });
  const vmid = vmidOf(world, instanceId);
  const spec = { ...copyOf(machine, vmid), rootPool: '' };
  const copies = ['pve1', 'pve1', 'pve1'].map((node) => world.order(node));
  for (const order of copies) await world.backend.ensureInstance(order, spec, signal);
  await until(
    () =>
      copies.every(
        (order) =>
          vmidOf(world, order.instanceId) > 0 && record(world, order.instanceId)?.appliedGeneration === 1,
      ),
    {
      what: 'all are there',
      deadlineMs: 30_000,
    },
  );
  const tasks = world.server.world.tasks.list('pve1').filter(({ type }) => type === 'qmclone');
  expect(tasks.map(({ exitStatus }) => exitStatus)).toEqual(['OK', 'OK', 'OK']);
}, 40_000);

it('are told where they can be copied, as far as specs name them, and what is adopted is not', async () => {
  await using world = await openQuickWorld();
  const local = await runGuest(world, { ...container, rootPool: 'local' });
  const shared = await runGuest(world, { ...container, rootPool: 'shared' }, 'pve2');
  const [localVmid, sharedVmid] = [local, shared].map(({ instanceId }) => vmidOf(world, instanceId));
  const name = async (called: string, image: string) => {
    const record = workloadRecord();
    const metadata = { ...record.metadata, id: randomUUIDv7(), name: called };
    await world.store.transact((tx) =>
      tx.put('workload', metadata.id, { ...record, metadata, spec: { ...record.spec, image } }),
    );
  };
  const on = async (node: string) =>
    (await Array.fromAsync(world.backend.listImages(world.node(node), signal)))
      .flatMap(({ references }) => references)
      .filter((each) => each.startsWith('proxmox:guest/'))
      .toSorted();
  await until(() => world.backend.guests('lab').length === 2, { what: 'both are listed' });
  expect(await on('pve1')).toEqual([]);
  await name('one', `proxmox:guest/${localVmid}`);
  await name('two', `proxmox:guest/${sharedVmid}@before@sha256:${'a'.repeat(64)}`);
  await name('odd', 'proxmox:guest/none');
  const both = [`proxmox:guest/${localVmid}`, `proxmox:guest/${sharedVmid}@before`].toSorted();
  await until(async () => (await on('pve1')).length === 2, { what: 'both are told', deadlineMs: 20_000 });
  expect(await on('pve1')).toEqual(both);
  expect(await on('pve3')).toEqual([`proxmox:guest/${sharedVmid}@before`]);
  await world.store.transact((tx) =>
    tx.put('cluster-guest', local.instanceId, {
      ...tx.get('cluster-guest', local.instanceId),
      adopted: true,
    } as never),
  );
  expect(await on('pve1')).toEqual([`proxmox:guest/${sharedVmid}@before`]);
  // Another copy of it, beside the one that it is.
  await name('three', `proxmox:guest/${localVmid}`);
  expect(await on('pve1')).toEqual(both);
});

it('nothing takes the place of what was adopted: it is not copied for that', async () => {
  await using world = await openQuickWorld();
  const source = await runGuest(world, { ...container, rootPool: '' });
  const vmid = vmidOf(world, source.instanceId);
  const spec = copyOf({ ...container, rootPool: '' }, vmid, `@${adoptedIdentity('lab', vmid)}`);
  await toldOf(world, spec, new RegExp(`guest ${vmid} was adopted: nothing takes its place`));
  expect(clones(world)).toBe(0);
});
