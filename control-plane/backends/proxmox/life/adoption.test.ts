/** Guests that were there before us: what they would be, our mark on them, and off again. */
import { randomUUIDv7 } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { InstanceId, Network } from '#shared/model.ts';
import { bridgedNetwork } from '../../../../test/fakes/cluster-networks.ts';
import { adoptGuest } from '../../../store/adopt-guest.ts';
import { forgetGuest } from '../../../store/put-cluster-guest.ts';
import { claimTemplate, patchTemplate } from '../../../store/put-cluster-template.ts';
import { releaseGuest } from '../../../store/release-guest.ts';
import { spareAdopted } from '../../../store/spare-adopted.ts';
import { begin } from '../../../../test/fakes/proxmox/guest-life.ts';
import { openQuickWorld, phaseOf, type ProxmoxWorld } from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import { tagOf } from '../identity/marks.ts';

const { signal } = new AbortController();
const wish = { project: 'default', name: 'web', replicas: 0 } as const;

const network = bridgedNetwork([
  { cidr: '10.99.86.0/24', gateway: '10.99.86.1', first: '10.99.86.100', last: '10.99.86.200' },
]);

const found = {
  lxc: {
    hostname: 'old-web',
    arch: 'amd64',
    cores: '2',
    cpulimit: '1.5',
    memory: '256',
    swap: '128',
    rootfs: 'local:105/vm-105-disk-0.raw,size=4G',
    net0: 'name=eth0,bridge=vmbr0,gw=10.99.86.1,hwaddr=BC:24:11:36:25:2B,ip=10.99.86.120/24,type=veth',
    ostype: 'alpine',
    unprivileged: '1',
    onboot: '1',
    tags: 'prod;web',
    description: 'made by hand\nsecond line: ä & = ?\n',
  },
  qemu: {
    name: 'old-db',
    cores: '2',
    memory: '512',
    scsihw: 'virtio-scsi-single',
    scsi0: 'local:106/vm-106-disk-0.qcow2,size=4G',
    boot: 'order=scsi0',
    net0: 'virtio=BC:24:11:B7:01:76,bridge=vmbr0',
    ostype: 'l26',
    onboot: '1',
    tags: 'prod',
    description: 'made by hand',
  },
} as const;

async function withGuest(kind: 'lxc' | 'qemu') {
  const world = await openQuickWorld();
  await world.store.transact((tx) => tx.put('network', network.metadata.id, networkFor(kind)));
  const vmid = kind === 'lxc' ? 105 : 106;
  const model = world.server.world;
  const guest = model.newGuest({ vmid, kind, node: 'pve2', config: { ...found[kind] } });
  model.guests.set(vmid, guest);
  const disk = Object.values(found[kind]).find((text) => text.startsWith('local:')) ?? '';
  const [volid = ''] = disk.split(',');
  const [content, format] = kind === 'lxc' ? ['rootdir', 'raw'] : ['images', 'qcow2'];
  model.storages
    .volumes('local', 'pve2')
    .set(volid, { volid, content, format, sizeBytes: 4 * 1024 ** 3, vmid });
  begin(model, guest);
  await until(
    () =>
      world.backend.guests('lab').find((each) => each.vmid === vmid)?.status === 'running' &&
      world.backend.guests('lab').find((each) => each.vmid === vmid)?.name !== '',
    { what: 'it is listed' },
  );
  return { world, guest, vmid };
}

/** Without cloud-init nothing tells a machine its address: it is in a network that gives out none. */
const networkFor = (kind: 'lxc' | 'qemu'): Network =>
  kind === 'lxc' ? network : { ...network, spec: { ...network.spec, subnets: [] } };

const withoutDigest = (config: Readonly<Record<string, unknown>>) => {
  const { digest: _digest, ...rest } = config;
  return rest;
};

/** As the interface does it: the records first, then the mark. */
async function adopt(world: ProxmoxWorld, vmid: number) {
  const { store, backend } = world;
  const { spec, macs, guest, digest, obstacles } = await backend.inspectGuest('lab', vmid, signal);
  expect(obstacles).toEqual([]);
  const document = {
    project: 'default',
    name: 'web',
    labels: {},
    annotations: {},
    expectedRevision: 0,
    spec,
  };
  const { node, kind } = guest;
  const { result } = await store.transact((tx) =>
    adoptGuest(
      tx,
      {
        document,
        guest: { cluster: 'lab', vmid, kind, node },
        macs,
        caller: 'test',
        newId: () => randomUUIDv7(),
      },
      1,
    ),
  );
  const id = result.metadata.id as InstanceId;
  const instance = { id, generation: 1, displayName: result.metadata.name };
  return {
    instance: result,
    id,
    mark: () => backend.adopt({ cluster: 'lab', vmid, digest }, instance, signal),
  };
}

for (const kind of ['lxc', 'qemu'] as const) {
  describe(`a guest of before, ${kind}`, () => {
    it('becomes an instance with nothing written to it but our mark, and is itself again when released', async () => {
      const { world, guest, vmid } = await withGuest(kind);
      await using _ = world;
      const before = withoutDigest(guest.config);
      const { id, instance, mark } = await adopt(world, vmid);
      const mac = /\b[0-9A-F]{2}(?::[0-9A-F]{2}){5}\b/i.exec(String(before['net0']))?.[0].toLowerCase();
      expect(mac).toBeDefined();
      expect(instance.spec.assigned.attachments.map((each) => each.mac)).toEqual([mac]);
      world.server.requests.reset();
      await mark();
      const { description, tags, ...rest } = withoutDigest(guest.config) as Record<string, string>;
      const { description: said, tags: had, ...restBefore } = before as Record<string, string>;
      expect(rest).toEqual(restBefore);
      expect(description).toContain(`${said?.trimEnd()}\ndrover:instance=${id}`);
      expect(tags?.split(';').toSorted()).toEqual([...(had ?? '').split(';'), tagOf(id)].toSorted());
      await until(() => phaseOf(world, id) === 'running 1', { what: 'told as running' });
      // The order of its generation finds nothing to do.
      const order = { ...world.order('pve2'), instanceId: id, generation: 1 };
      await world.backend.ensureInstance(order, instance.spec, signal);
      await until(
        () => world.server.requests.list().filter((each) => /cluster\/status/.test(each)).length > 4,
        {
          what: 'some polls',
        },
      );
      const writes = world.server.requests.list().filter((each) => /^(POST|PUT|DELETE) /.test(each));
      expect(writes).toEqual([`PUT /nodes/pve2/${kind}/${vmid}/config`]);

      await world.store.transact((tx) => releaseGuest(tx, { id, project: 'default', caller: 'test' }, 2));
      for (const _again of [1, 2]) await world.backend.release(order, signal);
      await world.store.transact((tx) => forgetGuest(tx, id));
      expect({ ...withoutDigest(guest.config), description: guest.config['description']?.trimEnd() }).toEqual(
        {
          ...before,
          description: said?.trimEnd(),
        },
      );
      expect(guest.status).toBe('running');
    });

    it('is not marked where somebody changed it since it was looked at', async () => {
      const { world, guest, vmid } = await withGuest(kind);
      await using _ = world;
      const { mark } = await adopt(world, vmid);
      guest.config = { ...guest.config, memory: '300' };
      await expect(mark()).rejects.toMatchObject({ kind: 'aborted', reason: 'digest' });
      expect(guest.config['tags']).toBe(found[kind].tags);
    });

    it('is marked once, also where the answer was lost', async () => {
      const { world, guest, vmid } = await withGuest(kind);
      await using _ = world;
      const { id, mark } = await adopt(world, vmid);
      world.server.faults.loseAnswer(`PUT /nodes/{node}/${kind}/{vmid}/config`);
      await mark();
      expect(guest.config['description']?.match(/drover:instance=/g)).toHaveLength(1);
      expect(guest.config['tags']?.split(';').filter((tag) => tag === tagOf(id))).toHaveLength(1);
    });

    it('is seen by the list of all, though its number was that of a template that is gone', async () => {
      const { world, vmid } = await withGuest(kind);
      await using _ = world;
      const source = { node: 'pve1', vmid: 300, snapshot: '' };
      await world.store.transact((tx) =>
        claimTemplate(tx, { cluster: 'lab', name: 'golden', kind, source, chooseVmid: () => vmid }, 1),
      );
      await world.store.transact((tx) =>
        patchTemplate(tx, 'lab/golden', 'making', { state: 'ready', message: '' }, 1),
      );
      const { id, mark } = await adopt(world, vmid);
      await mark();
      await until(() => phaseOf(world, id) === 'running 1', { what: 'told as running' });
      const requests = () => world.server.requests.list();
      const lists = () => requests().filter((each) => each.endsWith('cluster/resources')).length;
      // The first while what we saw ourselves counts for more.
      for (const least of [5, 3]) {
        world.server.requests.reset();
        await until(() => lists() > least, { what: 'some lists', deadlineMs: 20_000 });
      }
      expect(requests()).not.toContain(`GET /nodes/pve2/${kind}/${vmid}/config`);
    });

    it('changes as its spec changes, and nothing else of it does', async () => {
      const { world, guest, vmid } = await withGuest(kind);
      await using _ = world;
      const { id, instance, mark } = await adopt(world, vmid);
      await mark();
      const before = { ...guest.config };
      const spec = { ...instance.spec, resources: { ...instance.spec.resources, memoryMib: 768 } };
      const order = { ...world.order('pve2'), instanceId: id, generation: 2 };
      await world.backend.ensureInstance(order, spec, signal);
      await until(() => phaseOf(world, id) === 'running 2', { what: 'running as of generation 2' });
      expect(withoutDigest(guest.config)).toEqual({ ...withoutDigest(before), memory: '768' });
    });
  });
}

describe('a release that a crash of ours cut short', () => {
  it('leaves a guest that nobody acts on, and that can be adopted again', async () => {
    const { world, guest, vmid } = await withGuest('lxc');
    await using _world = world;
    const { id, mark } = await adopt(world, vmid);
    await mark();
    await until(() => phaseOf(world, id) === 'running 1', { what: 'it is ours' });
    await world.store.transact((tx) => releaseGuest(tx, { id, project: 'default', caller: 'test' }, 2));
    // Its mark is on it still. Somebody stops it.
    guest.status = 'stopped';
    const listed = () => world.backend.guests('lab').find((each) => each.vmid === vmid)?.status;
    await until(() => listed() === 'stopped', { what: 'it is seen' });
    expect(world.server.requests.list().filter((each) => each.endsWith('/status/start'))).toEqual([]);
    begin(world.server.world, guest);
    await until(() => listed() === 'running', { what: 'it runs again' });
    const { mark: markAgain, id: other } = await adopt(world, vmid);
    await markAgain();
    expect(guest.config['tags']).toContain(tagOf(other));
    expect(guest.config['tags']).not.toContain(tagOf(id));
  });
});

describe.each(['lxc', 'qemu'] as const)('an adopted guest whose instance goes, %s', (kind) => {
  it('runs on without our mark, where nobody said that it is to go too', async () => {
    const { world, guest, vmid } = await withGuest(kind);
    await using _world = world;
    const { id, mark, instance } = await adopt(world, vmid);
    await mark();
    await until(() => phaseOf(world, id) === 'running 1', { what: 'it is ours' });
    const before = world.server.requests.list().filter((each) => !each.startsWith('GET ')).length;
    const order = world.order('pve2', { instanceId: id, generation: instance.metadata.generation + 1 });
    await world.backend.removeInstance(order, 0, signal);
    await until(() => world.state(id) === 'absent', { what: 'told absent' });
    const writes = world.server.requests.list().filter((each) => !each.startsWith('GET '));
    expect(writes.slice(before)).toEqual([expect.stringMatching(/^PUT .*\/config$/)]);
    expect(guest.status).toBe('running');
    expect(guest.config['tags']).toBe(found[kind].tags);
    expect(guest.config.description).not.toContain('drover:');
    const events = world.store.snapshot().list('event');
    expect(events.findLast(({ type }) => type === 'guest.released')?.message).toContain('runs on by itself');
    // And it can be adopted once more.
    expect((await world.backend.inspectGuest('lab', vmid, signal)).obstacles).toEqual([]);
  });

  it('goes with its disks, where somebody said so', async () => {
    const { world, vmid } = await withGuest(kind);
    await using _world = world;
    const { id, mark } = await adopt(world, vmid);
    await mark();
    await until(() => phaseOf(world, id) === 'running 1', { what: 'it is ours' });
    await world.store.transact((tx) => spareAdopted(tx, { ...wish, destroyAdopted: true }, 2));
    const order = world.order('pve2', { instanceId: id, generation: 2 });
    await world.backend.removeInstance(order, 0, signal);
    expect(world.server.world.guests.has(vmid)).toBe(false);
  });
});
