import { createHash } from 'node:crypto';
import {
  type Address,
  type Cidr,
  contains,
  formatAddress,
  formatCidr,
  hostsOf,
  parseAddress,
  parseCidr,
} from '#shared/addresses.ts';
import type {
  Network as WireNetwork,
  NetworkDocument as WireNetworkDocument,
  NetworkSpec as WireNetworkSpec,
  Subnet as WireSubnet,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Network, NetworkSpec, Route, Subnet } from '#shared/model.ts';
import {
  type Faults,
  atMost,
  checkAnnotations,
  checkCount,
  checkLabels,
  checkName,
  checkProject,
  checkRange,
  show,
} from '#shared/wire/checks.ts';
import { checkBridge, checkCidr, checkDns, checkMtu, checkRoutes, formatDns } from '#shared/wire/network.ts';
import { formatMetadata } from '#shared/wire/workload.ts';

/** One network of an apply, checked. */
export interface NetworkDocument {
  readonly project: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** The revision it must still be at; zero: whatever it is now. */
  readonly expectedRevision: number;
  readonly spec: NetworkSpec;
}

/** What a document that says nothing gets. */
const emptySpec: WireNetworkSpec = {
  bridge: '',
  subnets: [],
  mtu: 0,
  vlan: 0,
  masquerade: false,
  nodePrivate: false,
  dns: undefined,
  routes: [],
};

/** `prefix` stands before every field's name in a fault; paths are as in the YAML. */
export function checkNetworkDocument(
  { metadata, spec }: WireNetworkDocument,
  prefix: string,
  faults: Faults,
): NetworkDocument {
  const within = (field: string): string => `${prefix}${field}`;
  const name = checkName(metadata?.name ?? '', within('name'), faults);
  return {
    project: checkProject(metadata?.project ?? '', within('project'), faults),
    name,
    labels: checkLabels(metadata?.labels ?? {}, within('labels'), faults),
    annotations: checkAnnotations(metadata?.annotations ?? {}, within('annotations'), faults),
    expectedRevision: checkCount(metadata?.revision ?? 0n, within('revision'), faults),
    spec: checkNetworkSpec(spec ?? emptySpec, name, prefix, faults),
  };
}

/** Host names have at most 15 characters: of a longer network's name, a part and a hash. */
export function managedBridgeName(network: string): string {
  if (network.length <= 11) return `drv-${network}`;
  return `drv-${network.slice(0, 6)}${createHash('sha256').update(network).digest('hex').slice(0, 5)}`;
}

function checkNetworkSpec(
  message: WireNetworkSpec,
  name: string,
  prefix: string,
  faults: Faults,
): NetworkSpec {
  const within = (field: string): string => `${prefix}${field}`;
  const { nodePrivate } = message;
  const managedBridge = message.bridge === '';
  const bridge = managedBridge
    ? managedBridgeName(name)
    : checkBridge(message.bridge, within('bridge'), faults);
  if (!managedBridge && bridge.startsWith('drv-'))
    faults.add(
      within('bridge'),
      `${show(bridge)} is one of those that Drover makes: leave the bridge out for that`,
    );
  if (nodePrivate && !managedBridge)
    faults.add(within('nodePrivate'), 'needs a bridge that Drover makes: leave the bridge out');
  atMost(message.subnets, 2, within('subnets'), faults);
  const subnets = message.subnets
    .slice(0, 2)
    .map((one, place) => checkSubnet(one, managedBridge, within(`subnets[${place}]`), faults));
  checkFamilies(subnets, nodePrivate, within('subnets'), faults);
  const routes = checkRoutes(message.routes, within('routes'), faults);
  checkNextHops(routes, subnets, within('routes'), faults);
  return {
    bridge,
    managedBridge,
    subnets,
    mtu: checkMtu(message.mtu, within('mtu'), faults),
    vlan: checkRange(message.vlan, [0, 4094], within('vlan'), faults),
    // Behind the node's own address, or nobody answers.
    masquerade: message.masquerade || nodePrivate,
    nodePrivate,
    dns: checkDns(message.dns, within('dns'), faults),
    routes,
  };
}

function checkSubnet(message: WireSubnet, managedBridge: boolean, field: string, faults: Faults): Subnet {
  const cidr = parseCidr(checkCidr(message.cidr, `${field}.cidr`, faults));
  if (cidr === undefined) return { ...message };
  const hosts = hostsOf(cidr);
  const inside = (text: string, part: string): Address | undefined => {
    if (text === '') return undefined;
    const address = parseAddress(text);
    if (address !== undefined && address.family === cidr.family) {
      if (address.value >= hosts.first && address.value <= hosts.last) return address;
    }
    const ends = `${textOf(cidr, hosts.first)} to ${textOf(cidr, hosts.last)}`;
    faults.add(
      `${field}.${part}`,
      `${show(text)} is not an address for hosts of ${message.cidr}; wanted ${ends}`,
    );
    return undefined;
  };
  const gateway = inside(message.gateway, 'gateway')?.value ?? (managedBridge ? hosts.first : undefined);
  const lowest = gateway === hosts.first ? hosts.first + 1n : hosts.first;
  const first = inside(message.first, 'first')?.value ?? lowest;
  const last = inside(message.last, 'last')?.value ?? hosts.last;
  const range = { first, last, gateway };
  if (roomIn(range) <= 0n)
    faults.add(
      field,
      `${message.cidr} has no address to give out between its first, its last and its gateway`,
    );
  return {
    cidr: formatCidr(cidr),
    gateway: gateway === undefined ? '' : textOf(cidr, gateway),
    // An empty range was refused above, and need not be an address.
    first: first > cidr.last ? message.first : textOf(cidr, first),
    last: textOf(cidr, last),
  };
}

const textOf = ({ family }: Cidr, value: bigint): string => formatAddress({ family, value });

/** How many addresses can be given out; the gateway is none of them. */
export function roomIn({
  first,
  last,
  gateway,
}: {
  readonly first: bigint;
  readonly last: bigint;
  readonly gateway: bigint | undefined;
}): bigint {
  const isInside = gateway !== undefined && gateway >= first && gateway <= last;
  return last < first ? 0n : last - first + 1n - (isInside ? 1n : 0n);
}

function checkFamilies(
  subnets: readonly Subnet[],
  nodePrivate: boolean,
  field: string,
  faults: Faults,
): void {
  const families = subnets.map(({ cidr }) => parseCidr(cidr)?.family);
  if (families.length === 2 && families[0] !== undefined && families[0] === families[1])
    faults.add(`${field}[1]`, `is a second one of IPv${families[0]}; wanted at most one of each family`);
  if (nodePrivate && (families.length !== 1 || families[0] === 6))
    faults.add(field, 'of a network that is private to nodes: wanted one, of IPv4');
}

/** A next hop outside would be unreachable: the guest could not even be configured. */
function checkNextHops(
  routes: readonly Route[],
  subnets: readonly Subnet[],
  field: string,
  faults: Faults,
): void {
  const cidrs = subnets.flatMap(({ cidr }) => parseCidr(cidr) ?? []);
  for (const [place, { via }] of routes.entries()) {
    const hop = parseAddress(via);
    if (hop !== undefined && !cidrs.some((cidr) => contains(cidr, hop)))
      faults.add(`${field}[${place}].via`, `${show(via)} lies in no subnet of the network`);
  }
}

const formatNetworkSpec = (spec: NetworkSpec): WireNetworkSpec => ({
  // What is read can be applied again: a name would make it somebody else's bridge.
  bridge: spec.managedBridge ? '' : spec.bridge,
  subnets: spec.subnets.map((one) => ({ ...one })),
  mtu: spec.mtu,
  vlan: spec.vlan,
  masquerade: spec.masquerade,
  nodePrivate: spec.nodePrivate,
  dns: formatDns(spec.dns),
  routes: spec.routes.map((route) => ({ ...route })),
});

/** What instances hold of a network, and what is left of it. */
export interface NetworkUsage {
  /** Undefined: they are counted, and not told. */
  readonly held?: readonly { readonly address: string; readonly instance: string }[];
  readonly heldCount: number;
  readonly free: bigint;
}

const uint64Max = 2n ** 64n - 1n;

/** So that the answer stays below what one message can hold. */
const heldToldMax = 10_000;

export const formatNetwork = (
  { metadata, spec }: Network,
  { held = [], heldCount, free }: NetworkUsage,
): WireNetwork => ({
  metadata: formatMetadata(metadata),
  spec: formatNetworkSpec(spec),
  held: held.slice(0, heldToldMax).map(({ address, instance }) => ({ address, instance })),
  free: free > uint64Max ? uint64Max : free,
  heldCount,
});
