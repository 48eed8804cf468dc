import { contains, formatCidr, parseAddress, parseInterfaceAddress } from '#shared/addresses.ts';
import type { Attachment, PublishedPort } from '#shared/model.ts';
import type { ConfiguredInterface } from './guest-network.ts';

/** The version that every plugin of Debian 12 and later speaks. */
export const cniVersion = '0.4.0';

const familyOf = (text: string): 4 | 6 | undefined => parseAddress(text)?.family;

/** The address of the gateway's family that lies in one subnet with it. */
function besideOf(attachment: Attachment, gateway: string): string | undefined {
  const hop = parseAddress(gateway);
  return attachment.addresses.find((text) => {
    const subnet = parseInterfaceAddress(text)?.subnet;
    return hop !== undefined && subnet !== undefined && contains(subnet, hop);
  });
}

/** With the prefix length of the guest's own address: how a managed bridge carries them. */
export const bridgeAddresses = (attachment: Attachment): string[] =>
  attachment.gateways.flatMap((gateway) => {
    const beside = besideOf(attachment, gateway);
    return beside === undefined ? [] : [`${gateway}/${beside.slice(beside.indexOf('/') + 1)}`];
  });

/** The subnets that an attachment has an address in. */
export const subnetsOf = (attachment: Attachment): string[] =>
  attachment.addresses.flatMap((text) => {
    const subnet = parseInterfaceAddress(text)?.subnet;
    return subnet === undefined ? [] : [formatCidr(subnet)];
  });

/** What the bridge plugin is told for one interface. `mtu` is the bridge's own where the network has none. */
export function bridgeConfig(
  name: string,
  attachment: Attachment,
  { mtu, hairpin, defaults }: { mtu: number; hairpin: boolean; defaults: readonly string[] },
): object {
  const gatewayOf = (address: string): object => {
    const gateway = attachment.gateways.find((one) => besideOf(attachment, one) === address);
    return gateway === undefined ? {} : { gateway };
  };
  return {
    cniVersion,
    name,
    type: 'bridge',
    bridge: attachment.bridge,
    isGateway: false,
    mtu,
    hairpinMode: hairpin,
    ...(attachment.vlan === 0 ? {} : { vlan: attachment.vlan }),
    capabilities: { mac: true },
    runtimeConfig: { mac: attachment.mac },
    ipam: {
      type: 'static',
      addresses: attachment.addresses.map((address) => ({ address, ...gatewayOf(address) })),
      routes: [
        ...defaults.map((gw) => ({ dst: familyOf(gw) === 6 ? '::/0' : '0.0.0.0/0', gw })),
        ...attachment.routes.map(({ destination, via }) => ({ dst: destination, gw: via })),
      ],
    },
  };
}

/** What was said of a guest before, in the words of CNI: whoever made its interfaces, these are they. */
function previousResult(interfaces: readonly ConfiguredInterface[], netns: string): object {
  return {
    cniVersion,
    interfaces: interfaces.map((one) => ({ name: one.interface, sandbox: netns })),
    ips: interfaces.flatMap(({ addresses }, place) =>
      addresses.map((address) => ({
        version: address.includes(':') ? '6' : '4',
        interface: place,
        address,
      })),
    ),
  };
}

/** Published ports lead to the first interface. */
export function portmapConfig(
  name: string,
  interfaces: readonly ConfiguredInterface[],
  { ports, netns }: { ports: readonly PublishedPort[]; netns: string },
): object {
  return {
    cniVersion,
    name,
    type: 'portmap',
    snat: true,
    capabilities: { portMappings: true },
    runtimeConfig: {
      portMappings: ports.map(({ hostPort, guestPort, protocol, hostAddress }) => ({
        hostPort,
        containerPort: guestPort,
        protocol,
        ...(hostAddress === '' ? {} : { hostIP: hostAddress }),
      })),
    },
    prevResult: previousResult(interfaces.slice(0, 1), netns),
  };
}

/** Lets the guest through a host whose own rules forward nothing. */
export const firewallConfig = (
  name: string,
  interfaces: readonly ConfiguredInterface[],
  netns: string,
): object => ({
  cniVersion,
  name,
  type: 'firewall',
  backend: 'iptables',
  prevResult: previousResult(interfaces, netns),
});

export const loopbackConfig = (name: string): object => ({ cniVersion, name, type: 'loopback' });
