import { DroverError } from '#shared/errors.ts';
import type { InstanceId, PublishedPort } from '#shared/model.ts';
import { portsClash } from '#shared/wire/network.ts';
import type { ConfiguredInterface, GuestNetwork, GuestNetworks } from '../../agent/network/guest-network.ts';
import { decideAddresses } from '../../agent/network/node-private.ts';

/** A host as far as networks know it; outlives its agents. */
export interface FakeNetworkHost {
  /** Bridges of somebody else. */
  readonly foreign: Set<string>;
  /** Ports that programs of the host have. */
  readonly listeners: Set<number>;
  readonly guests: Map<InstanceId, GuestNetwork & { readonly made: boolean }>;
  /** Whether the process lives; all do where it is left out. */
  readonly isAlive?: (pid: number) => boolean;
}

export interface FakeGuestNetworks extends GuestNetworks {
  readonly host: FakeNetworkHost;
  /** From now on the call fails so; undefined heals it. */
  failWith(call: 'prepare' | 'attach' | 'detach' | 'sweep', error: DroverError | undefined): void;
}

export const newFakeNetworkHost = (isAlive?: (pid: number) => boolean): FakeNetworkHost => ({
  foreign: new Set(),
  listeners: new Set(),
  guests: new Map(),
  ...(isAlive === undefined ? {} : { isAlive }),
});

const idText = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** The twin of the real networks that keeps all in memory. */
export function createFakeGuestNetworks(host: FakeNetworkHost = newFakeNetworkHost()): FakeGuestNetworks {
  const { guests } = host;
  const failures = new Map<string, DroverError>();

  function begin(call: string, id: InstanceId | undefined, signal: AbortSignal): void {
    signal.throwIfAborted();
    const failure = failures.get(call);
    if (failure !== undefined) throw failure;
    if (id !== undefined && !idText.test(id)) throw new DroverError('invalid-argument', 'no instance id');
  }

  const othersThan = (id: InstanceId): GuestNetwork[] => [...guests.values()].filter((one) => one.id !== id);

  function checkPort(port: PublishedPort, id: InstanceId): void {
    const others = othersThan(id).flatMap(({ ports }) => ports);
    if (!host.listeners.has(port.hostPort) && !others.some((one) => portsClash(one, port))) return;
    const subject = { instance: id, port: `${port.hostPort}/${port.protocol}` };
    throw new DroverError('failed-precondition', `port ${port.hostPort} is taken`, { subject });
  }

  function reserve(network: GuestNetwork, made: boolean): GuestNetwork {
    const { id, ports } = network;
    for (const port of ports) checkPort(port, id);
    const taken = othersThan(id).flatMap(({ attachments }) => attachments);
    const attachments = decideAddresses(network.attachments, guests.get(id)?.attachments ?? [], taken);
    for (const { bridge, managedBridge } of attachments) {
      if (managedBridge !== host.foreign.has(bridge)) continue;
      throw new DroverError('failed-precondition', `bridge ${bridge}`, { subject: { bridge } });
    }
    const decided = { id, attachments, ports };
    guests.set(id, { ...decided, made });
    return decided;
  }

  const configured = (network: GuestNetwork | undefined): ConfiguredInterface[] =>
    (network?.attachments ?? []).map((one) => ({ interface: one.interface, addresses: [...one.addresses] }));

  return {
    host,
    failWith(call, error) {
      if (error === undefined) failures.delete(call);
      else failures.set(call, error);
    },
    fingerprint: async () =>
      Object.fromEntries(
        ['cni', 'bridge', 'vlan', 'ipv6', 'firewall', 'portmap', 'masquerade'].map((name) => [name, 'yes']),
      ),
    async prepare(network, signal) {
      begin('prepare', network.id, signal);
      return reserve(network, false).attachments;
    },
    async attach(network, pid, signal) {
      begin('attach', network.id, signal);
      if (pid !== undefined && host.isAlive?.(pid) === false)
        throw new DroverError('failed-precondition', `process ${pid} of the guest is gone`);
      return configured(reserve(network, true));
    },
    async detach(id, signal) {
      begin('detach', id, signal);
      guests.delete(id);
    },
    async addressesOf(id) {
      const found = guests.get(id);
      return configured(found?.made === true ? found : undefined);
    },
    async sweep(wanted, signal) {
      begin('sweep', undefined, signal);
      for (const id of guests.keys()) if (!wanted.has(id)) guests.delete(id);
    },
  };
}
