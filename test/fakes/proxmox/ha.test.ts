import { describe, expect, it } from 'vitest';
import { createGuestWorld } from './guest-world.ts';
import type { GuestWorld } from './guest-world.ts';

interface ServiceRow {
  readonly id: string;
  readonly node: string;
  readonly state: string;
}

async function stateOf(cluster: GuestWorld, sid: string): Promise<string> {
  const rows = (await cluster.call('GET', '/cluster/ha/status/current')) as ServiceRow[];
  const row = rows.find(({ id }) => id === `service:${sid}`);
  return row === undefined ? 'nothing' : `${row.node} ${row.state}`;
}

/** A container under HA that runs on pve2; the manager is pve1. */
async function watched(version: '8.4.21' | '9.2.11'): Promise<GuestWorld> {
  const cluster = createGuestWorld(version);
  const body = { vmid: 100, ostemplate: cluster.template, rootfs: 'shared:1' };
  expect(await cluster.run('POST', '/nodes/pve2/lxc', { ...body, ostemplate: cluster.template })).toBe('OK');
  await cluster.call('POST', '/cluster/ha/resources', { sid: 'ct:100', state: 'started' });
  await cluster.clock.advance(40_000);
  expect(await stateOf(cluster, 'ct:100')).toBe('pve2 started');
  return cluster;
}

describe.each(['8.4.21', '9.2.11'] as const)('high availability of Proxmox VE %s', (version) => {
  it('starts what it is told to, and starts again what stopped by itself', async () => {
    const cluster = await watched(version);
    const guest = cluster.world.needGuest('pve2', 'lxc', 100);
    expect(guest.status).toBe('running');
    guest.status = 'stopped';
    await cluster.clock.advance(30_000);
    expect(guest.status).toBe('running');
  });

  it('fences a dead node after a minute and brings its guests back on another', async () => {
    const cluster = await watched(version);
    cluster.world.killNode('pve2');
    await cluster.clock.advance(50_000);
    expect(await stateOf(cluster, 'ct:100')).toBe('pve2 started');
    await cluster.clock.advance(25_000);
    expect(await stateOf(cluster, 'ct:100')).toBe('pve2 fence');
    await cluster.clock.advance(70_000);
    expect(await stateOf(cluster, 'ct:100')).toMatch(/^pve[13] starting$/);
    await cluster.clock.advance(20_000);
    const guest = cluster.world.guests.get(100);
    expect(guest?.status).toBe('running');
    expect(guest?.node).not.toBe('pve2');
  });

  it('does nothing without quorum', async () => {
    const cluster = await watched(version);
    cluster.world.killNode('pve2');
    cluster.world.killNode('pve3');
    await cluster.clock.advance(400_000);
    expect(cluster.world.guests.get(100)?.node).toBe('pve2');
  });

  it('stops for good what is stopped through the plain API', async () => {
    const cluster = await watched(version);
    expect(await cluster.run('POST', '/nodes/pve2/lxc/100/status/stop')).toBe('OK');
    expect(cluster.world.guests.get(100)?.status).toBe('running');
    await cluster.clock.advance(40_000);
    expect(cluster.world.guests.get(100)?.status).toBe('stopped');
    expect(await cluster.call('GET', '/cluster/ha/resources/100')).toMatchObject({ state: 'stopped' });
    const destroy = cluster.call('DELETE', '/nodes/pve2/lxc/100');
    await expect(destroy).rejects.toThrow('used in HA resources');
  });

  it('moves what is asked to move, some time later', async () => {
    const cluster = await watched(version);
    const asked = cluster.run('POST', '/nodes/pve2/lxc/100/migrate', { target: 'pve3', restart: 1 });
    expect(await asked).toBe('OK');
    expect(cluster.world.guests.get(100)?.node).toBe('pve2');
    await cluster.clock.advance(60_000);
    expect(await stateOf(cluster, 'ct:100')).toBe('pve3 started');
    expect(cluster.world.guests.get(100)).toMatchObject({ node: 'pve3', status: 'running' });
  });

  it('keeps to the nodes that are allowed', async () => {
    const cluster = await watched(version);
    if (version === '8.4.21') {
      await cluster.call('POST', '/cluster/ha/groups', { group: 'near', nodes: 'pve2,pve3', restricted: 1 });
      await cluster.call('PUT', '/cluster/ha/resources/ct:100', { group: 'near' });
    } else {
      const rule = {
        rule: 'near',
        type: 'node-affinity',
        resources: 'ct:100',
        nodes: 'pve2,pve3',
        strict: 1,
      };
      await cluster.call('POST', '/cluster/ha/rules', rule);
    }
    cluster.world.killNode('pve2');
    await cluster.clock.advance(200_000);
    expect(cluster.world.guests.get(100)?.node).toBe('pve3');
  });
});
