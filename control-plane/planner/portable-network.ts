import type { Network } from '#shared/model.ts';
import { found, type Finding, isOfCluster, type PortabilityInput, targetsOf } from './portability-finding.ts';

/** Interfaces, addresses, ports and names. */
export const networkFindings = (input: PortabilityInput): Finding[] => [
  ...mode(input),
  ...input.spec.networks.flatMap((use) => {
    const network = input.networks.find(({ metadata }) => metadata.name === use.network);
    return network === undefined
      ? found('network', 'stands in the way', `there is no network ${use.network}`)
      : ofNetwork(network, input);
  }),
  ...hardware(input),
  ...portsAndNames(input),
];

function mode({ spec, to }: PortabilityInput): Finding[] {
  if (spec.network === 'host' && isOfCluster(to))
    return found(
      'network',
      'stands in the way',
      'network "host": a container of a cluster has its own, or none',
    );
  return found('network', 'carries over', `"${spec.network}"`, spec.network !== 'bridged');
}

function ofNetwork({ metadata: { name }, spec }: Network, input: PortabilityInput): Finding[] {
  const toCluster = isOfCluster(input.to);
  const targets = targetsOf(input);
  const withBridge = targets.filter(
    ({ bridges }) => bridges === undefined || bridges.size === 0 || bridges.has(spec.bridge),
  );
  if (targets.length > 0 && withBridge.length === 0) {
    const there = [...new Set(targets.flatMap(({ bridges = new Set<string>() }) => [...bridges]))];
    const why = spec.managedBridge ? 'which Drover makes on plain hosts alone' : 'which no such node has';
    return found(
      'network',
      'stands in the way',
      `${name} is on the bridge ${spec.bridge}, ${why}; there are ${there.join(', ')}`,
    );
  }
  const offered = [
    spec.masquerade ? 'masquerade' : '',
    spec.nodePrivate ? 'addresses that nodes give out' : '',
  ].filter((part) => part !== '');
  if (toCluster && offered.length > 0)
    return found(
      'network',
      'stands in the way',
      `${name} has ${offered.join(' and ')}: a cluster’s node does neither`,
    );
  const vlan = spec.vlan === 0 ? '' : `, VLAN ${spec.vlan}`;
  return found(
    'network',
    'carries over',
    `${name} on the bridge ${spec.bridge}${vlan}, its addresses among it`,
  );
}

/** They are the instance's, and a moved copy is another instance. */
const hardware = ({ instances }: PortabilityInput): Finding[] =>
  instances.flatMap(({ metadata, spec }) =>
    spec.assigned.attachments.flatMap((one) =>
      found('MAC', 'changes', `${one.interface} of ${metadata.name} would have another one than ${one.mac}`),
    ),
  );

function portsAndNames({ spec, to }: PortabilityInput): Finding[] {
  const toCluster = isOfCluster(to);
  const ports = spec.ports.map(({ hostPort, guestPort, protocol }) => `${hostPort}:${guestPort}/${protocol}`);
  const { servers, search, options } = spec.dns;
  return [
    ...found(
      'ports',
      toCluster ? 'stands in the way' : 'carries over',
      toCluster ? `${ports.join(', ')}: a cluster’s nodes forward none` : ports.join(', '),
      ports.length > 0,
    ),
    ...found('names', 'carries over', [...servers, ...search].join(', '), servers.length + search.length > 0),
    ...found(
      'names',
      toCluster ? 'stands in the way' : 'carries over',
      toCluster
        ? `dns.options ${options.join(', ')}: a cluster cannot set them`
        : `options ${options.join(', ')}`,
      options.length > 0,
    ),
  ];
}
