/** A Proxmox cluster in a fleet of real processes, from its adding to its removal, as a person would. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fleet, startFleet } from '../../scripts/fleet.ts';
import { type ProxmoxServer, startProxmoxServer } from '../fakes/proxmox-server.ts';
import { placeFile } from '../fakes/proxmox/storage-paths.ts';
import { recordedTemplate } from '../fakes/proxmox/standard-storages.ts';
import type { Guest, ProxmoxVersion } from '../fakes/proxmox/world.ts';
import { until } from '../until.ts';
import {
  apply,
  ask,
  instancesOf,
  type InstanceRow,
  type NodeRow,
  nodesReady,
  remove,
  running,
} from './drive.ts';

interface GuestRow {
  readonly cluster: string;
  readonly vmid: number;
  readonly kind: string;
  readonly name: string;
  readonly node: string;
  readonly status: string;
  readonly instance?: string;
  readonly tags?: readonly string[];
}

const slowMs = 90_000;
const container = (name: string, more: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({
    kind: 'Workload',
    name,
    image: `proxmox:shared:vztmpl/${recordedTemplate}`,
    runtime: 'proxmox-lxc',
    resources: { cpu: '200m', memory: '64MiB', disk: '1GiB' },
    root: { pool: 'shared' },
    network: 'none',
    stop: { grace: '2s' },
    ...more,
  });

describe.each<[ProxmoxVersion]>([['8.4.21'], ['9.2.11']])('a Proxmox cluster of version %s', (version) => {
  let fleet: Fleet;
  let server: ProxmoxServer;
  let pins: string[];
  let token: string;

  beforeAll(async () => {
    server = await startProxmoxServer({ version, pace: 0.1 });
    fleet = await startFleet({ hosts: 0, say: () => {} });
    pins = [...server.fingerprints().values()].flatMap((each) => ['--fingerprint', each]);
    const folder = path.join(fleet.folder, 'secrets');
    mkdirSync(folder);
    token = path.join(folder, 'token');
    writeFileSync(token, `${server.secret}\n`, { mode: 0o600 });
    addForeignGuests();
  }, slowMs);

  afterAll(async () => {
    const swept = await fleet?.tearDown();
    await server?.close();
    expect(swept).toEqual([]);
  }, slowMs);

  /** One that somebody made by hand, and one that nobody may touch. */
  function addForeignGuests(): void {
    for (const [vmid, hostname] of [
      [501, 'shop'],
      [502, 'theirs'],
    ] as const) {
      const guest = server.world.newGuest({
        vmid,
        kind: 'lxc',
        node: 'pve2',
        config: {
          arch: 'amd64',
          hostname,
          memory: '128',
          swap: '0',
          cores: '1',
          ostype: 'alpine',
          unprivileged: '1',
          rootfs: `shared:${vmid}/vm-${vmid}-disk-0.raw,size=1G`,
          net0: `name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:0${vmid - 500},ip=dhcp,type=veth`,
          description: 'made by hand',
        },
      });
      guest.status = 'running';
      guest.startedAtMs = server.world.clock.nowMs();
      server.world.guests.set(vmid, guest);
    }
    server.world.broadcasts.tell();
  }

  const guests = (): Promise<GuestRow[]> => ask<GuestRow[]>(fleet, 'get', 'guests');
  const configOf = (vmid: number): Guest['config'] | undefined => server.world.guests.get(vmid)?.config;
  const guestOf = async (instance: string): Promise<GuestRow | undefined> =>
    (await guests()).find((row) => row.instance === instance);
  const add = (...more: string[]) =>
    fleet.drover(['cluster', 'add', 'lab', '--endpoint', server.endpoints.get('pve1') ?? '', ...more]);
  const withToken = (): string[] => ['--token-id', server.tokenId, '--token-file', token];

  it('is not trusted unseen, and not with a credential that it does not take', {
    timeout: slowMs,
  }, async () => {
    const unseen = await add('--yes', ...withToken());
    expect(unseen.code).toBe(2);
    expect(unseen.stderr).toContain('certificate');
    const wrong = await add('--fingerprint', 'AA:'.repeat(32).slice(0, -1), ...withToken());
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toContain([...server.fingerprints().values()][0] ?? '');
    writeFileSync(`${token}-wrong`, '00000000-0000-0000-0000-000000000000');
    const refused = await add(...pins, '--token-id', server.tokenId, '--token-file', `${token}-wrong`);
    expect(refused.code).not.toBe(0);
    expect(await ask<unknown[]>(fleet, 'cluster', 'list')).toEqual([]);
  });

  it('brings its nodes, which stand beside others', { timeout: slowMs }, async () => {
    const added = await add(...pins, ...withToken());
    expect({ code: added.code, stderr: added.code === 0 ? '' : added.stderr }).toEqual({
      code: 0,
      stderr: '',
    });
    expect(`${added.stdout}${added.stderr}`).not.toContain(server.secret);
    await nodesReady(fleet, 3);
    const nodes = await ask<NodeRow[]>(fleet, 'get', 'nodes');
    expect(nodes.map(({ metadata }) => metadata.name)).toEqual(['lab-pve1', 'lab-pve2', 'lab-pve3']);
    expect((await guests()).map(({ vmid, name }) => [vmid, name])).toEqual([
      [501, 'shop'],
      [502, 'theirs'],
    ]);
  });

  it('runs containers that are made, changed and removed', { timeout: slowMs }, async () => {
    await apply(fleet, container('web', { replicas: 2 }), '--wait', '--timeout', '60s');
    const rows = await running(fleet, 'web', 2);
    expect(new Set(rows.map(({ node }) => node)).size).toBe(2);
    const [first] = rows;
    const made = await guestOf(first?.metadata.name ?? '');
    expect(configOf(made?.vmid ?? 0)).toMatchObject({ memory: '64', unprivileged: '1' });
    await apply(
      fleet,
      container('web', { replicas: 2, resources: { cpu: '200m', memory: '96MiB', disk: '1GiB' } }),
      '--wait',
    );
    await until(() => configOf(made?.vmid ?? 0)?.['memory'] === '96', {
      what: 'the limit to be set',
      deadlineMs: 30_000,
    });
    expect((await guestOf(first?.metadata.name ?? ''))?.vmid).toBe(made?.vmid);
    await remove(fleet, 'web');
    expect((await guests()).map(({ vmid }) => vmid)).toEqual([501, 502]);
  });

  it('tells why a container cannot be made, and what to do', { timeout: slowMs }, async () => {
    const image = 'proxmox:shared:vztmpl/nowhere.tar.gz';
    await apply(fleet, container('lost', { image }));
    const told = await until(
      async () => {
        const { stdout } = await fleet.drover(['describe', 'workload', 'lost']);
        return stdout.includes('nowhere.tar.gz') && /there is no/.test(stdout) ? stdout : undefined;
      },
      { what: 'the reason', deadlineMs: 30_000, everyMs: 300 },
    );
    expect(told).toContain('nowhere.tar.gz');
    await remove(fleet, 'lost');
  });

  it('runs a virtual machine from a template', { timeout: slowMs }, async () => {
    const template = server.world.newGuest({
      vmid: 900,
      kind: 'qemu',
      node: 'pve1',
      config: {
        name: 'debian',
        memory: '512',
        cores: '1',
        scsihw: 'virtio-scsi-pci',
        scsi0: 'shared:900/base-900-disk-0.qcow2,size=2G',
        boot: 'order=scsi0',
        template: '1',
      },
    });
    server.world.guests.set(900, template);
    server.world.broadcasts.tell();
    await until(async () => (await guests()).some(({ vmid }) => vmid === 900), {
      what: 'the template to be listed',
      deadlineMs: 30_000,
      everyMs: 300,
    });
    const vm = container('vm', {
      runtime: 'proxmox-vm',
      image: 'proxmox:template/debian',
      resources: { cpu: '200m', memory: '256MiB', disk: '2GiB' },
    });
    await apply(fleet, vm, '--wait', '--timeout', '60s');
    const [row] = await running(fleet, 'vm', 1);
    const guest = await guestOf(row?.metadata.name ?? '');
    expect(guest?.kind).toBe('qemu');
    expect(Number(configOf(guest?.vmid ?? 0)?.['memory'])).toBe(256);
    await remove(fleet, 'vm');
    expect(server.world.guests.has(900)).toBe(true);
    expect(server.world.guests.has(guest?.vmid ?? 0)).toBe(false);
  });

  it('lets a guest be adopted that runs already, and given up again', { timeout: slowMs }, async () => {
    const before = { ...configOf(501) };
    const early = await fleet.drover(['adopt', 'lab/501', '--as', 'shop']);
    expect([early.code === 0, early.stderr]).toEqual([false, expect.stringContaining('vmbr0')]);
    await apply(fleet, JSON.stringify({ kind: 'Network', name: 'office', bridge: 'vmbr0' }));
    const [adopted] = await ask<{ instance: string }[]>(fleet, 'adopt', 'lab/501', '--as', 'shop');
    const { stdout } = await fleet.drover(['adopt', 'lab/501', '--dry-run']);
    expect(stdout).toContain('shop');
    const [row] = await running(fleet, 'shop', 1);
    expect(row?.metadata.name).toBe(adopted?.instance);
    const { tags, description, digest: _digest, ...rest } = configOf(501) ?? {};
    expect(rest).toEqual(Object.fromEntries(Object.entries(before).filter(([key]) => key in rest)));
    expect([tags, description]).toEqual([
      expect.stringContaining('drover-'),
      expect.stringContaining('made by hand'),
    ]);
    const startedAtMs = server.world.guests.get(501)?.startedAtMs;
    await ask(fleet, 'release', 'shop');
    expect(configOf(501)).toMatchObject({ description: 'made by hand', hostname: 'shop' });
    expect(configOf(501)?.['tags'] ?? '').toBe('');
    expect(server.world.guests.get(501)?.startedAtMs).toBe(startedAtMs);
  });

  it('runs a virtual machine from a cloud image, which tells its address', { timeout: slowMs }, async () => {
    const file = { content: 'import', name: 'cloud.qcow2', sizeBytes: 1024 ** 3 };
    placeFile(server.world, 'pve1', 'shared', file);
    await apply(fleet, JSON.stringify({ kind: 'Network', name: 'office', bridge: 'vmbr0' }));
    const key =
      'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID8mCV2DVlBNB7jB8zuoBClkbgBx0CRC5BD1oSNxIfD admin@example';
    const vm = container('cloud', {
      runtime: 'proxmox-vm',
      image: 'proxmox:shared:import/cloud.qcow2',
      resources: { cpu: '200m', memory: '256MiB', disk: '3GiB' },
      network: undefined,
      networks: ['office'],
      vm: { serial: true, cloudInit: { user: 'admin', sshKeys: [key] } },
    });
    await apply(fleet, vm, '--wait', '--timeout', '60s');
    const [row] = await running(fleet, 'cloud', 1);
    const name = row?.metadata.name ?? '';
    const guest = await guestOf(name);
    expect(guest?.kind).toBe('qemu');
    const config = configOf(guest?.vmid ?? 0) ?? {};
    expect(config).toMatchObject({
      ciuser: 'admin',
      serial0: 'socket',
      agent: expect.stringMatching(/1/) as string,
    });
    expect(decodeURIComponent(config['sshkeys'] ?? '')).toContain(key);
    expect(config['scsi0']).toMatch(/size=3G/);
    const told = await until(
      async () => {
        const { stdout } = await fleet.drover(['describe', 'instance', name]);
        return /Address(?:es)?: +\d+\.\d+\.\d+\.\d+/.exec(stdout)?.[0];
      },
      { what: 'the address that the agent tells', deadlineMs: 60_000, everyMs: 500 },
    );
    expect(told).toMatch(/\d+\.\d+\.\d+\.\d+/);
    const { stdout } = await fleet.drover(['console', name, '--url']);
    expect(stdout).toMatch(/URL: +https:\/\/[^ ]+\/\?console=kvm&novnc=1&vmid=\d+/);
    await remove(fleet, 'cloud');
    expect(server.world.guests.has(guest?.vmid ?? 0)).toBe(false);
  });

  it('has a node drained: its guests move, and keep their names', { timeout: slowMs }, async () => {
    await apply(fleet, container('shift', { replicas: 3 }), '--wait', '--timeout', '60s');
    const rows = await running(fleet, 'shift', 3);
    const leaving = rows.filter(({ node }) => node === 'lab-pve1').map(({ metadata }) => metadata.name);
    expect(leaving.length).toBeGreaterThan(0);
    const drained = await fleet.drover(['drain', 'lab-pve1', '--yes']);
    expect({ code: drained.code, stderr: drained.code === 0 ? '' : drained.stderr }).toEqual({
      code: 0,
      stderr: '',
    });
    const after = await running(fleet, 'shift', 3);
    const names = (all: readonly InstanceRow[]) => all.map(({ metadata }) => metadata.name).toSorted();
    expect(names(after)).toEqual(names(rows));
    expect(after.filter(({ node }) => node === 'lab-pve1')).toEqual([]);
    await remove(fleet, 'shift');
    await fleet.drover(['node', 'uncordon', 'lab-pve1']);
  });

  it('is known again after the control plane was killed, without a second guest', {
    timeout: slowMs,
  }, async () => {
    await apply(fleet, container('steady'), '--wait', '--timeout', '60s');
    const [row] = await running(fleet, 'steady', 1);
    const vmid = (await guestOf(row?.metadata.name ?? ''))?.vmid;
    await fleet.stopControlPlane('SIGKILL');
    await fleet.startControlPlane();
    await nodesReady(fleet, 3);
    await running(fleet, 'steady', 1);
    expect((await guestOf(row?.metadata.name ?? ''))?.vmid).toBe(vmid);
    expect(server.world.guests.size).toBe(4);
  });

  it('is not removed while it holds instances, and leaves all guests when it is', {
    timeout: slowMs,
  }, async () => {
    const refused = await fleet.drover(['cluster', 'remove', 'lab', '--yes']);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('--release-guests');
    const [row] = await instancesOf(fleet, 'steady');
    const vmid = (await guestOf(row?.metadata.name ?? ''))?.vmid ?? 0;
    await ask(fleet, 'cluster', 'remove', 'lab', '--release-guests', '--yes');
    expect(await ask<unknown[]>(fleet, 'get', 'nodes')).toEqual([]);
    expect(server.world.guests.get(vmid)?.status).toBe('running');
    expect(configOf(vmid)?.['tags'] ?? '').toBe('');
    expect(configOf(502)).toMatchObject({ hostname: 'theirs' });
  });
});
