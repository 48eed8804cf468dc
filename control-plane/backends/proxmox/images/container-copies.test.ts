/** Containers made from a template of their cluster. */
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { InstanceSpec } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { bridged } from '../../../../test/fakes/cluster-networks.ts';
import {
  container,
  guestOf,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
  specOf,
  storedTemplate,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import { openClusterApi } from '../api/api.ts';
import type { ClusterApi } from '../cluster-api.ts';
import type { GuestPlace } from '../guests/guest-kind.ts';
import { createTasks } from '../tasks/tasks.ts';

const { signal } = new AbortController();
const versions = ['8.4.21', '9.2.11'] as const;

const eth0 = bridged();
const copy: InstanceSpec = {
  ...container,
  image: 'proxmox:template/base',
  rootPool: '',
  displayName: 'web-x7k2p',
  network: 'bridged',
  assigned: { ...emptyAssignment, attachments: [eth0] },
};

/** Made by somebody else on pve1: number 9000 unless told, called "base". */
const makeTemplate = (world: ProxmoxWorld, storage = 'local', vmid = 9000): Promise<void> =>
  withCluster(world, vmid, async (api, place) => {
    const made = await api.call(
      'POST /nodes/{node}/lxc',
      {
        ...place,
        ostemplate: storedTemplate.replace('proxmox:', ''),
        hostname: 'base',
        unprivileged: true,
        memory: 128,
        rootfs: `${storage}:1`,
        net0: { name: 'eth0', bridge: 'vmbr0', hwaddr: 'BC:24:11:00:00:01', ip: 'dhcp' },
        tags: 'golden',
        description: 'the base of all',
      },
      { signal },
    );
    await createTasks({ cluster: 'lab', api, clock: systemClock }).wait(String(made), { signal });
    await api.call('POST /nodes/{node}/lxc/{vmid}/template', place, { signal });
  });

/** A pool on each node whose templates copies can hang on. */
const withPool = ({ server }: ProxmoxWorld): void => {
  server.world.storages.add({ id: 'tank', type: 'zfspool', content: ['images', 'rootdir'] });
};

/** A machine, number 9100. */
const makeMachineTemplate = (world: ProxmoxWorld, name: string): Promise<void> =>
  withCluster(world, 9100, async (api, place) => {
    const made = await api.call('POST /nodes/{node}/qemu', { ...place, name, scsi0: 'local:1' }, { signal });
    await createTasks({ cluster: 'lab', api, clock: systemClock }).wait(String(made), { signal });
    await api.call('POST /nodes/{node}/qemu/{vmid}/template', place, { signal });
  });

async function withCluster(
  world: ProxmoxWorld,
  vmid: number,
  act: (api: ClusterApi, place: GuestPlace) => Promise<void>,
): Promise<void> {
  const api = openClusterApi('lab', specOf(world.server), { clock: systemClock, random: systemRandom });
  try {
    await act(api, { node: 'pve1', vmid });
  } finally {
    await api.close();
  }
  await until(() => world.server.world.guests.get(vmid)?.config.template === '1', { what: 'a template' });
  world.server.world.broadcasts.tell();
  await until(() => world.backend.guests('lab').some((each) => each.vmid === vmid && each.template), {
    what: 'a template in the list',
  });
}

const copies = ({ server }: ProxmoxWorld): number =>
  server.requests.list().filter((each) => /^POST .*\/clone$/.test(each)).length;

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
}

describe.each(versions)('containers made from a template on %s', (version) => {
  it('are full copies that become what their spec says, and change, and leave it behind', async () => {
    await using world = await openQuickWorld({ version });
    await makeTemplate(world);
    const { digest } = await world.backend.resolveImage(world.node('pve1'), copy.image, '', signal);
    const spec = { ...copy, image: `${copy.image}@${digest}` };
    const order = await runGuest(world, spec);
    const guest = guestOf(world, order.instanceId);
    expect(guest).toMatchObject({ kind: 'lxc', node: 'pve1', status: 'running' });
    expect(guest.config).toMatchObject({
      hostname: 'web-x7k2p',
      memory: '64',
      cores: '1',
      unprivileged: '1',
    });
    expect(guest.config['template']).toBeUndefined();
    expect(guest.config['tags']).toMatch(/^drover-[0-9a-f]{12}$/);
    expect(guest.config['description']).toContain(`drover:instance=${order.instanceId}`);
    expect(guest.config['net0']).toMatch(/hwaddr=/);
    expect(guest.config['net0']).not.toContain('BC:24:11:00:00:01');
    expect(guest.config['rootfs']).toMatch(new RegExp(`^local:${guest.vmid}/.*size=1G$`));

    const resources = { ...spec.resources, memoryMib: 96, diskMib: 2048 };
    await world.backend.ensureInstance({ ...order, generation: 2 }, { ...spec, resources }, signal);
    await until(() => phaseOf(world, order.instanceId) === 'running 2', { what: 'changed' });
    expect(guest.config).toMatchObject({
      memory: '96',
      rootfs: expect.stringMatching(/size=2G/) as string,
    });
    expect(copies(world)).toBe(1);

    await world.backend.removeInstance({ ...order, generation: 3 }, 0, signal);
    expect([...world.server.world.guests.keys()]).toEqual([9000]);
    expect(world.server.world.guests.get(9000)?.config).toMatchObject({ template: '1', memory: '128' });
  });

  it('are made once, also where the answer to it is lost while the copy is under way', async () => {
    await using world = await openQuickWorld({ version, pace: 6 });
    await makeTemplate(world);
    world.server.faults.loseAnswer('POST /nodes/{node}/lxc/{vmid}/clone');
    const order = await runGuest(world, copy);
    expect(copies(world)).toBe(1);
    expect(world.server.world.guests.size).toBe(2);
    expect(guestOf(world, order.instanceId).config['tags']).toContain('drover-');
  });

  it('lose the protection of their template before they get data volumes', async () => {
    await using world = await openQuickWorld({ version });
    await makeTemplate(world);
    const template = world.server.world.guests.get(9000);
    if (template !== undefined) template.config['protection'] = '1';
    const volumes = [
      { name: 'data', mountPath: '/data', sizeMib: 1024, pool: 'local', readOnly: false, keep: false },
    ];
    const { instanceId } = await runGuest(world, { ...copy, volumes });
    const { config } = guestOf(world, instanceId);
    expect(config['protection']).toBeUndefined();
    expect(config['mp0']).toMatch(/^local:.*mp=\/data/);
    expect(template?.config['protection']).toBe('1');
  });

  it('are made one after another, since a template is locked while it is copied', async () => {
    await using world = await openQuickWorld({ version });
    await makeTemplate(world);
    await Promise.all([1, 2, 3].map(() => runGuest(world, copy)));
    expect(copies(world)).toBe(3);
    expect(world.server.world.guests.size).toBe(4);
  });

  it('are made again where the order for it never came', async () => {
    await using world = await openQuickWorld({ version });
    await makeTemplate(world);
    world.server.faults.cut('POST /nodes/{node}/lxc/{vmid}/clone');
    await runGuest(world, copy);
    expect(copies(world)).toBe(2);
    expect(world.server.world.guests.size).toBe(2);
  });

  it('are told as images where they can be copied, at the cost of one look at each', async () => {
    await using world = await openQuickWorld({ version });
    await makeTemplate(world, 'shared');
    await makeTemplate(world, 'local', 9001);
    world.server.requests.reset();
    const on = async (node: string) =>
      (await Array.fromAsync(world.backend.listImages(world.node(node), signal)))
        .filter(({ references }) => references.some((each) => each.startsWith('proxmox:template/')))
        .map(({ references }) => references);
    const [shared, local] = ['9000', '9001'].map((vmid) => [
      'proxmox:template/base',
      `proxmox:template/${vmid}`,
    ]);
    expect(await on('pve1')).toEqual([shared, local]);
    for (const node of ['pve2', 'pve3', 'pve2']) expect(await on(node)).toEqual([shared]);
    const looks = world.server.requests.list().filter((each) => /^GET .*\/900\d\/config/.test(each));
    expect(looks).toHaveLength(2);
    const { digest } = await world.backend.resolveImage(
      world.node('pve1'),
      'proxmox:template/9001',
      '',
      signal,
    );
    await expect(world.backend.removeImage(world.node('pve1'), digest, signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
    });
    expect(world.server.world.guests.has(9001)).toBe(true);
  });

  it('lie on another node where their storage is shared, and are told why not elsewhere', async () => {
    await using world = await openQuickWorld({ version });
    await makeTemplate(world, 'shared');
    const { instanceId } = await runGuest(world, copy, 'pve2');
    expect(guestOf(world, instanceId)).toMatchObject({ node: 'pve2', status: 'running' });
    await makeTemplate(world, 'local', 9001);
    await toldOf(world, { ...copy, image: 'proxmox:template/9001' }, /on pve1, with disks on local/, 'pve2');
    expect(copies(world)).toBe(1);
    expect(world.server.world.guests.size).toBe(3);
  });

  it('share their disks with it where they are to and its storage can', async () => {
    await using world = await openQuickWorld({ version });
    withPool(world);
    await makeTemplate(world, 'tank');
    const linked = { ...copy, cluster: { ...plainClusterOptions, clone: 'linked' as const } };
    const { instanceId } = await runGuest(world, linked);
    const guest = guestOf(world, instanceId);
    const volid = guest.config.rootfs?.split(',')[0] ?? '';
    expect(world.server.world.storages.find(volid, 'pve1')?.parent).toMatch(/^tank:/);
    expect(guest.config).toMatchObject({ hostname: 'web-x7k2p', memory: '64' });
    expect(guest.config['tags']).toMatch(/^drover-[0-9a-f]{12}$/);
  });

  it('are refused by name where they cannot share them, before anything is made', async () => {
    await using world = await openQuickWorld({ version });
    withPool(world);
    await makeTemplate(world);
    await makeTemplate(world, 'tank', 9001);
    const cluster = { ...plainClusterOptions, clone: 'linked' as const };
    const of = (vmid: number) => ({ ...copy, cluster, image: `proxmox:template/${vmid}` });
    await toldOf(world, of(9000), /no container can be linked to template 9000: its disks are on local/);
    await toldOf(
      world,
      { ...of(9001), rootPool: 'local' },
      /where its template is, on tank, and root\.pool says/,
    );
    await toldOf(
      world,
      of(9001),
      /container 9001 is on pve1, with disks on tank, which is not shared/,
      'pve2',
    );
    await expect(
      world.backend.ensureInstance(world.order('pve1'), { ...container, cluster }, signal),
    ).rejects.toMatchObject({
      kind: 'unimplemented',
      message: expect.stringContaining('cluster.clone: only a copy of a template') as string,
    });
    expect(copies(world)).toBe(0);
  });

  it('are no machines, and machines no containers: the other kind of template is refused by name', async () => {
    await using world = await openQuickWorld({ version });
    await makeTemplate(world);
    await toldOf(
      world,
      { ...machine, image: copy.image, rootPool: '' },
      /template base is one of containers/,
    );
    expect(copies(world)).toBe(0);
    await makeMachineTemplate(world, 'disk');
    for (const name of ['disk', '9100'])
      await toldOf(
        world,
        { ...copy, image: `proxmox:template/${name}` },
        new RegExp(`template ${name} is one of virtual machines`),
      );
    expect(copies(world)).toBe(0);
  });

  it('are named by number where a machine has the name too', async () => {
    await using world = await openQuickWorld({ version });
    await makeTemplate(world);
    await makeMachineTemplate(world, 'base');
    const pinned = async (image: string) => {
      const { digest } = await world.backend.resolveImage(world.node('pve1'), image, '', signal);
      return { ...copy, image: `${image}@${digest}` };
    };
    await toldOf(world, await pinned(copy.image), /templates of both kinds are called base/);
    const { instanceId } = await runGuest(world, await pinned('proxmox:template/9000'));
    expect(guestOf(world, instanceId)).toMatchObject({ kind: 'lxc', status: 'running' });
  });

  it('have no keys of their own, which a copy cannot be given', async () => {
    await using world = await openQuickWorld({ version });
    await makeTemplate(world);
    const sshKeys = ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID8mCV2DVlBNB7jB8zuoBClkbgBx0CRC5BD1oSNxIfD a@b'];
    const asked = { ...copy, cluster: { ...plainClusterOptions, sshKeys } };
    await expect(world.backend.ensureInstance(world.order('pve1'), asked, signal)).rejects.toMatchObject({
      kind: 'unimplemented',
      message: expect.stringContaining('cluster.sshKeys') as string,
    });
  });
});
