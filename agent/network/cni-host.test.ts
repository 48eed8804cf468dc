import type { ChildProcess } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import path from 'node:path';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import { systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { attachmentOf, newInstanceId, portOf } from '../../test/conformance/guest-network.ts';
import { askServer, type NetworkHost, startNetworkHost } from '../../test/network-host.ts';
import { until } from '../../test/until.ts';
import { createHostCommands } from '../host/command.ts';
import { createGuestNetworks } from './index.ts';

const { signal } = new AbortController();
const node = path.resolve(import.meta.dirname, '../../node_modules/.bin/node');

const dual = (end: number) =>
  attachmentOf({
    mac: `02:00:0a:4d:00:0${end}`,
    addresses: [`10.77.0.${end}/24`, `fd77::${end}/64`],
    gateways: ['10.77.0.1', 'fd77::1'],
    masquerade: true,
  });

const ask = (host: NetworkHost, pid: number | undefined, address: string, port: number): string => {
  const command = [node, '-e', askServer, `${port}`, address];
  return (pid === undefined ? host.run(...command) : host.runIn(pid, ...command)).trim();
};
const hears = (host: NetworkHost, pid: number | undefined, address: string, port: number): Promise<string> =>
  until(() => ask(host, pid, address, port), { what: `an answer of ${address} ${port}`, everyMs: 50 });

/** crun hands its output down to the guest: without pipes it ends as it should. */
async function ended(child: ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<number | null>();
  child.once('exit', resolve);
  expect(child.exitCode ?? (await promise)).toBe(0);
}

/**
 * A neighbour of the host: 192.0.2.2 and 2001:db8::2 beside its 192.0.2.1 and 2001:db8::1, and no route
 * back.
 */
async function addNeighbour(host: NetworkHost): Promise<number> {
  const pid = await host.newGuest();
  host.run('ip', 'link', 'add', 'out0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${pid}`);
  for (const [run, end, name] of [
    [host.run, 1, 'out0'],
    [host.runIn.bind(host, pid), 2, 'eth0'],
  ] as const) {
    run('ip', 'address', 'add', `192.0.2.${end}/24`, 'dev', name);
    run('ip', 'address', 'add', `2001:db8::${end}/64`, 'dev', name, 'nodad');
    run('ip', 'link', 'set', name, 'up');
  }
  return pid;
}

describe('guest networks on a host', () => {
  it('carries both families between guests, and keeps addresses, MAC, MTU and routes', async () => {
    await using host = await startNetworkHost();
    const [one, other] = [await host.newGuest(), await host.newGuest()];
    const routes = [{ destination: '192.168.9.0/24', via: '10.77.0.9' }];
    const first = { ...dual(5), mtu: 1400, routes };
    await host.networks.attach({ id: newInstanceId(), attachments: [first], ports: [] }, one, signal);
    const second = { ...dual(6), mtu: 1400 };
    await host.networks.attach({ id: newInstanceId(), attachments: [second], ports: [] }, other, signal);
    await host.serve(other, 80, 'other');
    expect(await hears(host, one, '10.77.0.6', 80)).toBe('other 10.77.0.5');
    expect(await hears(host, one, 'fd77::6', 80)).toBe('other fd77::5');
    host.runIn(one, 'busybox', 'ping', '-c', '1', '-W', '2', '10.77.0.1');
    const link = host.runIn(one, 'ip', '-o', 'link', 'show', 'eth0');
    expect(link).toContain('link/ether 02:00:0a:4d:00:05');
    expect(link).toContain('mtu 1400');
    expect(host.runIn(one, 'ip', 'route')).toContain('192.168.9.0/24 via 10.77.0.9');
    expect(host.runIn(one, 'ip', 'route')).toContain('default via 10.77.0.1');
    expect(host.runIn(one, 'ip', '-6', 'route')).toContain('default via fd77::1');
    expect(host.runIn(one, 'ip', '-o', 'link', 'show', 'lo')).toContain('LOOPBACK,UP');
  });

  it('connects a guest of crun with ids of its own, between its creation and its start', async () => {
    await using host = await startNetworkHost();
    const bundle = path.join(host.stateDir, '../bundle');
    mkdirSync(path.join(bundle, 'root/bin'), { recursive: true });
    for (const name of ['proc', 'dev', 'sys']) mkdirSync(path.join(bundle, 'root', name));
    copyFileSync('/usr/bin/busybox', path.join(bundle, 'root/bin/busybox'));
    const mappings = [{ containerID: 0, hostID: 1_000_000, size: 65_536 }];
    const namespaces = ['user', 'mount', 'pid', 'network'].map((type) => ({ type }));
    const config = {
      ociVersion: '1.0.2',
      root: { path: 'root' },
      process: { cwd: '/', user: { uid: 0, gid: 0 }, args: ['/bin/busybox', 'sleep', '3600'] },
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc' },
        { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      ],
      linux: { namespaces, uidMappings: mappings, gidMappings: mappings },
    };
    writeFileSync(path.join(bundle, 'config.json'), JSON.stringify(config));
    for (const folder of [bundle, path.dirname(bundle)]) chmodSync(folder, 0o711);
    const id = newInstanceId();
    const crun = ['crun', '--root', path.join(bundle, 'state'), '--cgroup-manager=disabled'];
    const pidFile = path.join(bundle, 'pid');
    await ended(host.startIn(undefined, ...crun, 'create', '--bundle', bundle, '--pid-file', pidFile, id));
    const pid = Number(readFileSync(pidFile, 'utf8'));
    try {
      await host.networks.attach({ id, attachments: [dual(5)], ports: [] }, pid, signal);
      host.run(...crun, 'start', id);
      await host.serve(pid, 80, 'crun');
      expect(await hears(host, undefined, '10.77.0.5', 80)).toBe('crun 10.77.0.1');
      expect(host.runIn(pid, 'ip', '-o', 'link', 'show', 'lo')).toContain('LOOPBACK,UP');
    } finally {
      host.run(...crun, 'delete', '-f', id);
    }
    await host.networks.detach(id, signal);
    expect(await host.remains()).toEqual([]);
  });

  it('answers on published ports, and lets guests out behind the address of the node', async () => {
    await using host = await startNetworkHost();
    const [neighbour, guest] = [await addNeighbour(host), await host.newGuest()];
    const id = newInstanceId();
    const ports = [portOf(18_080), portOf(18_081, { hostAddress: '192.0.2.1' })];
    await host.networks.attach({ id, attachments: [dual(5)], ports }, guest, signal);
    await host.serve(guest, 80, 'guest');
    await host.serve(neighbour, 9000, 'neighbour');
    expect(await hears(host, neighbour, '192.0.2.1', 18_080)).toBe('guest 192.0.2.2');
    expect(await hears(host, neighbour, '192.0.2.1', 18_081)).toBe('guest 192.0.2.2');
    expect(await hears(host, neighbour, '2001:db8::1', 18_080)).toBe('guest 2001:db8::2');
    expect(ask(host, neighbour, '2001:db8::1', 18_081)).toBe('');
    expect(await hears(host, undefined, '127.0.0.1', 18_080)).toMatch(/^guest /);
    expect(await hears(host, guest, '10.77.0.1', 18_080)).toMatch(/^guest /);
    expect(await hears(host, guest, '192.0.2.2', 9000)).toBe('neighbour 192.0.2.1');
    expect(await hears(host, guest, '2001:db8::2', 9000)).toBe('neighbour 2001:db8::1');
    await host.networks.detach(id, signal);
    expect(ask(host, neighbour, '192.0.2.1', 18_080)).toBe('');
  });

  it('goes through a host that forwards nothing where that was asked for', async () => {
    await using host = await startNetworkHost({ firewall: true });
    host.run('iptables', '-P', 'FORWARD', 'DROP');
    const before = await host.remains();
    const [neighbour, guest] = [await addNeighbour(host), await host.newGuest()];
    const id = newInstanceId();
    const network = { id, attachments: [dual(5)], ports: [portOf(18_080)] };
    await host.networks.attach(network, guest, signal);
    await host.serve(guest, 80, 'guest');
    await host.serve(neighbour, 9000, 'neighbour');
    expect(await hears(host, guest, '192.0.2.2', 9000)).toBe('neighbour 192.0.2.1');
    expect(await hears(host, neighbour, '192.0.2.1', 18_080)).toBe('guest 192.0.2.2');
    await host.networks.attach(network, guest, signal);
    const admitted = (await host.remains()).filter((line) => line.includes('--ctstate DNAT'));
    expect(admitted.length).toBe(2);
    await host.networks.detach(id, signal);
    host.run('ip', 'link', 'delete', 'out0');
    expect(await host.remains()).toEqual(before);
  });

  it('takes back what let a guest through, also when that is no more asked for', async () => {
    await using host = await startNetworkHost({ firewall: true });
    const [id, guest] = [newInstanceId(), await host.newGuest()];
    const network = { id, attachments: [dual(5)], ports: [portOf(18_080)] };
    await host.networks.attach(network, guest, signal);
    const networks = await host.reopen(undefined, false);
    await networks.sweep(new Set([id]), signal);
    await networks.detach(id, signal);
    expect(await host.remains()).toEqual([]);
  });

  it('has one default route where two networks have gateways', async () => {
    await using host = await startNetworkHost();
    const guest = await host.newGuest();
    const second = attachmentOf({
      interface: 'eth1',
      bridge: 'drv-br1',
      mac: '02:00:0a:4e:00:05',
      addresses: ['10.78.0.5/24'],
      gateways: ['10.78.0.1'],
    });
    const network = { id: newInstanceId(), attachments: [dual(5), second], ports: [] };
    expect((await host.networks.attach(network, guest, signal)).length).toBe(2);
    const routes = host.runIn(guest, 'ip', 'route').split('\n');
    expect(routes.filter((line) => line.startsWith('default'))).toEqual(['default via 10.77.0.1 dev eth0 ']);
    host.runIn(guest, 'busybox', 'ping', '-c', '1', '-W', '2', '10.78.0.1');
    expect(
      host
        .run('ls', '/sys/class/net')
        .split('\n')
        .filter((name) => name.startsWith('drv')).length,
    ).toBe(4);
    await host.networks.detach(network.id, signal);
    expect(await host.remains()).toEqual([]);
  });

  it('spawns one tool for an interface, one for its name and one for its ports, and repeats the last alone', async () => {
    await using host = await startNetworkHost();
    const [first, second] = [await host.newGuest(), await host.newGuest()];
    for (const pid of [first, second]) host.runIn(pid, 'ip', 'link', 'set', 'lo', 'up');
    const attachments = [dual(5)];
    await host.networks.attach({ id: newInstanceId(), attachments, ports: [] }, first, signal);
    const count = async (): Promise<number> =>
      Object.entries(await host.networks.spawns())
        .filter(([tool]) => tool !== 'perl')
        .reduce((sum, [, times]) => sum + times, 0);
    const before = await count();
    const network = { id: newInstanceId(), attachments: [dual(6)], ports: [portOf(18_080)] };
    await host.networks.attach(network, second, signal);
    expect((await count()) - before).toBe(3);
    const after = await count();
    await host.networks.attach({ ...network, ports: [...network.ports] }, second, signal);
    expect((await count()) - after).toBe(1);
  });

  it('refuses a VLAN where the kernel has none, and says so among the facts', async () => {
    await using host = await startNetworkHost();
    const facts = await host.networks.fingerprint(signal);
    const network = { id: newInstanceId(), attachments: [{ ...dual(5), vlan: 30 }], ports: [] };
    const attach = host.networks.attach(network, await host.newGuest(), signal);
    if (facts['vlan'] === 'yes') expect((await attach).length).toBe(1);
    else {
      expect(facts['vlan']).toMatch(/no VLANs/);
      await expect(attach).rejects.toMatchObject({ kind: 'failed-precondition', message: /VLAN/ });
    }
    await host.networks.detach(network.id, signal);
    expect(await host.remains()).toEqual([]);
  });
});

describe('guest networks beside others', () => {
  it('leaves bridges, interfaces and rules of others as they are', async () => {
    await using host = await startNetworkHost();
    await addNeighbour(host);
    host.run('ip', 'link', 'add', 'drv-else', 'type', 'bridge');
    host.run('ip', 'link', 'set', 'drv-else', 'alias', 'drover:00000000');
    host.run('ip', 'link', 'add', 'drvt00000000', 'type', 'bridge');
    host.run('iptables', '-t', 'nat', '-A', 'POSTROUTING', '-s', '10.1.2.0/24', '-j', 'MASQUERADE');
    host.run('nft', 'add table inet drover_00000000');
    const before = await host.remains();
    const network = { id: newInstanceId(), attachments: [dual(5)], ports: [portOf(18_080)] };
    await host.networks.attach(network, await host.newGuest(), signal);
    await host.networks.detach(network.id, signal);
    await (await host.reopen()).sweep(new Set(), signal);
    expect(await host.remains()).toEqual(before);
  });

  it("keeps the plugin's own chains while anybody has a port in them", async () => {
    await using host = await startNetworkHost();
    const network = { id: newInstanceId(), attachments: [dual(5)], ports: [portOf(18_080)] };
    await host.networks.attach(network, await host.newGuest(), signal);
    const rule = ['CNI-HOSTPORT-DNAT', '-p', 'tcp', '--dport', '7', '-j', 'ACCEPT'];
    host.run('iptables', '-t', 'nat', '-A', ...rule);
    await host.networks.detach(network.id, signal);
    const left = (await host.remains()).filter((line) => line.startsWith('iptables-save'));
    expect(left.some((line) => line.includes('--dport 7'))).toBe(true);
    expect(left.filter((line) => line.startsWith('iptables-save -A')).length).toBe(6);
    host.run('iptables', '-t', 'nat', '-D', ...rule);
    const again = { ...network, id: newInstanceId() };
    await host.networks.attach(again, await host.newGuest(), signal);
    await host.networks.detach(again.id, signal);
    expect(await host.remains()).toEqual([]);
  });

  it('finds what it made by the marks alone when its records are lost', async () => {
    await using host = await startNetworkHost();
    const network = { id: newInstanceId(), attachments: [dual(5)], ports: [portOf(18_080)] };
    await host.networks.attach(network, await host.newGuest(), signal);
    rmSync(path.join(host.stateDir, 'network'), { recursive: true });
    const networks = await host.reopen();
    await networks.sweep(new Set(), signal);
    expect(await host.remains()).toEqual([]);
  });
});

describe('guest networks on a host that lacks something', () => {
  it('names the missing packages, and has nothing to sweep', async () => {
    const stateDir = mkdtempSync(path.join(os.tmpdir(), 'drover-network-'));
    const { run } = createHostCommands({ clock: systemClock, searchPath: '/nowhere' });
    const incarnation = systemRandom.uuidV4();
    const options = { stateDir, incarnation, run, log: silentLog, pluginDir: '/nowhere' };
    const networks = createGuestNetworks(options);
    const facts = await networks.fingerprint(signal);
    expect(facts['portmap']).toMatch(/apt-get install containernetworking-plugins/);
    expect(facts['masquerade']).toMatch(/apt-get install nftables/);
    await networks.sweep(new Set(), signal);
    const network = { id: newInstanceId(), attachments: [attachmentOf()], ports: [] };
    await expect(networks.prepare(network, signal)).rejects.toMatchObject({
      kind: 'unavailable',
      nextStep: 'apt-get install iproute2',
    });
    rmSync(stateDir, { recursive: true });
  });

  it('sweeps a guest whose record is damaged', async () => {
    await using host = await startNetworkHost();
    const network = { id: newInstanceId(), attachments: [dual(5)], ports: [portOf(18_080)] };
    const pid = await host.newGuest();
    await host.networks.attach(network, pid, signal);
    writeFileSync(path.join(host.stateDir, 'network', `${network.id}.json`), '{"attachments":[');
    const networks = await host.reopen();
    expect(await networks.addressesOf(network.id)).toEqual([]);
    await networks.sweep(new Set(), signal);
    expect(await host.remains()).toEqual([]);
  });
});

describe('guest networks that are killed', () => {
  const network = (id: InstanceId) => ({ id, attachments: [dual(5)], ports: [portOf(18_080)] });
  const spawns = [1, 2, 3, 4, 5, 6, 7];

  for (const moment of ['before', 'after'] as const) {
    it(`attaches and detaches after a death ${moment} any spawn of an attach`, async () => {
      await using host = await startNetworkHost();
      let deaths = 0;
      for (const spawn of spawns) {
        const [id, pid] = [newInstanceId(), await host.newGuest()];
        const dying = await host.reopen({ spawn, moment });
        const attached = await dying.attach(network(id), pid, signal).then(
          () => true,
          () => false,
        );
        if (!attached) deaths += 1;
        const networks = await host.reopen();
        if (spawn % 2 === 0) {
          await networks.attach(network(id), pid, signal);
          await host.serve(pid, 80, 'guest');
          expect(await hears(host, undefined, '10.77.0.5', 80)).toMatch(/^guest/);
        }
        await networks.detach(id, signal);
        await networks.sweep(new Set(), signal);
        expect([spawn, await host.remains()]).toEqual([spawn, []]);
        await host.endGuest(pid);
      }
      expect(deaths).toBeGreaterThanOrEqual(5);
    }, 120_000);

    it(`detaches after a death ${moment} any spawn of a detach`, async () => {
      await using host = await startNetworkHost();
      let deaths = 0;
      for (const spawn of spawns) {
        const [id, pid] = [newInstanceId(), await host.newGuest()];
        await (await host.reopen()).attach(network(id), pid, signal);
        const dying = await host.reopen({ spawn, moment });
        const detached = await dying.detach(id, signal).then(
          () => true,
          () => false,
        );
        if (!detached) deaths += 1;
        const networks = await host.reopen();
        await (spawn % 2 === 0 ? networks.detach(id, signal) : networks.sweep(new Set(), signal));
        expect([spawn, await host.remains()]).toEqual([spawn, []]);
        await host.endGuest(pid);
      }
      expect(deaths).toBeGreaterThanOrEqual(5);
    }, 120_000);
  }
});
