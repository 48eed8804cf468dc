import {
  contains,
  formatAddress,
  parseAddress,
  parseCidr,
  parseInterfaceAddress,
} from '#shared/addresses.ts';
import type {
  Assignment as WireAssignment,
  Attachment as WireAttachment,
  Dns as WireDns,
  PublishedPort as WirePort,
  Route as WireRoute,
} from '#shared/gen/drover/model/v1/model.ts';
import type { Assignment, Attachment, Dns, PublishedPort, Route, VolumeId } from '#shared/model.ts';
import { type Faults, atMost, checkName, checkRange, checkUuid, show } from '#shared/wire/checks.ts';

/** What an instance has that is bound to no node yet. */
export const emptyAssignment: Assignment = { attachments: [], volumes: [], ports: [] };

/** Of one instance. */
const most = { attachments: 8, volumes: 16, ports: 64 } as const;

/** In its shortest form: equal addresses are equal text. */
export function checkAddress(text: string, field: string, faults: Faults): string {
  const address = parseAddress(text);
  if (address === undefined)
    faults.add(field, `${show(text)} is not an address; wanted such as "10.20.0.5" or "fd00::5"`);
  return address === undefined ? text : formatAddress(address);
}

export function checkCidr(text: string, field: string, faults: Faults): string {
  if (parseCidr(text) === undefined)
    faults.add(
      field,
      `${show(text)} is not a subnet; wanted such as "10.20.0.0/16", no bits after the prefix set`,
    );
  return text;
}

export function checkPort(message: WirePort, field: string, faults: Faults): PublishedPort {
  const { hostPort, guestPort, protocol, hostAddress } = message;
  if (protocol !== 'tcp' && protocol !== 'udp')
    faults.add(`${field}.protocol`, `${show(protocol)} is not known; wanted "tcp" or "udp"`);
  return {
    hostPort: checkRange(hostPort, [0, 65_535], `${field}.host`, faults),
    guestPort: checkRange(guestPort, [1, 65_535], `${field}.guest`, faults),
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
    hostAddress: hostAddress === '' ? '' : checkAddress(hostAddress, `${field}.hostAddress`, faults),
  };
}

/** Two published ports that cannot stand on one node. */
export const portsClash = (one: PublishedPort, other: PublishedPort): boolean =>
  one.hostPort === other.hostPort &&
  one.protocol === other.protocol &&
  (one.hostAddress === other.hostAddress || isAll(one) || isAll(other));

const isAll = ({ hostAddress }: PublishedPort): boolean => ['', '0.0.0.0', '::'].includes(hostAddress);

export function checkDns(message: Partial<Dns> | undefined, field: string, faults: Faults): Dns {
  const { servers = [], search = [], options = [] } = message ?? {};
  atMost(servers, 3, `${field}.servers`, faults);
  atMost(search, 6, `${field}.search`, faults);
  atMost(options, 6, `${field}.options`, faults);
  const word = (text: string, part: string): string => {
    if (!/^[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$/.test(text))
      faults.add(`${field}.${part}`, `${show(text)} is not one word of letters, digits, ".", ":" and "-"`);
    return text;
  };
  return {
    servers: servers.map((one, place) => checkAddress(one, `${field}.servers[${place}]`, faults)),
    search: search.map((one, place) => word(one, `search[${place}]`)),
    options: options.map((one, place) => word(one, `options[${place}]`)),
  };
}

export const formatDns = ({ servers, search, options }: Dns): WireDns => ({
  servers: [...servers],
  search: [...search],
  options: [...options],
});

export function checkAssignment(message: WireAssignment | undefined, faults: Faults): Assignment {
  const { attachments = [], volumes = [], ports = [] } = message ?? {};
  atMost(attachments, most.attachments, 'assigned.attachments', faults);
  atMost(volumes, most.volumes, 'assigned.volumes', faults);
  atMost(ports, most.ports, 'assigned.ports', faults);
  return {
    attachments: attachments.map((one, place) =>
      checkAttachment(one, `assigned.attachments[${place}]`, faults),
    ),
    volumes: volumes.map(({ name, volumeId }, place) => ({
      name: checkName(name, `assigned.volumes[${place}].name`, faults),
      volumeId: checkUuid(volumeId, `assigned.volumes[${place}].volumeId`, faults) as VolumeId,
    })),
    ports: ports.map((one, place) => checkPort(one, `assigned.ports[${place}]`, faults)),
  };
}

const bridgeName = /^[a-z0-9](?:[a-z0-9-]{0,13}[a-z0-9])?$/;

export function checkBridge(text: string, field: string, faults: Faults): string {
  if (!bridgeName.test(text))
    faults.add(field, `${show(text)} is not a bridge's name; wanted at most 15 of a-z, 0-9 and "-"`);
  return text;
}

function checkAttachment(message: WireAttachment, field: string, faults: Faults): Attachment {
  const { managedBridge, masquerade, addresses, gateways, nodePrivateSubnet } = message;
  if (!/^eth\d$/.test(message.interface)) faults.add(`${field}.interface`, 'wanted "eth0" to "eth9"');
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(message.mac))
    faults.add(`${field}.mac`, `${show(message.mac)} is not a MAC address in lower case`);
  atMost(addresses, 2, `${field}.addresses`, faults);
  atMost(gateways, 2, `${field}.gateways`, faults);
  for (const [place, one] of addresses.entries())
    if (parseInterfaceAddress(one) === undefined)
      faults.add(`${field}.addresses[${place}]`, `${show(one)} is not an address with its prefix length`);
  return {
    network: checkName(message.network, `${field}.network`, faults),
    bridge: checkBridge(message.bridge, `${field}.bridge`, faults),
    managedBridge,
    interface: message.interface,
    mac: message.mac,
    addresses: [...addresses],
    gateways: gateways.map((one, place) => checkAddress(one, `${field}.gateways[${place}]`, faults)),
    mtu: checkMtu(message.mtu, `${field}.mtu`, faults),
    vlan: checkRange(message.vlan, [0, 4094], `${field}.vlan`, faults),
    masquerade,
    nodePrivateSubnet:
      nodePrivateSubnet === '' ? '' : checkCidr(nodePrivateSubnet, `${field}.nodePrivateSubnet`, faults),
    routes: checkRoutes(message.routes, `${field}.routes`, faults),
  };
}

export const checkMtu = (mtu: number, field: string, faults: Faults): number =>
  mtu === 0 ? 0 : checkRange(mtu, [576, 9216], field, faults);

export function checkRoutes(messages: readonly WireRoute[], field: string, faults: Faults): Route[] {
  atMost(messages, 64, field, faults);
  return messages.slice(0, 64).map(({ destination, via }, place) => {
    const at = `${field}[${place}]`;
    const to = parseCidr(checkCidr(destination, `${at}.destination`, faults));
    const hop = parseAddress(checkAddress(via, `${at}.via`, faults));
    if (to !== undefined && hop !== undefined && to.family !== hop.family)
      faults.add(at, 'destination and next hop are not of one family');
    if (to !== undefined && hop !== undefined && to.prefix > 0 && contains(to, hop))
      faults.add(at, 'the next hop lies in the destination itself');
    return { destination, via };
  });
}

export const formatAssignment = ({ attachments, volumes, ports }: Assignment): WireAssignment => ({
  attachments: attachments.map((one) => ({
    ...one,
    addresses: [...one.addresses],
    gateways: [...one.gateways],
    routes: one.routes.map((route) => ({ ...route })),
  })),
  volumes: volumes.map((one) => ({ ...one })),
  ports: ports.map((one) => ({ ...one })),
});
