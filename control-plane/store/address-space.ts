import { type Cidr, type Family, formatAddress, parseAddress, parseCidr } from '#shared/addresses.ts';
import type { Subnet } from '#shared/model.ts';
import { roomIn } from '#shared/wire/network-document.ts';
import type { HeldAddress } from './store.ts';

/** One subnet as numbers. */
export interface AddressSpace {
  readonly cidr: Cidr;
  /** The ends of what is given out, both included. */
  readonly first: bigint;
  readonly last: bigint;
  /** Never given out. */
  readonly gateway: bigint | undefined;
}

// Records are never changed in place, and every placement asks.
const spaces = new WeakMap<Subnet, AddressSpace>();

/** Undefined: not a subnet, which no checked record holds. */
export function spaceOf(subnet: Subnet): AddressSpace | undefined {
  const known = spaces.get(subnet);
  if (known !== undefined) return known;
  const cidr = parseCidr(subnet.cidr);
  const first = parseAddress(subnet.first);
  const last = parseAddress(subnet.last);
  if (cidr === undefined || first === undefined || last === undefined) return undefined;
  const gateway = parseAddress(subnet.gateway)?.value;
  const space = { cidr, first: first.value, last: last.value, gateway };
  spaces.set(subnet, space);
  return space;
}

/** The key that whoever holds the address writes. */
export function addressKey(network: string, { family, value }: { family: Family; value: bigint }): string {
  const digits = value.toString(16).padStart(family === 4 ? 8 : 32, '0');
  return `ip/${network}/${family}/${digits}`;
}

const valueOf = ({ key }: HeldAddress): bigint => BigInt(`0x${key.slice(key.lastIndexOf('/') + 1)}`);

/** The place of the first that is not below the value. */
function lowerBound(held: readonly HeldAddress[], value: bigint): number {
  let low = 0;
  let high = held.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (valueOf(held[middle] as HeldAddress) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The lowest address that nobody holds; undefined: all are held. `held` is in the order of the numbers. Where
 * the n-th held one is the n-th of the space, everything below it is held: the first gap is found by halving,
 * however many are held.
 */
export function lowestFree(space: AddressSpace, held: readonly HeldAddress[]): bigint | undefined {
  const { first, last, gateway } = space;
  const hasGateway = gateway !== undefined && gateway >= first;
  const start = lowerBound(held, first);
  let low = start;
  let high = held.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const value = valueOf(held[middle] as HeldAddress);
    const rank = value - first - (hasGateway && gateway < value ? 1n : 0n);
    if (rank > BigInt(middle - start)) high = middle;
    else low = middle + 1;
  }
  const unshifted = first + BigInt(low - start);
  const found = hasGateway && gateway <= unshifted ? unshifted + 1n : unshifted;
  return found > last ? undefined : found;
}

/** How many addresses are left to give out. */
export function freeIn(space: AddressSpace, held: readonly HeldAddress[]): bigint {
  const inRange = lowerBound(held, space.last + 1n) - lowerBound(held, space.first);
  return roomIn(space) - BigInt(inRange);
}

/** Why an address of the space cannot be a guest's; empty when it can. */
export function whyNotForGuests({ cidr, gateway }: AddressSpace, value: bigint): string {
  if (value === gateway) return 'is the gateway';
  const isLink = cidr.prefix >= (cidr.family === 4 ? 31 : 127);
  if (!isLink && value === cidr.first) return "is the network's own";
  if (!isLink && cidr.family === 4 && value === cidr.last) return 'is the broadcast address';
  return '';
}

/** "10.20.0.2 to 10.20.0.254". */
export const rangeText = ({ cidr: { family }, first, last }: AddressSpace): string =>
  `${formatAddress({ family, value: first })} to ${formatAddress({ family, value: last })}`;
