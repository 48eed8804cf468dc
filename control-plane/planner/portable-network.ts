import type { Network } from '#shared/model.ts';
import {
  carries,
  changes,
  type Finding,
  isOfCluster,
  namesOf,
  obstructs,
  type PortabilityInput,
  targetsOf,
  when,
} from './portability-finding.ts';

/** Interfaces, addresses, ports and names. What was reserved for a copy is kept, so is what it is called. */
export const networkFindings = (input: PortabilityInput): Finding[] => [
  ...mode(input),
  ...input.spec.networks.flatMap(({ network: name }) => {
    const network = input.networks.find(({ metadata }) => metadata.name === name);
    return network === undefined
      ? [obstructs('network', name, 'there is no such network', `drover apply a Network called ${name}`)]
      : ofNetwork(network, input);
  }),
  ...reserved(input),
  ...ports(input),
  ...names(input),
];

function mode({ spec, to }: PortabilityInput): Finding[] {
  if (spec.network === 'bridged') return [];
  if (spec.network === 'none') return [carries('network', 'none')];
  return [
    isOfCluster(to)
      ? obstructs('network', 'the host’s', 'a container has interfaces of its own, or none', 'name networks')
      : carries('network', 'the host’s'),
  ];
}

const hasBridge = (bridge: string, bridges: ReadonlySet<string> | undefined): boolean =>
  bridges === undefined || bridges.size === 0 || bridges.has(bridge);

function ofNetwork(network: Network, input: PortabilityInput): Finding[] {
  const { spec, metadata } = network;
  const targets = targetsOf(input);
  const there = new Set(targets.flatMap(({ bridges }) => [...(bridges ?? [])]));
  const isThere = targets.some(({ bridges }) => hasBridge(spec.bridge, bridges));
  const toCluster = isOfCluster(input.to);
  const on = `${metadata.name} on the bridge ${spec.bridge}`;
  const makesNone = 'Proxmox nodes have their bridges, and make none';
  return [
    ...when(!isThere && targets.length > 0, () =>
      obstructs(
        'network',
        on,
        spec.managedBridge ? makesNone : `no node that offers ${input.to} has it`,
        `apply a Network on one of ${namesOf([...there].toSorted())}, and name that; its addresses follow`,
      ),
    ),
    ...when(isThere, () =>
      carries(
        'network',
        on,
        on,
        !toCluster && !spec.managedBridge
          ? `the node needs the bridge ${spec.bridge}: Drover makes none`
          : '',
      ),
    ),
    ...when(spec.vlan > 0, () => carries('network', `${metadata.name} with the VLAN ${spec.vlan}`)),
    ...when(spec.mtu > 0, () => carries('network', `${metadata.name} with an MTU of ${spec.mtu}`)),
    ...(toCluster ? onlyOnHosts(network) : []),
  ];
}

function onlyOnHosts({ metadata: { name }, spec }: Network): Finding[] {
  const rows: readonly (readonly [isSo: boolean, what: string, then: string])[] = [
    [spec.masquerade, 'masquerading', 'its nodes do none'],
    [spec.nodePrivate, 'addresses of each node’s own', 'its nodes give out none'],
    [spec.routes.length > 0, 'routes', 'its guests cannot get them'],
  ];
  return rows.flatMap(([isSo, what, then]) =>
    when(isSo, () => obstructs('network', `${name} with ${what}`, then, 'name a Network without')),
  );
}

/** One row for each kind of thing, however many copies there are. */
function reserved({ instances }: PortabilityInput): Finding[] {
  const attachments = instances.flatMap(({ spec }) => spec.assigned.attachments);
  const addresses = attachments.flatMap((each) => each.addresses);
  const macs = attachments.map(({ mac }) => mac).filter((mac) => mac !== '');
  const kept = 'the same: they stay reserved for it';
  return [
    ...when(addresses.length > 0, () => carries('addresses', namesOf(addresses), kept)),
    ...when(attachments.length > 0 && addresses.length === 0, () =>
      carries('addresses', 'what the network gives out', 'it asks again, with the same hardware address'),
    ),
    ...when(macs.length > 0, () => carries('hardware address', namesOf(macs), kept)),
  ];
}

function ports({ spec, to }: PortabilityInput): Finding[] {
  const all = spec.ports.map(
    ({ hostPort, guestPort, protocol }) => `${hostPort === 0 ? 'any' : hostPort}:${guestPort}/${protocol}`,
  );
  if (all.length === 0) return [];
  if (!isOfCluster(to)) return [carries('ports', namesOf(all))];
  const advice = 'take ports out, and reach it by its own address';
  return [obstructs('ports', namesOf(all), 'its nodes forward none', advice)];
}

function names({ spec, to }: PortabilityInput): Finding[] {
  const { servers, search, options } = spec.dns;
  return [
    ...when(servers.length + search.length > 0, () =>
      carries('name servers', [...servers, ...search].join(', ')),
    ),
    ...when(options.length > 0, () =>
      isOfCluster(to)
        ? obstructs(
            'name servers',
            `options ${options.join(', ')}`,
            'only servers and search domains can be set',
            'take dns.options out',
          )
        : carries('name servers', `options ${options.join(', ')}`),
    ),
    ...when(spec.network === 'bridged' && servers.length === 0 && isOfCluster(to), () =>
      changes('name servers', 'those of its network, else of its node', 'the same, written into its root'),
    ),
  ];
}
