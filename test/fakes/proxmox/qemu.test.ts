import { describe, expect, it } from 'vitest';
import { createGuestWorld } from './guest-world.ts';
import type { GuestWorld } from './guest-world.ts';

const versions = ['8.4.21', '9.2.11'] as const;
const path = '/nodes/pve1/qemu';
const image = 'local:import/cloud.qcow2';

function clusterWithImage(version: (typeof versions)[number]): GuestWorld {
  const cluster = createGuestWorld(version);
  const volume = { volid: image, content: 'import', format: 'qcow2', sizeBytes: 2 * 1024 ** 3 };
  cluster.world.storages.volumes('local', 'pve1').set(image, volume);
  return cluster;
}

function create(cluster: GuestWorld, vmid: number, more: Record<string, unknown> = {}): Promise<string> {
  const net0 = 'virtio,bridge=vmbr0';
  return cluster.run('POST', path, {
    vmid,
    name: `vm${vmid}`,
    memory: 128,
    net0,
    scsi0: 'shared:1,format=qcow2',
    ...more,
  });
}

const imported = { scsi0: `shared:0,import-from=${image},format=qcow2`, agent: 'enabled=1' };

async function started(cluster: GuestWorld, vmid: number): Promise<void> {
  expect(await cluster.run('POST', `${path}/${vmid}/status/start`)).toBe('OK');
  await cluster.clock.advance(3000);
}

async function exec(cluster: GuestWorld, vmid: number, command: string[]): Promise<unknown> {
  const { pid } = (await cluster.call('POST', `${path}/${vmid}/agent/exec`, { command })) as { pid: number };
  await cluster.clock.advance(5000);
  return cluster.call('GET', `${path}/${vmid}/agent/exec-status`, { pid });
}

describe.each(versions)('virtual machines of Proxmox VE %s', (version) => {
  it('takes the size of an imported image, whose system has an agent', async () => {
    const cluster = clusterWithImage(version);
    expect(await create(cluster, 100, { ...imported, ipconfig0: 'ip=10.0.0.5/24,gw=10.0.0.1' })).toBe('OK');
    expect(await cluster.call('GET', `${path}/100/config`)).toMatchObject({
      scsi0: 'shared:100/vm-100-disk-0.qcow2,size=2G',
      boot: 'order=scsi0;net0',
    });
    await started(cluster, 100);
    expect(await cluster.call('POST', `${path}/100/agent/ping`)).toEqual({ result: {} });
    const { result } = (await cluster.call('GET', `${path}/100/agent/network-get-interfaces`)) as {
      result: { name: string; 'ip-addresses': { 'ip-address': string }[] }[];
    };
    expect(result[1]?.['ip-addresses'][0]).toMatchObject({ 'ip-address': '10.0.0.5', prefix: 24 });
    expect(await cluster.run('POST', `${path}/100/status/shutdown`, { timeout: 30 })).toBe('OK');
  });

  it('runs commands through the agent: output, exit code, input, time', async () => {
    const cluster = clusterWithImage(version);
    await create(cluster, 100, imported);
    await started(cluster, 100);
    const script = ['sh', '-c', 'echo a, b; echo oh >&2; exit 3'];
    expect(await exec(cluster, 100, script)).toEqual({
      exited: 1,
      exitcode: 3,
      'out-data': 'a, b\n',
      'err-data': 'oh\n',
    });
    const { pid } = (await cluster.call('POST', `${path}/100/agent/exec`, { command: ['sleep', '20'] })) as {
      pid: number;
    };
    expect(await cluster.call('GET', `${path}/100/agent/exec-status`, { pid })).toEqual({ exited: 0 });
    await cluster.clock.advance(20_000);
    expect(await cluster.call('GET', `${path}/100/agent/exec-status`, { pid })).toMatchObject({ exited: 1 });
    await expect(cluster.call('GET', `${path}/100/agent/exec-status`, { pid })).rejects.toThrow(
      'does not exist',
    );
  });

  it('keeps files and its freezing inside', async () => {
    const cluster = clusterWithImage(version);
    await create(cluster, 100, imported);
    await started(cluster, 100);
    const agent = `${path}/100/agent`;
    await cluster.call('POST', `${agent}/file-write`, { file: '/tmp/x', content: 'ä' });
    expect(await cluster.call('GET', `${agent}/file-read`, { file: '/tmp/x' })).toMatchObject({
      content: 'ä',
    });
    await expect(cluster.call('GET', `${agent}/file-read`, { file: '/nope' })).rejects.toThrow(
      'No such file',
    );
    await cluster.call('POST', `${agent}/fsfreeze-freeze`);
    expect(await cluster.call('POST', `${agent}/fsfreeze-status`)).toEqual({ result: 'frozen' });
  });

  it('hangs linked clones on a template, which cannot go before them', async () => {
    const cluster = clusterWithImage(version);
    await create(cluster, 100, imported);
    expect(await cluster.run('POST', `${path}/100/template`)).toBe('OK');
    expect(await cluster.run('POST', `${path}/100/clone`, { newid: 101, name: 'linked' })).toBe('OK');
    const { scsi0 } = (await cluster.call('GET', `${path}/101/config`)) as { scsi0: string };
    expect(scsi0).toMatch(/^shared:100\/base-100-disk-\d\.qcow2\/101\/vm-101-disk-0\.qcow2,size=2G$/);
    expect(await cluster.run('DELETE', `${path}/100`)).toMatch(/still in use/);
    await started(cluster, 101);
    expect(await cluster.call('POST', `${path}/101/agent/ping`)).toEqual({ result: {} });
    await cluster.run('POST', `${path}/101/status/stop`);
    expect(await cluster.run('DELETE', `${path}/101`)).toBe('OK');
    expect(await cluster.run('DELETE', `${path}/100`)).toBe('OK');
    expect(
      [...cluster.world.storages.volumes('shared', 'pve1').keys()].filter((volid) => /10[01]/.test(volid)),
    ).toEqual([]);
  });

  it('migrates live and runs on; says before what stands in the way', async () => {
    const cluster = clusterWithImage(version);
    await create(cluster, 100, { ...imported, scsi1: 'local:1' });
    await started(cluster, 100);
    const before = cluster.world.needGuest('pve1', 'qemu', 100).startedAtMs;
    const conditions = await cluster.call('GET', `${path}/100/migrate`, { target: 'pve2' });
    expect(conditions).toMatchObject({ running: 1, local_disks: [{ drivename: 'scsi1' }] });
    const move = { target: 'pve2', online: 1 };
    expect(await cluster.run('POST', `${path}/100/migrate`, move)).toBe('migration aborted');
    expect(await cluster.run('POST', `${path}/100/migrate`, { ...move, 'with-local-disks': 1 })).toBe('OK');
    expect(cluster.world.needGuest('pve2', 'qemu', 100)).toMatchObject({
      status: 'running',
      startedAtMs: before,
    });
  });

  it('is kept where it is by a disc, by a template, and by snapshots while it runs', async () => {
    const cluster = clusterWithImage(version);
    const disc = { volid: 'local:iso/a.iso', content: 'iso', format: 'iso', sizeBytes: 1024 };
    cluster.world.storages.volumes('local', 'pve1').set(disc.volid, disc);
    const local = { scsi0: `local:0,import-from=${image},format=qcow2`, ide2: 'local:cloudinit' };
    await create(cluster, 100, local);
    await create(cluster, 101, { ...local, ide0: 'local:iso/a.iso,media=cdrom' });
    await create(cluster, 102, local);
    await cluster.run('POST', `${path}/102/template`);
    await cluster.run('POST', `${path}/102/clone`, { newid: 103, name: 'linked' });
    const move = async (vmid: number, more = {}) => [
      await cluster.run('POST', `${path}/${vmid}/migrate`, { target: 'pve2', ...more }),
      cluster.lastLog().find((line) => line.includes("can't migrate")) ?? '',
    ];
    expect(await move(101)).toEqual(['migration aborted', expect.stringMatching(/local cdrom image$/)]);
    expect(await move(103)).toEqual([
      'migration aborted',
      expect.stringMatching(/as it's a clone of 'base-/),
    ]);
    await cluster.run('POST', `${path}/100/snapshot`, { snapname: 'first' });
    await started(cluster, 100);
    expect(await cluster.call('GET', `${path}/100/migrate`)).toMatchObject({
      local_disks: expect.arrayContaining([
        expect.objectContaining({ drivename: 'scsi0', referenced_in_snapshot: { first: 1 } }),
        expect.objectContaining({ drivename: 'ide2', cdrom: 1 }),
      ]) as unknown,
    });
    expect(await move(100, { online: 1, 'with-local-disks': 1 })).toEqual([
      'migration aborted',
      expect.stringMatching(/online storage migration not possible if non-replicated snapshot exists$/),
    ]);
    await cluster.run('POST', `${path}/100/status/stop`);
    expect(await move(100)).toEqual(['OK', '']);
    expect(cluster.world.storages.find('local:100/vm-100-cloudinit.qcow2', 'pve2')).toBeDefined();
  });

  it('goes back to a snapshot with its memory, and runs on from there', async () => {
    const cluster = clusterWithImage(version);
    await create(cluster, 100, imported);
    await started(cluster, 100);
    expect(await cluster.run('POST', `${path}/100/snapshot`, { snapname: 'live', vmstate: 1 })).toBe('OK');
    await cluster.call('PUT', `${path}/100/config`, { memory: 256 });
    await cluster.run('POST', `${path}/100/status/stop`);
    expect(await cluster.run('POST', `${path}/100/snapshot/live/rollback`)).toBe('OK');
    expect(cluster.world.needGuest('pve1', 'qemu', 100)).toMatchObject({
      status: 'running',
      config: { memory: '128' },
    });
  });

  it('has disks of fixed size for firmware and TPM, and moves others', async () => {
    const cluster = clusterWithImage(version);
    const more = { bios: 'ovmf', efidisk0: 'local:1,efitype=4m', tpmstate0: 'local:1,version=v2.0' };
    expect(await create(cluster, 100, more)).toBe('OK');
    expect(await cluster.run('POST', `${path}/100/move_disk`, { disk: 'scsi0', storage: 'local' })).toBe(
      'OK',
    );
    expect(await cluster.call('GET', `${path}/100/config`)).toMatchObject({
      efidisk0: expect.stringMatching(/efitype=4m,size=528K$/),
      tpmstate0: expect.stringMatching(/size=4M,version=v2\.0$/),
      scsi0: expect.stringMatching(/^local:/),
      unused0: 'shared:100/vm-100-disk-0.qcow2',
    });
  });

  it('unplugs a device only from a system that lets go of it', async () => {
    const cluster = clusterWithImage(version);
    await create(cluster, 100, { ...imported, scsi1: 'shared:1' });
    await create(cluster, 101, { scsi1: 'shared:1' });
    for (const vmid of [100, 101]) await started(cluster, vmid);
    expect(await cluster.call('PUT', `${path}/100/config`, { delete: 'scsi1' })).toBeNull();
    expect(await cluster.call('GET', `${path}/100/config`)).toHaveProperty('unused0');
    const deaf = cluster.call('PUT', `${path}/101/config`, { delete: 'scsi1' });
    await expect(deaf).rejects.toMatchObject({
      status: 400,
      errors: { scsi1: expect.stringContaining('hotplug problem') },
    });
    expect(await cluster.call('GET', `${path}/101/config`, { current: 1 })).toHaveProperty('scsi1');
  });

  it('takes some changes at once, and leaves others to the next start', async () => {
    const cluster = clusterWithImage(version);
    await create(cluster, 100, { ...imported, ide2: 'shared:cloudinit', ciuser: 'admin', scsi1: 'shared:1' });
    await started(cluster, 100);
    const volume = 'shared:100/vm-100-disk-1.raw,size=1G';
    for (const change of [
      { ciuser: 'operator', ipconfig0: 'ip=dhcp' },
      { balloon: 64 },
      { scsi1: `${volume},backup=0` },
      { scsi0: 'shared:100/vm-100-disk-0.qcow2,size=2G,discard=on' },
      { sata0: 'shared:1' },
    ])
      await cluster.call('PUT', `${path}/100/config`, change);
    const rows = (await cluster.call('GET', `${path}/100/pending`)) as Record<string, unknown>[];
    const waiting = rows.filter((row) => 'pending' in row || 'delete' in row).map(({ key }) => key);
    expect(new Set(waiting)).toEqual(new Set(['sata0', 'scsi0']));
    expect(await cluster.call('GET', `${path}/100/cloudinit`)).toContainEqual({
      key: 'ciuser',
      value: 'admin',
      pending: 'operator',
    });
    await cluster.run('POST', `${path}/100/status/stop`);
    await started(cluster, 100);
    expect(await cluster.call('GET', `${path}/100/cloudinit`)).toContainEqual({
      key: 'ciuser',
      value: 'operator',
    });
    expect(cluster.world.needGuest('pve1', 'qemu', 100).pending.size).toBe(0);
  });

  it('gives a copy a cloud-init drive of its own, and none to a node that lacks what it has', async () => {
    const cluster = clusterWithImage(version);
    await create(cluster, 100, { ...imported, ide2: 'local:cloudinit', protection: 1 });
    await cluster.run('POST', `${path}/100/template`);
    const other = cluster.call('POST', `${path}/100/clone`, { newid: 101, target: 'pve2' });
    await expect(other).rejects.toThrow("can't clone VM to node 'pve2' (VM uses local storage)");
    expect(await cluster.run('POST', `${path}/100/clone`, { newid: 101 })).toBe('OK');
    expect(await cluster.call('GET', `${path}/101/config`)).toMatchObject({
      ide2: 'local:101/vm-101-cloudinit.qcow2,media=cdrom',
      protection: 1,
    });
    expect(cluster.world.storages.find('local:101/vm-101-cloudinit.qcow2', 'pve1')).toBeDefined();
    cluster.world.storages.add({ id: 'isos', type: 'dir', content: ['iso'], path: '/mnt/isos' });
    await expect(
      cluster.call('POST', `${path}/100/clone`, { newid: 102, full: 1, storage: 'isos' }),
    ).rejects.toMatchObject({ errors: { storage: "storage 'isos' does not support vm images" } });
  });

  it('leaves nothing where an image is missing', async () => {
    const cluster = clusterWithImage(version);
    const gone = { scsi1: 'shared:0,import-from=local:import/gone.qcow2' };
    expect(await create(cluster, 100, gone)).toMatch(/does not exist$/);
    expect(cluster.world.guests.has(100)).toBe(false);
    expect(
      [...cluster.world.storages.volumes('shared', 'pve1').keys()].filter((volid) => volid.includes('100')),
    ).toEqual([]);
  });
});
