import { contains, formatAddress, parseAddress, parseInterfaceAddress } from '#shared/addresses.ts';
import { DroverError } from '#shared/errors.ts';
import type { Attachment, Instance, Network, NetworkUse } from '#shared/model.ts';
import { roomIn } from '#shared/wire/network-document.ts';
import { addressKey, type AddressSpace, lowestFree, rangeText, whyNotForGuests } from './address-space.ts';
import type { Transaction } from './store.ts';

interface Choice {
  readonly instance: Instance;
  readonly network: Network;
  readonly use: NetworkUse;
  readonly space: AddressSpace;
  /** What it has had in the network. */
  readonly before: Attachment | undefined;
}

/**
 * One address with its prefix length: what the instance had there already, else the first of those that its
 * spec names, else the lowest that is free. failed-precondition: none that it names can be a guest's;
 * resource-exhausted: all are held.
 */
export function chooseAddress(tx: Transaction, choice: Choice): string {
  const { space, before } = choice;
  const { family, prefix } = space.cidr;
  const named = namedIn(choice);
  const had = before?.addresses
    .flatMap((text) => parseInterfaceAddress(text) ?? [])
    .find((each) => contains(space.cidr, each) && whyNotForGuests(space, each.value) === '');
  const isKept = had !== undefined && (named.length === 0 || named.includes(had.value));
  const value = isKept ? had.value : named.length > 0 ? firstFree(tx, choice, named) : anyFree(tx, choice);
  return `${formatAddress({ family, value })}/${prefix}`;
}

/** Those that the spec names of the space's family, in their order. */
function namedIn({ network, use, space }: Choice): readonly bigint[] {
  const { name } = network.metadata;
  return use.addresses.flatMap((text) => {
    const address = parseAddress(text);
    if (address === undefined || address.family !== space.cidr.family) return [];
    const isOutside = !contains(space.cidr, address);
    const why = isOutside ? `lies in no subnet of network ${name}` : whyNotForGuests(space, address.value);
    if (why === '') return [address.value];
    throw new DroverError('failed-precondition', `${text} ${why}`, { subject: { network: name } });
  });
}

function firstFree(tx: Transaction, { instance, network, space }: Choice, named: readonly bigint[]): bigint {
  const { id, project } = instance.metadata;
  const { name } = network.metadata;
  const { family } = space.cidr;
  const holders: string[] = [];
  for (const value of named) {
    const holder = tx.get('address', addressKey(name, { family, value }), project);
    if (holder === undefined || holder.instanceId === id) return value;
    if (holders.length < 3) holders.push(`${holder.address} is ${holder.instance}'s`);
  }
  const rest = named.length > holders.length ? ` and ${named.length - holders.length} more` : '';
  throw new DroverError(
    'resource-exhausted',
    `every address that it names in network ${name} is held: ${holders.join(', ')}${rest}`,
    { subject: { network: name }, reason: 'addresses-held' },
  );
}

function anyFree(tx: Transaction, { instance, network, space }: Choice): bigint {
  const { name } = network.metadata;
  const held = tx.heldAddresses(name, space.cidr.family, instance.metadata.project);
  const value = lowestFree(space, held);
  if (value !== undefined) return value;
  throw new DroverError(
    'resource-exhausted',
    `network ${name} is full: ${roomIn(space)} of ${roomIn(space)} addresses are held, ${rangeText(space)}`,
    {
      subject: { network: name },
      reason: 'network-full',
      nextStep: `remove what needs none, or widen it; drover describe network ${name} says who holds which`,
    },
  );
}
