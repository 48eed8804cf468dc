/** How little is enough to work with a cluster: one address, one certificate, and just the documented rights. */
import { createHash, randomUUIDv7 } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Digest, InstanceSpec, SnapshotId, VolumeId } from '#shared/model.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { bridged } from '../../../../test/fakes/cluster-networks.ts';
import { documentedToken } from '../../../../test/documented-token.ts';
import type { ProxmoxServer } from '../../../../test/fakes/proxmox-server.ts';
import { container, machine, openQuickWorld, phaseOf, runGuest } from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';

const { signal } = new AbortController();
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const eth0 = bridged({ addresses: ['10.99.86.120/24'], gateways: ['10.99.86.1'] });
/** What takes a right of its own: an interface, names to look up, tags, a data volume. */
const wide = (spec: InstanceSpec): InstanceSpec => ({
  ...spec,
  network: 'bridged',
  dns: { servers: ['10.99.86.1'], search: ['example.test'], options: [] },
  startOrder: 2,
  cluster: { ...plainClusterOptions, tags: ['web'] },
  volumes: [{ name: 'data', mountPath: '/data', sizeMib: 1024, pool: '', readOnly: false, keep: false }],
  assigned: {
    ...emptyAssignment,
    attachments: [eth0],
    volumes: [{ name: 'data', volumeId: randomUUIDv7() as VolumeId }],
  },
});

const byToken = { reachedBy: ({ world }: ProxmoxServer) => documentedToken(world) };

describe.each(['8.4.21', '9.2.11'] as const)('the documented token on %s', (version) => {
  it.each([
    {
      kind: 'a container',
      spec: { ...wide(container), security: { ...container.security, nesting: true } },
    },
    {
      kind: 'a machine',
      // For which a machine's token needs more.
      spec: {
        ...wide(machine),
        startOrder: 0,
        vm: { ...plainVmOptions, cloudInit: { user: 'admin', sshKeys: [] } },
      },
    },
  ])('may do all that is done with $kind', async ({ spec: plain }) => {
    const spec = { ...plain, rootPool: plain.runtime === 'proxmox-lxc' ? 'btr' : 'local' };
    await using world = await openQuickWorld({ version, ...byToken });
    const { backend } = world;
    expect(backend.status('lab')?.rights.filter(({ granted, optional }) => !granted && !optional)).toEqual(
      [],
    );
    const order = await runGuest(world, spec);
    const resources = { ...spec.resources, memoryMib: 96, diskMib: 5120, cpuMillicores: 1500 };
    await backend.ensureInstance({ ...order, generation: 2 }, { ...spec, resources }, signal);
    await until(() => phaseOf(world, order.instanceId) === 'running 2', {
      what: 'changed',
      deadlineMs: 20_000,
    });
    const snapshot = { id: randomUUIDv7() as SnapshotId, name: 'first' };
    await backend.createSnapshot(order, snapshot, signal);
    await backend.rollbackSnapshot(order, snapshot.id, signal);
    await backend.removeSnapshot(order, snapshot.id, signal);
    expect((await backend.consoleTicket(order, signal)).ticket).not.toBe('');
    await backend.stopInstance({ ...order, generation: 3 }, 1000, signal);
    await backend.removeInstance({ ...order, generation: 4 }, 0, signal);
    expect(world.server.world.guests.size).toBe(0);

    const other = await runGuest(world, {
      ...plain,
      volumes: [],
      assigned: emptyAssignment,
      rootPool: 'shared',
    });
    await backend.migrate(other, world.node('pve3'), signal);
    await backend.removeInstance(other, 0, signal);
    expect(world.server.world.guests.size).toBe(0);
  });

  it('may give a machine its turn at boot once it may change the node, and is told so', async () => {
    await using world = await openQuickWorld({ version, ...byToken });
    const spec = { ...machine, startOrder: 2 };
    const order = world.order('pve1');
    const { instanceId } = order;
    await world.backend.ensureInstance(order, spec, signal);
    const isTold = () => {
      const now = world.state(instanceId);
      return typeof now === 'object' && now.message.includes('(/, Sys.Modify)');
    };
    await until(isTold, { what: 'what is missing' });
    expect(world.server.world.guests.size).toBe(0);
    world.server.world.access.roles.get('Drover')?.privileges.add('Sys.Modify');
    await world.backend.ensureInstance({ ...order, generation: 2 }, spec, signal);
    await until(() => phaseOf(world, instanceId) === 'running 2', { what: 'running' });
  });

  it('may make copies of templates, and bring images from the net and from here', async () => {
    await using world = await openQuickWorld({ version, ...byToken });
    const { backend, server } = world;
    const scsi0 = 'shared:900/base-900-disk-0.qcow2,size=2G';
    const config = { name: 'debian', memory: '512', cores: '1', scsi0, template: '1' };
    server.world.guests.set(900, server.world.newGuest({ vmid: 900, kind: 'qemu', node: 'pve1', config }));
    server.world.broadcasts.tell();
    await until(() => backend.guests('lab').some(({ template }) => template), { what: 'a template' });
    await runGuest(world, { ...machine, image: 'proxmox:template/debian', rootPool: '' });

    const node = world.node('pve1');
    const url = 'https://images.example/other.tar.xz';
    const other = 'another root file system';
    server.world.internet.files.set(url, Buffer.from(other));
    const folder = await mkdtemp(path.join(tmpdir(), 'drover-rights-'));
    try {
      const file = path.join(folder, 'rootfs.tar.xz');
      await writeFile(file, 'a root file system');
      const fromHere = `tar:${file}@sha256:${sha256('a root file system')}`;
      for (const reference of [fromHere, `${url}@sha256:${sha256(other)}`])
        expect(
          (await Array.fromAsync(backend.pullImage(node, { reference, credential: '' }, signal))).at(-1),
        ).toMatchObject({ done: true });
    } finally {
      await rm(folder, { recursive: true });
    }
    await expect(
      backend.removeImage(node, `sha256:${sha256(other)}` as Digest, signal),
    ).rejects.toMatchObject({
      message: 'Permission check failed (/storage/shared, Datastore.Allocate)',
    });
    for (const method of ['upload', 'download-url'])
      expect(server.requests.list().filter((each) => each.endsWith(`/${method}`))).toHaveLength(1);
  });
});

it('may be narrow: some storages, one bridge, and no more of the rest than is to be seen', async () => {
  await using world = await openQuickWorld({
    reachedBy: ({ world: { access } }) => {
      const token = documentedToken({ access }, [
        '/vms',
        '/nodes',
        '/storage/local',
        '/sdn/zones/localnetwork/vmbr0',
      ]);
      access.roles.set('Sees', { privileges: new Set(['Sys.Audit']), special: false });
      for (const subject of ['drover@pve', 'drover@pve!fleet']) access.grant(subject, '/', 'Sees');
      return token;
    },
  });
  const { backend } = world;
  expect(backend.status('lab')?.message).toBe('');
  const order = await runGuest(world, wide(container));
  await backend.removeInstance(order, 0, signal);
  const elsewhere = world.order('pve1');
  await backend.ensureInstance(elsewhere, { ...container, rootPool: 'shared' }, signal);
  await until(() => phaseOf(world, elsewhere.instanceId) === 'failed 1', { what: 'failed' });
  expect(world.state(elsewhere.instanceId)).toMatchObject({
    message: expect.stringContaining('wanted storage shared for "rootdir" on pve1, found local') as string,
  });
});

it('is told why where the datacenter lets nobody set tags', async () => {
  await using world = await openQuickWorld({ nodes: ['pve1'], ...byToken });
  world.server.world.options['user-tag-access'] = 'user-allow=existing';
  const order = world.order('pve1');
  await world.backend.ensureInstance(order, container, signal);
  await until(() => phaseOf(world, order.instanceId) === 'failed 1', { what: 'failed' });
  expect(world.state(order.instanceId)).toMatchObject({
    message: expect.stringMatching(/Sys\.Modify for modifying tag 'drover-[0-9a-f]{12}'/) as string,
  });
  expect(world.server.world.guests.size).toBe(0);
});

describe('one address', () => {
  it('with the fingerprint of one node is enough to learn the others by, which serve when it is gone', async () => {
    await using world = await openQuickWorld({
      reachedBy: (server) => ({
        endpoints: [server.endpoints.get('pve1') ?? ''],
        trust: { kind: 'fingerprints', sha256: [server.fingerprints().get('pve1') ?? ''] },
      }),
    });
    const { backend, server } = world;
    const addresses = () =>
      backend
        .status('lab')
        ?.endpoints.map(({ address }) => address)
        .toSorted();
    await until(() => addresses()?.length === 3, { what: 'three addresses' });
    expect(addresses()).toEqual([...server.endpoints.values()].toSorted());
    const order = await runGuest(world, container, 'pve2');
    await server.faults.killNode('pve1');
    await until(
      () => world.seen.some((one) => one.kind === 'disconnected' && one.node === world.node('pve1')),
      {
        what: 'its first node is seen to be gone',
        deadlineMs: 20_000,
      },
    );
    expect(backend.status('lab')).toMatchObject({ connected: true });
    await backend.stopInstance(order, 0, signal);
    expect([...server.world.guests.values()]).toMatchObject([{ status: 'stopped' }]);
  });
});
