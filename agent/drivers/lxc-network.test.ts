import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Attachment } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { inside } from '../../test/conformance/runtime-driver-world.ts';
import { setUpLxc } from '../../test/lxc-host.ts';
import { hostInterfaceName } from '../host/guest-interface.ts';

const anySignal = new AbortController().signal;
const forEver = ['/bin/sleep', '100000'];
const ip = (...args: readonly string[]): string => execFileSync('ip', args, { encoding: 'utf8' });

/** A bridge of its own, gone at the end. */
function newBridge() {
  const name = `drvt${systemRandom.uuidV4().slice(0, 8)}`;
  ip('link', 'add', name, 'type', 'bridge');
  ip('addr', 'add', '10.213.7.1/24', 'dev', name);
  ip('link', 'set', name, 'up');
  return { name, [Symbol.dispose]: () => void ip('link', 'del', name) };
}

const attachmentTo = (bridge: string): Attachment => ({
  network: 'front',
  bridge,
  managedBridge: true,
  interface: 'eth0',
  mac: '02:0d:ab:00:00:05',
  addresses: ['10.213.7.5/24', 'fd00:213::5/64'],
  gateways: ['10.213.7.1'],
  mtu: 1400,
  vlan: 0,
  masquerade: false,
  nodePrivateSubnet: '',
  routes: [{ destination: '10.214.0.0/16', via: '10.213.7.9' }],
});

describe('the network of an LXC guest', () => {
  it('is made as it is assigned, and goes with the guest', async () => {
    await using world = await setUpLxc();
    using bridge = newBridge();
    const assigned = { ...emptyAssignment, attachments: [attachmentTo(bridge.name)] };
    const guest = await world.newGuest(forEver, { network: 'bridged', assigned });
    await world.driver.create(guest, anySignal);
    await world.driver.start(guest.id, anySignal);
    const { pid } = await world.driver.inspect(guest.id, anySignal);
    const seen = execFileSync('nsenter', ['-t', `${pid}`, '-n', 'ip', 'addr', 'show', 'eth0'], {
      encoding: 'utf8',
    });
    expect(seen).toMatch(/mtu 1400/);
    expect(seen).toContain('link/ether 02:0d:ab:00:00:05');
    expect(seen).toContain('inet 10.213.7.5/24 brd 10.213.7.255');
    expect(seen).toContain('inet6 fd00:213::5/64');
    const routes = execFileSync('nsenter', ['-t', `${pid}`, '-n', 'ip', 'route'], { encoding: 'utf8' });
    expect(routes).toContain('default via 10.213.7.1 dev eth0');
    expect(routes).toContain('10.214.0.0/16 via 10.213.7.9 dev eth0');
    const host = hostInterfaceName(guest.id, 0);
    expect(ip('link', 'show', 'master', bridge.name)).toContain(host);
    const before = await world.driver.stats(guest.id);
    ip('neigh', 'flush', 'dev', bridge.name);
    const ping = await inside(world.driver, guest.id, 'ping -c 2 -W 5 10.213.7.1');
    expect(ping).toMatchObject({ exit: { code: 0 } });
    const after = await world.driver.stats(guest.id);
    expect(after.sentBytes).toBeGreaterThanOrEqual(before.sentBytes + 100);
    expect(after.receivedBytes).toBeGreaterThanOrEqual(before.receivedBytes + 100);
    await world.driver.remove(guest.id, anySignal);
    expect(existsSync(`/sys/class/net/${host}`)).toBe(false);
  });

  it('has one default route where two networks have gateways', async () => {
    await using world = await setUpLxc();
    using bridge = newBridge();
    using other = newBridge();
    const second = {
      ...attachmentTo(other.name),
      interface: 'eth1',
      mac: '02:0d:ab:00:00:06',
      addresses: ['10.213.8.5/24'],
      gateways: ['10.213.8.1'],
      routes: [],
    };
    const assigned = { ...emptyAssignment, attachments: [attachmentTo(bridge.name), second] };
    const guest = await world.newGuest(forEver, { network: 'bridged', assigned });
    await world.driver.create(guest, anySignal);
    await world.driver.start(guest.id, anySignal);
    const { pid } = await world.driver.inspect(guest.id, anySignal);
    const routes = execFileSync('nsenter', ['-t', `${pid}`, '-n', 'ip', 'route'], { encoding: 'utf8' });
    expect(routes.match(/^default .*$/gm)).toEqual([expect.stringContaining('via 10.213.7.1 dev eth0')]);
    expect(routes).toContain('10.213.8.0/24 dev eth1');
  });

  it('says which bridge is missing, and leaves the guest created', async () => {
    await using world = await setUpLxc();
    const assigned = { ...emptyAssignment, attachments: [attachmentTo('drvnone0')] };
    const guest = await world.newGuest(forEver, { network: 'bridged', assigned });
    await world.driver.create(guest, anySignal);
    await expect(world.driver.start(guest.id, anySignal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringMatching(/bridge "drvnone0"/) as string,
    });
    expect((await world.driver.inspect(guest.id, anySignal)).phase).toBe('created');
  });
});
