import { parseAddress, parseCidr, parseInterfaceAddress, contains } from '#shared/addresses.ts';
import type { Attachment, Network, NetworkUse } from '#shared/model.ts';

/** What one interface of a guest is set to, whichever kind of guest it is. Empty and zero: not set. */
export interface InterfaceConfig {
  readonly bridge: string;
  readonly vlan: number;
  readonly mtu: number;
  /** "10.20.0.5/24", "dhcp", "manual". */
  readonly ip: string;
  readonly gateway: string;
  /** "fd00::5/64", "auto", "dhcp", "manual". */
  readonly ip6: string;
  readonly gateway6: string;
}

/** What an attachment asks of its interface. Where nothing gives it an IPv4 address, the network must. */
export function wantedInterface(attachment: Attachment): InterfaceConfig {
  const { addresses, gateways, bridge, vlan, mtu } = attachment;
  const of = (family: 4 | 6): string =>
    addresses.find((text) => parseInterfaceAddress(text)?.family === family) ?? '';
  const gatewayOf = (family: 4 | 6): string =>
    gateways.find((text) => parseAddress(text)?.family === family) ?? '';
  const ip = of(4);
  const ip6 = of(6);
  return {
    bridge,
    vlan,
    mtu,
    ip: ip === '' && ip6 === '' ? 'dhcp' : ip,
    gateway: ip === '' ? '' : gatewayOf(4),
    ip6,
    gateway6: ip6 === '' ? '' : gatewayOf(6),
  };
}

const isFixed = (ip: string): boolean => parseInterfaceAddress(ip) !== undefined;

/** An address that the network gives out may be asked for in any way, or in none that we know. */
export const saysSameAddress = (found: string, wanted: string): boolean =>
  found === wanted || (!isFixed(found) && !isFixed(wanted));

/** Those that are set by hand, without prefix length. */
export const fixedOf = ({ ip, ip6 }: InterfaceConfig): string[] =>
  [ip, ip6].filter(isFixed).map((text) => text.slice(0, text.indexOf('/')));

export interface FoundUse {
  readonly use: NetworkUse | undefined;
  /** Why there is none, for people. */
  readonly obstacle: string;
}

/** The network that gives an interface just what it has. */
export function useOf(name: string, found: InterfaceConfig, networks: readonly Network[]): FoundUse {
  const there = networks.filter(({ spec }) => spec.bridge === found.bridge && spec.vlan === found.vlan);
  const where = found.vlan === 0 ? found.bridge : `${found.bridge}, VLAN ${found.vlan}`;
  if (there.length === 0)
    return { use: undefined, obstacle: `${name} is on ${where}: apply a Network with this bridge first` };
  const network = there.find(({ spec }) => whyNot(found, spec) === '');
  const first = there[0];
  if (network === undefined || first === undefined)
    return { use: undefined, obstacle: `${name} on ${where}: ${whyNot(found, first?.spec ?? emptySpec)}` };
  return { use: { network: network.metadata.name, addresses: fixedOf(found) }, obstacle: '' };
}

const emptySpec: Pick<Network['spec'], 'subnets' | 'mtu'> = { subnets: [], mtu: 0 };

function whyNot(found: InterfaceConfig, spec: Pick<Network['spec'], 'subnets' | 'mtu'>): string {
  if (found.mtu !== spec.mtu) return `it has MTU ${found.mtu}, the network ${spec.mtu}`;
  for (const { ip, gateway, family } of [
    { ip: found.ip, gateway: found.gateway, family: 4 },
    { ip: found.ip6, gateway: found.gateway6, family: 6 },
  ]) {
    const address = parseInterfaceAddress(ip);
    const subnet = spec.subnets.find(({ cidr }) => parseCidr(cidr)?.family === family);
    if (address === undefined && subnet === undefined) continue;
    if (address === undefined) return `it has no fixed address, and the network gives out ${subnet?.cidr}`;
    const cidr = parseCidr(subnet?.cidr ?? '');
    if (subnet === undefined || cidr === undefined) return `the network has no subnet for ${ip}`;
    if (!contains(cidr, address)) return `${ip} is not in ${subnet.cidr}`;
    if (address.subnet.prefix !== cidr.prefix) return `${ip} has another prefix than ${subnet.cidr}`;
    if (gateway !== subnet.gateway)
      return `its gateway is ${gateway || 'none'}, the network's ${subnet.gateway || 'none'}`;
  }
  return '';
}

/** Why a network's attachment cannot be made there: clusters have bridges, and make none. */
export function cannotAttach(attachments: readonly Attachment[]): string[] {
  return attachments.flatMap((each) => [
    ...(each.masquerade ? [`network ${each.network} masquerades, which its nodes cannot`] : []),
    ...(each.nodePrivateSubnet === ''
      ? []
      : [`network ${each.network} has its nodes give out addresses, which they cannot`]),
    ...(each.routes.length === 0 ? [] : [`network ${each.network} has routes, which its guests cannot get`]),
  ]);
}

/** What is not its host's own, nor the link's. */
export const isAddressOutside = (address: string): boolean =>
  address !== '' && !/^(127\.|169\.254\.|::1$|fe[89ab][0-9a-f]:)/.test(address);
