import { describe, expect, it } from 'vitest';
import { createGuestWorld } from './guest-world.ts';
import type { GuestWorld } from './guest-world.ts';

const versions = ['8.4.21', '9.2.11'] as const;
const path = '/nodes/pve1/lxc';

function create(cluster: GuestWorld, vmid: number, more: Record<string, unknown> = {}): Promise<string> {
  const usual = { vmid, ostemplate: cluster.template, rootfs: 'local:1', memory: 64, unprivileged: 1 };
  return cluster.run('POST', path, { ...usual, hostname: `ct${vmid}`, ...more });
}

const volumesOf = ({ world }: GuestWorld, storage: string, vmid: number): string[] =>
  [...world.storages.volumes(storage, 'pve1').values()]
    .filter((volume) => volume.vmid === vmid)
    .map(({ volid }) => volid);

describe.each(versions)('containers of Proxmox VE %s', (version) => {
  it('has an address by DHCP some time after its start, and counts what it sends', async () => {
    const cluster = createGuestWorld(version);
    await create(cluster, 100, { net0: 'name=eth0,bridge=vmbr0,ip=dhcp' });
    expect(await cluster.call('GET', `${path}/100/interfaces`)).toBeNull();
    expect(await cluster.run('POST', `${path}/100/status/start`)).toBe('OK');
    const before = (await cluster.call('GET', `${path}/100/status/current`)) as { netin: number };
    await cluster.clock.advance(5000);
    const [, eth0] = (await cluster.call('GET', `${path}/100/interfaces`)) as { inet: string }[];
    expect(eth0?.inet).toMatch(/^10\.99\.\d+\.\d+\/24$/);
    const after = (await cluster.call('GET', `${path}/100/status/current`)) as { netin: number };
    expect(after.netin).toBeGreaterThan(before.netin);
  });

  it('gives one of several racers the id', async () => {
    const cluster = createGuestWorld(version);
    const body = { vmid: 100, ostemplate: cluster.template, rootfs: 'local:1' };
    const tries = ['pve1', 'pve1', 'pve2'].map((node) => cluster.call('POST', `/nodes/${node}/lxc`, body));
    const ended = await Promise.allSettled(tries);
    expect(ended.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const one of ended) {
      if (one.status === 'rejected') expect(String(one.reason)).toMatch(/CT 100/);
    }
    await cluster.clock.advance(5000);
    await expect(cluster.call('POST', path, body)).rejects.toThrow("CT 100 already exists on node 'pve1'");
  });

  it('leaves nothing of a creation that failed or was aborted', async () => {
    const cluster = createGuestWorld(version);
    expect(await create(cluster, 100, { ostemplate: 'local:vztmpl/nope.tar.gz' })).toMatch(/does not exist$/);
    expect(await create(cluster, 101, { mp0: 'local:999999,mp=/srv' })).toMatch(/too large/);
    const upid = await cluster.call('POST', path, {
      vmid: 102,
      ostemplate: cluster.template,
      rootfs: 'local:1',
    });
    const task = cluster.world.tasks.find(String(upid));
    await cluster.clock.advance(400);
    if (task !== undefined) cluster.world.tasks.abort(task);
    await cluster.clock.advance(2000);
    expect(task?.exitStatus).toMatch(/received interrupt/);
    expect([...cluster.world.guests.keys()]).toEqual([]);
    for (const vmid of [100, 101, 102]) expect(volumesOf(cluster, 'local', vmid)).toEqual([]);
  });

  it('lets options wait for the next start', async () => {
    const cluster = createGuestWorld(version);
    await create(cluster, 100, { start: 1 });
    await cluster.clock.advance(3000);
    await cluster.call('PUT', `${path}/100/config`, { features: 'nesting=1', memory: 128 });
    expect(await cluster.call('GET', `${path}/100/config`, { current: 1 })).not.toHaveProperty('features');
    expect(await cluster.call('GET', `${path}/100/config`)).toMatchObject({
      features: 'nesting=1',
      memory: 128,
    });
    expect(await cluster.run('POST', `${path}/100/status/reboot`)).toBe('OK');
    const now = await cluster.call('GET', `${path}/100/config`, { current: 1 });
    expect(now).toMatchObject({ features: 'nesting=1' });
  });

  it('kills what does not end in time only where it is told to', async () => {
    const cluster = createGuestWorld(version);
    await create(cluster, 100, { start: 1 });
    await cluster.clock.advance(3000);
    const guest = cluster.world.needGuest('pve1', 'lxc', 100);
    guest.inside.shutdownMs = Number.POSITIVE_INFINITY;
    const shutdown = `${path}/100/status/shutdown`;
    expect(await cluster.run('POST', shutdown, { timeout: 5 })).toBe('container did not stop');
    expect(guest.status).toBe('running');
    expect(await cluster.run('POST', shutdown, { timeout: 5, forceStop: 1 })).toBe('OK');
    expect(guest.status).toBe('stopped');
  });

  it('makes a stop wait for a shutdown unless it overrules it', async () => {
    const cluster = createGuestWorld(version);
    await create(cluster, 100, { start: 1 });
    await cluster.clock.advance(3000);
    cluster.world.needGuest('pve1', 'lxc', 100).inside.shutdownMs = Number.POSITIVE_INFINITY;
    await cluster.call('POST', `${path}/100/status/shutdown`, { timeout: 120 });
    expect(await cluster.run('POST', `${path}/100/status/stop`)).toMatch(
      /^can't lock file .* - got timeout$/,
    );
    expect(await cluster.run('POST', `${path}/100/status/stop`, { 'overrule-shutdown': 1 })).toBe('OK');
    expect(cluster.lastLog()[0]).toMatch(/^overruled vzshutdown tasks: UPID:/);
  });

  it('drops its own volumes and no others', async () => {
    const cluster = createGuestWorld(version);
    await create(cluster, 100, { mp0: 'btr:1,mp=/srv' });
    await create(cluster, 101);
    expect(volumesOf(cluster, 'btr', 100)).toHaveLength(1);
    expect(await cluster.run('DELETE', `${path}/100`, { purge: 1 })).toBe('OK');
    expect([...volumesOf(cluster, 'btr', 100), ...volumesOf(cluster, 'local', 100)]).toEqual([]);
    expect(volumesOf(cluster, 'local', 101)).toHaveLength(1);
  });

  it('loses its disk and keeps its configuration when it is destroyed without quorum', async () => {
    const cluster = createGuestWorld(version);
    await create(cluster, 100);
    for (const name of ['pve2', 'pve3']) cluster.world.killNode(name);
    expect(await cluster.run('DELETE', `${path}/100`)).toMatch(
      /^unable to open file .* - Permission denied$/,
    );
    expect(volumesOf(cluster, 'local', 100)).toEqual([]);
    expect(cluster.world.guests.has(100)).toBe(true);
    await expect(cluster.call('POST', `${path}/100/status/start`)).rejects.toThrow('no quorum?');
  });

  it('moves a volume, and keeps the old one where it is not told to drop it', async () => {
    const cluster = createGuestWorld(version);
    await create(cluster, 100);
    expect(
      await cluster.run('POST', `${path}/100/move_volume`, { volume: 'rootfs', storage: 'shared' }),
    ).toBe('OK');
    expect(await cluster.call('GET', `${path}/100/config`)).toMatchObject({
      rootfs: 'shared:100/vm-100-disk-0.raw,size=1G',
      unused0: 'local:100/vm-100-disk-0.raw',
    });
  });

  it('does not migrate local volumes with snapshots, and restarts on the other node', async () => {
    const cluster = createGuestWorld(version);
    await create(cluster, 100, { rootfs: 'local:1', start: 1 });
    await cluster.clock.advance(3000);
    const taken = cluster.world.needGuest('pve1', 'lxc', 100);
    const s1 = { name: 's1', config: { ...taken.config }, parent: undefined, description: '', snapTime: 1 };
    taken.snapshots.set('s1', s1);
    const move = { target: 'pve2', restart: 1 };
    expect(await cluster.run('POST', `${path}/100/migrate`, move)).toBe('migration aborted');
    expect(cluster.lastLog().join('\n')).toMatch(/non-migratable snapshot exists/);
    const guest = cluster.world.needGuest('pve1', 'lxc', 100);
    expect(guest).toMatchObject({ node: 'pve1', status: 'running' });
    guest.snapshots.clear();
    expect(await cluster.run('POST', `${path}/100/migrate`, move)).toBe('OK');
    expect(guest).toMatchObject({ node: 'pve2', status: 'running' });
    expect(cluster.world.storages.find('local:100/vm-100-disk-0.raw', 'pve2')).toBeDefined();
  });

  it('restores a backup under another id with addresses of its own', async () => {
    const cluster = createGuestWorld(version);
    await create(cluster, 100, { net0: 'name=eth0,bridge=vmbr0,ip=dhcp', tags: 'Web;db' });
    expect(await cluster.run('POST', '/nodes/pve1/vzdump', { vmid: '100', storage: 'local' })).toBe('OK');
    const volumes = cluster.world.storages.volumes('local', 'pve1').values();
    const archive = [...volumes].find(({ content }) => content === 'backup')?.volid ?? '';
    const restore = { vmid: 101, ostemplate: archive, restore: 1, unique: 1, storage: 'btr' };
    expect(await cluster.run('POST', path, restore)).toBe('OK');
    const one = cluster.world.needGuest('pve1', 'lxc', 100).config;
    const other = cluster.world.needGuest('pve1', 'lxc', 101).config;
    expect(other.tags).toBe('db;web');
    expect(other['net0']).not.toBe(one['net0']);
    expect(other.rootfs).toBe('btr:101/vm-101-disk-0.raw,size=1G');
  });
});
