import { createHash } from 'node:crypto';
import { formatAddress, parseInterfaceAddress } from '#shared/addresses.ts';
import { DroverError } from '#shared/errors.ts';
import type {
  Assignment,
  Attachment,
  Instance,
  InstanceId,
  Network,
  NetworkUse,
  NodeName,
} from '#shared/model.ts';
import { addressKey, type AddressSpace, spaceOf } from './address-space.ts';
import { chooseAddress } from './choose-address.ts';
import { choosePorts } from './choose-ports.ts';
import type { HeldAddress, Transaction } from './store.ts';

/**
 * The interfaces and host ports that an instance gets on the node, reserved for its life. What it has
 * already (`instance.spec.assigned`) it keeps as far as its spec still asks for it; what it no longer asks
 * for it holds until freeLeft. Repeating it changes nothing. failed-precondition, resource-exhausted: why it
 * cannot have them there, before anything is written.
 */
export function assignAddresses(
  tx: Transaction,
  instance: Instance,
  node: NodeName,
  macs: readonly string[] = [],
): Pick<Assignment, 'attachments' | 'ports'> {
  const { spec } = instance;
  const attachments = spec.networks.map((use, place) =>
    attach(tx, instance, { use, place, mac: macs[place] }),
  );
  const ports = choosePorts(tx, instance, node);
  hold(tx, instance, attachments);
  return { attachments, ports };
}

/**
 * Gives back all that an instance holds: it is forgotten, or its host is dead. Repeating it changes
 * nothing.
 */
export function freeAddresses(tx: Transaction, instance: Instance): void {
  free(tx, instance, everHeld(instance).flatMap(heldBy));
}

/** How many writes giving back costs at most. */
export const heldCount = (instance: Instance): number => everHeld(instance).flatMap(heldBy).length;

const everHeld = ({ spec, leaving = [] }: Instance): readonly Attachment[] => [
  ...leaving,
  ...spec.assigned.attachments,
];

/** What an instance had before it was assigned anew: the interfaces of which something is not held on. */
export function leavingOf(
  before: Instance,
  { attachments }: Pick<Assignment, 'attachments'>,
): readonly Attachment[] {
  const keys = new Set(attachments.flatMap(heldBy).map(({ key }) => key));
  return everHeld(before).filter((each) => heldBy(each).some(({ key }) => !keys.has(key)));
}

/** No guest of before can run any more: what only that one had is free. Repeating it changes nothing. */
export function freeLeft(tx: Transaction, instance: Instance): void {
  const { leaving = [], ...rest } = instance;
  if (leaving.length === 0) return;
  const keys = new Set(instance.spec.assigned.attachments.flatMap(heldBy).map(({ key }) => key));
  free(
    tx,
    instance,
    leaving.flatMap(heldBy).filter(({ key }) => !keys.has(key)),
  );
  tx.put('instance', instance.metadata.id, rest, instance.metadata.project);
}

interface Wish {
  readonly use: NetworkUse;
  readonly place: number;
  /** The hardware address that its guest has already. */
  readonly mac: string | undefined;
}

function attach(tx: Transaction, instance: Instance, { use, place, mac: found = '' }: Wish): Attachment {
  const { project } = instance.metadata;
  const network = tx.named('network', use.network, project);
  if (network === undefined) throw unknownNetwork(instance, use.network);
  const had = [...instance.spec.assigned.attachments, ...(instance.leaving ?? [])];
  const before = had.find((each) => each.network === use.network);
  const { spec, metadata } = network;
  const own = isFreeMac(tx, found, project) ? found : undefined;
  const mac = before?.mac ?? own ?? freeMac(tx, instance, place);
  const spaces = spec.subnets.flatMap((subnet) => spaceOf(subnet) ?? []);
  checkUse(network, use, spaces);
  const chosen = spec.nodePrivate
    ? []
    : spaces.map((space) => chooseAddress(tx, { instance, network, use, space, before }));
  const gateways = spec.subnets.flatMap(({ gateway }) => (gateway === '' ? [] : [gateway]));
  const hasDns = spec.dns.servers.length + spec.dns.search.length + spec.dns.options.length > 0;
  return {
    network: metadata.name,
    bridge: spec.bridge,
    managedBridge: spec.managedBridge,
    interface: `eth${place}`,
    mac,
    addresses: chosen,
    gateways,
    mtu: spec.mtu,
    vlan: spec.vlan,
    masquerade: spec.masquerade,
    nodePrivateSubnet: spec.nodePrivate ? (spec.subnets[0]?.cidr ?? '') : '',
    routes: spec.routes,
    ...(hasDns ? { dns: spec.dns } : {}),
  };
}

function checkUse(
  { metadata: { name }, spec }: Network,
  use: NetworkUse,
  spaces: readonly AddressSpace[],
): void {
  if (use.addresses.length === 0 || (!spec.nodePrivate && spaces.length > 0)) return;
  const why = spec.nodePrivate ? 'every node gives out its addresses by itself' : 'it has no subnet';
  throw new DroverError('failed-precondition', `nobody can choose an address in network ${name}: ${why}`, {
    subject: { network: name },
  });
}

const unknownNetwork = ({ metadata }: Instance, network: string): DroverError =>
  new DroverError(
    'failed-precondition',
    `${metadata.name} is to be in network ${network}, which there is not`,
    {
      subject: { network },
      reason: 'unknown-network',
      nextStep: `apply a document of kind Network with the name ${network}`,
    },
  );

/** In another cluster somebody else may have it. */
const isFreeMac = (tx: Transaction, mac: string, project: string): boolean =>
  /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac) && tx.get('address', macKey(mac), project) === undefined;

/** Locally administered, and the same for the same instance and interface. */
function freeMac(tx: Transaction, { metadata }: Instance, place: number): string {
  for (let salt = 0; ; salt += 1) {
    const digits = createHash('sha256').update(`${metadata.id}/${place}/${salt}`).digest('hex').slice(0, 10);
    const mac = ['02', ...(digits.match(/../g) ?? [])].join(':');
    const holder = tx.get('address', macKey(mac), metadata.project);
    if (holder === undefined) return mac;
  }
}

const macKey = (mac: string): string => `mac/${mac.replaceAll(':', '')}`;

/** What an interface holds, by key. */
function heldBy({
  network,
  mac,
  addresses,
}: Attachment): { network: string; key: string; address: string }[] {
  const numbers = addresses.flatMap((text) => parseInterfaceAddress(text) ?? []);
  return [
    { network, key: macKey(mac), address: mac },
    ...numbers.map((one) => ({ network, key: addressKey(network, one), address: formatAddress(one) })),
  ];
}

function free(
  tx: Transaction,
  { metadata: { id, project } }: Instance,
  held: readonly { readonly key: string }[],
): void {
  for (const { key } of held)
    if (tx.get('address', key, project)?.instanceId === id) tx.delete('address', key, project);
}

function hold(tx: Transaction, { metadata }: Instance, attachments: readonly Attachment[]): void {
  const { id, name, project } = metadata;
  for (const one of attachments.flatMap(heldBy)) {
    if (tx.get('address', one.key, project)?.instanceId === id) continue;
    const record: HeldAddress = { ...one, instanceId: id as InstanceId, instance: name };
    tx.put('address', one.key, record, project);
  }
}
