import { describe, expect, it } from 'vitest';
import type { GuestWorld } from './guest-world.ts';
import { createGuestWorld } from './guest-world.ts';

/** A world whose caller has these privileges on everything, and a container 100 and a machine 200. */
async function worldFor(privileges: readonly string[]): Promise<GuestWorld> {
  const cluster = createGuestWorld();
  const { template, world } = cluster;
  await cluster.run('POST', '/nodes/pve1/lxc', { vmid: 100, ostemplate: template, rootfs: 'local:1' });
  await cluster.run('POST', '/nodes/pve1/qemu', { vmid: 200, scsi0: 'local:1', net0: 'virtio,bridge=vmbr0' });
  world.access.addUser('alice@pve', 'secret-of-alice');
  world.access.roles.set('Some', { privileges: new Set(privileges), special: false });
  world.access.grant('alice@pve', '/', 'Some');
  cluster.become({ user: 'alice@pve', authId: 'alice@pve' });
  return cluster;
}

const denied = (what: string): object => ({ status: 403, message: `Permission check failed (${what})` });

describe('the rights that changes of guests need', () => {
  it.each([
    ['lxc', 100, { memory: 128 }, 'VM.Config.Memory'],
    ['lxc', 100, { cores: 1 }, 'VM.Config.CPU'],
    ['lxc', 100, { delete: 'net0' }, 'VM.Config.Network'],
    ['lxc', 100, { mp0: 'local:1,mp=/srv' }, 'VM.Config.Disk'],
    ['lxc', 100, { tags: 'a' }, 'VM.Config.Options'],
    ['qemu', 200, { ide2: 'none,media=cdrom' }, 'VM.Config.CDROM'],
    ['qemu', 200, { ciuser: 'me' }, 'VM.Config.Cloudinit|VM.Config.Network'],
    ['qemu', 200, { machine: 'q35' }, 'VM.Config.HWType'],
    ['qemu', 200, { bios: 'ovmf' }, 'VM.Config.Options'],
    ['qemu', 200, { boot: 'order=scsi0' }, 'VM.Config.Disk'],
    ['qemu', 200, { serial0: 'socket' }, 'VM.Config.HWType'],
    ['qemu', 200, { ide2: 'local:cloudinit' }, 'VM.Config.Cloudinit'],
    ['qemu', 200, { description: 'x' }, 'VM.Config.Options'],
  ])('%s %i %j', async (kind, vmid, change, privilege) => {
    const cluster = await worldFor(['VM.Audit']);
    const put = cluster.call('PUT', `/nodes/pve1/${kind}/${vmid}/config`, change);
    await expect(put).rejects.toMatchObject(denied(`/vms/${vmid}, ${privilege}`));
  });

  it.each([
    ['free', '', undefined],
    ['free', 'mine', "/, Sys.Modify for modifying tag 'mine'"],
    ['existing', '', "/, Sys.Modify for modifying tag 'mine'"],
    ['none', '', "/, Sys.Modify for modifying tag 'mine'"],
    ['list,user-allow-list=mine;yours', '', undefined],
    ['none,user-allow-list=mine;yours', '', "/, Sys.Modify for modifying tag 'mine'"],
  ])('asks for tags where user-allow=%s and "%s" is registered', async (allow, registered, refused) => {
    const cluster = await worldFor(['VM.Audit', 'VM.Config.Options']);
    cluster.world.options['user-tag-access'] = `user-allow=${allow}`;
    cluster.world.options['registered-tags'] = registered;
    const put = cluster.call('PUT', '/nodes/pve1/lxc/100/config', { tags: 'mine' });
    if (refused === undefined) expect(await put).toBeNull();
    else await expect(put).rejects.toMatchObject(denied(refused));
    cluster.world.access.roles.get('Some')?.privileges.add('Sys.Modify');
    expect(await cluster.call('PUT', '/nodes/pve1/lxc/100/config', { tags: 'mine' })).toBeNull();
  });

  it.each([
    ['an unprivileged container', 1, { features: 'nesting=1' }, '/vms/100, VM.Allocate'],
    ['a privileged one', 0, { features: 'nesting=1' }, 'changing feature flags for privileged'],
    ['an unprivileged container', 1, { features: 'keyctl=1' }, 'changing feature flags (except nesting)'],
    ['an unprivileged container', 1, { hookscript: 'local:snippets/x' }, 'changing the hookscript'],
  ])('asks for more for the features of %s (unprivileged=%i, %j)', async (_, unprivileged, change, words) => {
    const cluster = await worldFor(['VM.Audit', 'VM.Config.Options']);
    const guest = cluster.world.guests.get(100);
    if (guest !== undefined) guest.config['unprivileged'] = String(unprivileged);
    const put = () => cluster.call('PUT', '/nodes/pve1/lxc/100/config', change);
    await expect(put()).rejects.toMatchObject({ message: expect.stringContaining(words) as string });
    if (!words.endsWith('VM.Allocate')) return;
    cluster.world.access.roles.get('Some')?.privileges.add('VM.Allocate');
    expect(await put()).toBeNull();
  });

  it('asks for the bridge and the storage as well', async () => {
    const cluster = await worldFor(['VM.Config.Network', 'VM.Config.Disk']);
    const net = cluster.call('PUT', '/nodes/pve1/lxc/100/config', { net0: 'name=eth0,bridge=vmbr0' });
    await expect(net).rejects.toMatchObject(denied('/sdn/zones/localnetwork/vmbr0, SDN.Use'));
    const vlan = cluster.call('PUT', '/nodes/pve1/lxc/100/config', { net0: 'name=eth0,bridge=vmbr0,tag=40' });
    await expect(vlan).rejects.toMatchObject(denied('/sdn/zones/localnetwork/vmbr0/40, SDN.Use'));
    const disk = cluster.call('PUT', '/nodes/pve1/qemu/200/config', { scsi1: 'local:1' });
    await expect(disk).rejects.toMatchObject(denied('/storage/local, Datastore.AllocateSpace'));
    const backup = cluster.call('POST', '/nodes/pve1/vzdump', { vmid: '100' });
    await expect(backup).rejects.toMatchObject(denied('/vms/100, VM.Backup'));
  });

  it('asks for a change of the node where a machine gets its turn at boot, and for what is imported', async () => {
    const cluster = await worldFor(['VM.Audit', 'VM.Config.Options', 'VM.Config.Disk']);
    const put = (body: object) => cluster.call('PUT', '/nodes/pve1/qemu/200/config', { ...body });
    await expect(put({ startup: 'order=1' })).rejects.toMatchObject(denied('/, Sys.Modify'));
    const { world } = cluster;
    world.storages.add({ id: 'images', type: 'dir', content: ['import', 'iso'], path: '/mnt/images' });
    const scsi1 = 'local:0,import-from=images:import/a.qcow2';
    world.access.grant('alice@pve', '/storage/local', 'PVEDatastoreUser');
    const storage = 'Datastore.AllocateSpace|Datastore.Audit';
    await expect(put({ scsi1 })).rejects.toMatchObject(denied(`/storage/images, ${storage}`));
    world.access.grant('alice@pve', '/storage/images', 'PVEDatastoreUser');
    await expect(put({ scsi1: 'images:4' })).rejects.toMatchObject({
      status: 400,
      errors: { storage: "storage 'images' does not support vm images" },
    });
    await expect(put({ scsi1: 'local:0,import-from=images:iso/a.iso' })).rejects.toMatchObject({
      errors: { scsi1: "images:iso/a.iso has wrong type 'iso' - needs to be 'images' or 'import'" },
    });
    await expect(put({ scsi1: 'local:2,import-from=images:import/a.qcow2' })).rejects.toMatchObject({
      errors: { scsi1: expect.stringContaining('requires special syntax') as string },
    });
    await expect(put({ ide0: 'images:iso/a.iso' })).rejects.toMatchObject({
      errors: { ide0: "explicit 'media=cdrom' is required for iso images" },
    });
  });

  it('lets a pool stand for the guest that is made in it', async () => {
    const cluster = await worldFor([]);
    const { world, template } = cluster;
    world.pools.set('mine', { id: 'mine', comment: undefined, guests: new Set(), storages: new Set() });
    const body = { vmid: 101, ostemplate: template, rootfs: 'local:1', pool: 'mine', unprivileged: 1 };
    const create = (): Promise<unknown> => cluster.call('POST', '/nodes/pve1/lxc', body);
    await expect(create()).rejects.toMatchObject({ status: 403, message: 'Permission check failed' });
    world.access.grant('alice@pve', '/pool/mine', 'PVEVMAdmin');
    world.access.grant('alice@pve', '/storage/local', 'PVEDatastoreUser');
    expect(String(await create())).toMatch(/^UPID:pve1:.*:vzcreate:101:alice@pve:$/);
  });
});
