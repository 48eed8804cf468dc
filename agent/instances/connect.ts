import { DroverError } from '#shared/errors.ts';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import type { RuntimeDriver } from '../drivers/driver.ts';
import { readHostDns } from '../host/host-dns.ts';
import type { ConfiguredInterface, GuestNetwork } from '../network/guest-network.ts';
import type { InstanceRecord } from './record.ts';
import type { Workshop } from './tools.ts';

const connectMs = 120_000;

/** Undefined for a guest without interfaces of its own. */
export function networkOf({ id, spec }: InstanceRecord): GuestNetwork | undefined {
  const { attachments, ports } = spec.assigned;
  return spec.network === 'bridged' && attachments.length > 0 ? { id, attachments, ports } : undefined;
}

/** What must be there before the guest is created; for 'native' drivers every address is decided then. */
export async function prepareNetwork(
  shop: Workshop,
  driver: RuntimeDriver,
  network: GuestNetwork | undefined,
): Promise<GuestNetwork | undefined> {
  if (network === undefined || driver.network !== 'native') return network;
  const attachments = await shop.act('network.prepare', () =>
    shop.networks.prepare(network, shop.clock.timeout(connectMs)),
  );
  return { ...network, attachments };
}

/** The interfaces of a guest that was created, or the host's part of those that its driver makes. */
export async function attachNetwork(
  shop: Workshop,
  driver: RuntimeDriver,
  network: GuestNetwork | undefined,
): Promise<void> {
  if (network === undefined) return;
  const pid = driver.network === 'native' ? undefined : await pidOf(shop, driver, network.id);
  await shop.act('network.attach', () => shop.networks.attach(network, pid, shop.clock.timeout(connectMs)));
}

async function pidOf(shop: Workshop, driver: RuntimeDriver, id: InstanceId): Promise<number> {
  const { pid, message } = await driver.inspect(id, shop.clock.timeout(connectMs));
  if (pid > 0) return pid;
  throw new DroverError('unavailable', `${id} has no process to connect: ${message || 'it is gone'}`, {
    subject: { instance: id },
  });
}

/** Also what an earlier spec or a crash has left. */
export async function detachNetwork(shop: Workshop, { id, networked }: InstanceRecord): Promise<void> {
  if (!networked) return;
  await shop.act('network.detach', () => shop.networks.detach(id, shop.clock.timeout(connectMs)));
}

/** For people and the control plane: without prefix length. */
export const plainAddresses = (interfaces: readonly ConfiguredInterface[]): string[] =>
  interfaces.flatMap(({ addresses }) => addresses.map((address) => address.split('/')[0] ?? address));

/** What /etc/resolv.conf says; undefined: the driver's default. */
export async function resolvConfOf(spec: InstanceSpec): Promise<string | undefined> {
  const { servers, search, options } = spec.dns;
  if (servers.length + search.length + options.length === 0) {
    return spec.assigned.attachments.length > 0 ? readHostDns() : undefined;
  }
  const lines = [
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...servers.map((server) => `nameserver ${server}`),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
  ];
  return `${lines.join('\n')}\n`;
}
