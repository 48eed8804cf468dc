import { describe, expect, it } from 'vitest';
import { contains, parseCidr, parseInterfaceAddress } from '#shared/addresses.ts';
import type { Attachment, InstanceId, PublishedPort } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import type { GuestNetworks } from '../../agent/network/guest-network.ts';

/** One host with guests of its own. */
export interface GuestNetworkWorld extends AsyncDisposable {
  readonly networks: GuestNetworks;
  /** As after kill -9 of the agent: the host stays as it is. */
  reopen(): Promise<GuestNetworks>;
  /** A process with a network namespace of its own; its pid. */
  newGuest(): Promise<number>;
  endGuest(pid: number): Promise<void>;
  /** A bridge that somebody else made. */
  makeForeignBridge(name: string): Promise<void>;
  /** What stands on the host because of guests, as text; foreign bridges are not in it. */
  remains(): Promise<readonly string[]>;
  /** A program of the host takes the port, over TCP. */
  listen(port: number): Promise<void>;
}

export type SetUpNetworks = () => Promise<GuestNetworkWorld>;

const { signal } = new AbortController();
export const newInstanceId = (): InstanceId => systemRandom.uuidV7() as InstanceId;

export const attachmentOf = (part: Partial<Attachment> = {}): Attachment => ({
  network: 'default',
  bridge: 'drv-br0',
  managedBridge: true,
  interface: 'eth0',
  mac: '02:00:0a:4d:00:05',
  addresses: ['10.77.0.5/24'],
  gateways: ['10.77.0.1'],
  mtu: 0,
  vlan: 0,
  masquerade: false,
  nodePrivateSubnet: '',
  routes: [],
  ...part,
});

export const portOf = (hostPort: number, part: Partial<PublishedPort> = {}): PublishedPort => ({
  hostPort,
  guestPort: 80,
  protocol: 'tcp',
  hostAddress: '',
  ...part,
});

/** What every GuestNetworks promises, fake and real alike. */
export function guestNetworkConformance(name: string, setUp: SetUpNetworks): void {
  describe(`guest networks ${name}`, () => {
    attaching(setUp);
    addressing(setUp);
    refusing(setUp);
    removing(setUp);
  });
}

function attaching(setUp: SetUpNetworks): void {
  const wanted = [{ interface: 'eth0', addresses: ['10.77.0.5/24', 'fd77::5/64'] }];
  const dual = attachmentOf({
    addresses: ['10.77.0.5/24', 'fd77::5/64'],
    gateways: ['10.77.0.1', 'fd77::1'],
  });

  it('configures what it was told, and says so, also after a restart', async () => {
    await using world = await setUp();
    const id = newInstanceId();
    expect(await world.networks.addressesOf(id)).toEqual([]);
    const pid = await world.newGuest();
    const network = { id, attachments: [dual], ports: [portOf(18_080)] };
    expect(await world.networks.attach(network, pid, signal)).toEqual(wanted);
    expect(await world.networks.addressesOf(id)).toEqual(wanted);
    expect(await (await world.reopen()).addressesOf(id)).toEqual(wanted);
  });

  it('may be told again, and leaves nothing after it was taken away, once or twice', async () => {
    await using world = await setUp();
    const id = newInstanceId();
    const network = { id, attachments: [dual], ports: [portOf(18_080)] };
    const pid = await world.newGuest();
    await world.networks.attach(network, pid, signal);
    const once = await world.remains();
    expect(once).not.toEqual([]);
    expect(await world.networks.attach(network, pid, signal)).toEqual(wanted);
    expect(await (await world.reopen()).attach(network, pid, signal)).toEqual(wanted);
    expect(await world.remains()).toEqual(once);
    const networks = await world.reopen();
    await networks.detach(id, signal);
    expect(await world.remains()).toEqual([]);
    expect(await networks.addressesOf(id)).toEqual([]);
    await networks.detach(id, signal);
    await networks.detach(newInstanceId(), signal);
  });

  it('connects the next process of the same guest', async () => {
    await using world = await setUp();
    const id = newInstanceId();
    const network = { id, attachments: [dual], ports: [] };
    const first = await world.newGuest();
    await world.networks.attach(network, first, signal);
    await world.endGuest(first);
    expect(await world.networks.attach(network, await world.newGuest(), signal)).toEqual(wanted);
    await world.networks.detach(id, signal);
    expect(await world.remains()).toEqual([]);
  });

  it("makes the host's part alone for a guest whose driver makes the interfaces", async () => {
    await using world = await setUp();
    const id = newInstanceId();
    const network = { id, attachments: [dual], ports: [portOf(18_081)] };
    expect(await world.networks.prepare(network, signal)).toEqual([dual]);
    expect(await world.networks.attach(network, undefined, signal)).toEqual(wanted);
    await world.networks.detach(id, signal);
    expect(await world.remains()).toEqual([]);
  });
}

function addressing(setUp: SetUpNetworks): void {
  const attachment = attachmentOf({ addresses: [], gateways: [], nodePrivateSubnet: '10.78.0.0/29' });
  const take = async ({ networks }: GuestNetworkWorld, id: InstanceId): Promise<string> =>
    (await networks.prepare({ id, attachments: [attachment], ports: [] }, signal))[0]?.addresses[0] ?? '';

  it('gives out addresses of its own, each once, and keeps to them', async () => {
    await using world = await setUp();
    const [id, other] = [newInstanceId(), newInstanceId()];
    const addresses = await Promise.all([take(world, id), take(world, other)]);
    expect(new Set(addresses).size).toBe(2);
    const subnet = parseCidr(attachment.nodePrivateSubnet);
    for (const text of addresses) {
      const address = parseInterfaceAddress(text);
      expect(address !== undefined && subnet !== undefined && contains(subnet, address)).toBe(true);
      expect(text).not.toBe('10.78.0.1/29');
      expect(text).toMatch(/\/29$/);
    }
    expect(await take(world, id)).toBe(addresses[0]);
    const networks = await world.reopen();
    expect(await take({ ...world, networks }, other)).toBe(addresses[1]);
    const network = { id, attachments: [attachment], ports: [] };
    const made = await networks.attach(network, await world.newGuest(), signal);
    expect(made).toEqual([{ interface: 'eth0', addresses: [addresses[0]] }]);
  });

  it('says that all are in use, and gives out again what was freed', async () => {
    await using world = await setUp();
    // Of eight: the subnet's own, the gateway's and the broadcast address are none to give.
    const ids = Array.from({ length: 5 }, newInstanceId);
    const taken: string[] = [];
    for (const id of ids) taken.push(await take(world, id));
    expect(new Set(taken).size).toBe(5);
    await expect(take(world, newInstanceId())).rejects.toMatchObject({ kind: 'resource-exhausted' });
    await world.networks.detach(ids[2] ?? newInstanceId(), signal);
    expect(await take(world, newInstanceId())).toBe(taken[2]);
  });
}

function refusing(setUp: SetUpNetworks): void {
  it('names a bridge that is missing and not ours to make', async () => {
    await using world = await setUp();
    const attachment = attachmentOf({ bridge: 'vmbr7', managedBridge: false });
    const network = { id: newInstanceId(), attachments: [attachment], ports: [] };
    const attach = world.networks.attach(network, await world.newGuest(), signal);
    await expect(attach).rejects.toMatchObject({ kind: 'failed-precondition', subject: { bridge: 'vmbr7' } });
    await world.networks.detach(network.id, signal);
    await world.makeForeignBridge('vmbr7');
    await world.networks.attach(network, await world.newGuest(), signal);
  });

  it('does not take over a bridge of somebody else', async () => {
    await using world = await setUp();
    await world.makeForeignBridge('drv-br0');
    const network = { id: newInstanceId(), attachments: [attachmentOf()], ports: [] };
    const attach = world.networks.attach(network, await world.newGuest(), signal);
    await expect(attach).rejects.toMatchObject({
      kind: 'failed-precondition',
      subject: { bridge: 'drv-br0' },
    });
    await world.networks.detach(network.id, signal);
    await world.networks.sweep(new Set(), signal);
    const foreign = attachmentOf({ managedBridge: false });
    await world.networks.attach({ ...network, attachments: [foreign] }, await world.newGuest(), signal);
  });

  it('names a port that a program of the host or another guest has', async () => {
    await using world = await setUp();
    const network = (id: InstanceId, port: number) => ({
      id,
      attachments: [attachmentOf({ addresses: [], nodePrivateSubnet: '10.77.0.0/24' })],
      ports: [portOf(port)],
    });
    await world.listen(18_090);
    const refusal = (port: number) => ({
      kind: 'failed-precondition',
      subject: { port: `${port}/tcp` },
    });
    await expect(
      world.networks.attach(network(newInstanceId(), 18_090), await world.newGuest(), signal),
    ).rejects.toMatchObject(refusal(18_090));
    const owner = newInstanceId();
    await world.networks.attach(network(owner, 18_091), await world.newGuest(), signal);
    await expect(
      world.networks.attach(network(newInstanceId(), 18_091), await world.newGuest(), signal),
    ).rejects.toMatchObject(refusal(18_091));
    await world.networks.detach(owner, signal);
    await world.networks.attach(network(newInstanceId(), 18_091), await world.newGuest(), signal);
  });

  it('says that a guest is gone, and takes no id that is none', async () => {
    await using world = await setUp();
    const pid = await world.newGuest();
    await world.endGuest(pid);
    const network = { id: newInstanceId(), attachments: [attachmentOf()], ports: [] };
    await expect(world.networks.attach(network, pid, signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
    });
    const id = '../../evil' as InstanceId;
    for (const call of [
      world.networks.attach({ ...network, id }, pid, signal),
      world.networks.prepare({ ...network, id }, signal),
      world.networks.detach(id, signal),
    ])
      await expect(call).rejects.toMatchObject({ kind: 'invalid-argument' });
  });
}

function removing(setUp: SetUpNetworks): void {
  it('removes everything when the namespace is gone already', async () => {
    await using world = await setUp();
    const network = { id: newInstanceId(), attachments: [attachmentOf()], ports: [portOf(18_080)] };
    const pid = await world.newGuest();
    await world.networks.attach(network, pid, signal);
    await world.endGuest(pid);
    await (await world.reopen()).detach(network.id, signal);
    expect(await world.remains()).toEqual([]);
  });

  it('sweeps what belongs to none of those that are wanted, and leaves the rest alone', async () => {
    await using world = await setUp();
    const [kept, gone] = [newInstanceId(), newInstanceId()];
    const network = (id: InstanceId, end: number, bridge: string) => ({
      id,
      attachments: [attachmentOf({ bridge, addresses: [`10.7${end}.0.9/24`], gateways: [`10.7${end}.0.1`] })],
      ports: [portOf(18_080 + end)],
    });
    await world.networks.attach(network(kept, 1, 'drv-one'), await world.newGuest(), signal);
    const before = await world.remains();
    await world.networks.attach(network(gone, 2, 'drv-two'), await world.newGuest(), signal);
    const networks = await world.reopen();
    await networks.sweep(new Set([kept, gone]), signal);
    expect((await networks.addressesOf(gone)).length).toBe(1);
    await networks.sweep(new Set([kept]), signal);
    expect(await world.remains()).toEqual(before);
    expect(await networks.addressesOf(gone)).toEqual([]);
    expect((await networks.addressesOf(kept)).length).toBe(1);
    await networks.sweep(new Set(), signal);
    expect(await world.remains()).toEqual([]);
  });

  it('says what the host has', async () => {
    await using world = await setUp();
    const facts = await world.networks.fingerprint(signal);
    for (const name of ['bridge', 'ipv6', 'portmap', 'firewall'])
      expect([name, facts[name]]).toEqual([name, 'yes']);
    expect(facts['vlan']).not.toBe('');
  });
}
