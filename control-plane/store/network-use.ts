import { contains, parseAddress } from '#shared/addresses.ts';
import type { Instance, Network, NetworkUse, Workload } from '#shared/model.ts';
import { addressKey, type AddressSpace, spaceOf, whyNotForGuests } from './address-space.ts';
import type { HeldAddress, Snapshot } from './store.ts';

/** Instances whose guest has, or may still have, an interface in the network. */
export const instancesIn = (snapshot: Pick<Snapshot, 'list'>, { metadata }: Network): readonly Instance[] =>
  snapshot
    .list('instance', metadata.project)
    .filter(({ spec, leaving = [] }) =>
      [...spec.assigned.attachments, ...leaving].some(({ network }) => network === metadata.name),
    );

/** Workloads whose copies are to be in the network. */
export const workloadsIn = (snapshot: Pick<Snapshot, 'list'>, { metadata }: Network): readonly Workload[] =>
  snapshot
    .list('workload', metadata.project)
    .filter(({ spec }) => spec.networks.some(({ network }) => network === metadata.name));

export const spacesOf = ({ spec }: Pick<Network, 'spec'>): readonly AddressSpace[] =>
  spec.nodePrivate ? [] : spec.subnets.flatMap((subnet) => spaceOf(subnet) ?? []);

export const heldIn = (
  snapshot: Pick<Snapshot, 'heldAddresses'>,
  { name, project }: Network['metadata'],
): readonly HeldAddress[] => [
  ...snapshot.heldAddresses(name, 4, project),
  ...snapshot.heldAddresses(name, 6, project),
];

/** Why a guest cannot have the address in the network; empty when it can, whoever holds it now. */
export function whyNotIn(network: Pick<Network, 'spec' | 'metadata'>, text: string): string {
  const { name } = network.metadata;
  if (network.spec.nodePrivate) return `cannot be chosen: every node gives out those of ${name} by itself`;
  const address = parseAddress(text);
  const space = address && spacesOf(network).find(({ cidr }) => contains(cidr, address));
  if (address === undefined || space === undefined) return `lies in no subnet of network ${name}`;
  const why = whyNotForGuests(space, address.value);
  return why === '' ? '' : `${why} in network ${name}`;
}

/** Who holds the address; undefined: nobody. */
export function holderOf(
  snapshot: Pick<Snapshot, 'get'>,
  { name, project }: Network['metadata'],
  text: string,
): HeldAddress | undefined {
  const address = parseAddress(text);
  return address && snapshot.get('address', addressKey(name, address), project);
}

/** Addresses that the workload has chosen in the network, in their shortest form. */
export const chosenIn = ({ spec }: Workload, network: string): readonly string[] =>
  spec.networks.find((use) => use.network === network)?.addresses ?? [];

/** How many of the addresses are of each family that some are of. */
export function countByFamily({ addresses }: NetworkUse): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const text of addresses) {
    const family = `IPv${parseAddress(text)?.family ?? 4}`;
    counts.set(family, (counts.get(family) ?? 0) + 1);
  }
  return counts;
}

/** "web-a, web-b, web-c and 4 more". */
export function someNames(names: readonly string[]): string {
  const some = names.slice(0, 3).join(', ');
  return names.length > 3 ? `${some} and ${names.length - 3} more` : some;
}
