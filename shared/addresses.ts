import ipaddr from 'ipaddr.js';

export type Family = 4 | 6;

/** One address as a number, in its family. */
export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

/** All addresses that begin with the same bits. `first` is the network's own, `last` IPv4's broadcast. */
export interface Cidr {
  readonly family: Family;
  readonly prefix: number;
  readonly first: bigint;
  readonly last: bigint;
}

const bitsOf = (family: Family): number => (family === 4 ? 32 : 128);

/** Undefined: not an address in the usual form; an IPv4 address has four decimal parts, a zone is refused. */
export function parseAddress(text: string): Address | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return numberOf(ipaddr.IPv4.parse(text), 4);
  if (text.includes(':') && !text.includes('%') && ipaddr.IPv6.isValid(text))
    return numberOf(ipaddr.IPv6.parse(text), 6);
  return undefined;
}

/** IPv6 in its shortest form (RFC 5952). */
export function formatAddress({ family, value }: Address): string {
  const size = bitsOf(family) / 8;
  const bytes = Array.from({ length: size }, (_, place) =>
    Number((value >> BigInt(8 * (size - 1 - place))) & 255n),
  );
  const address = ipaddr.fromByteArray(bytes);
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();
}

/** "10.20.0.0/16". Undefined: not one, or bits below the prefix are set. */
export function parseCidr(text: string): Cidr | undefined {
  const network = cidrOf(text);
  if (network === undefined) return undefined;
  const address = parseAddress(text.slice(0, text.indexOf('/')));
  return address?.value === network.first ? network : undefined;
}

/** An address with its prefix length, "10.20.0.5/16". */
export function parseInterfaceAddress(text: string): (Address & { readonly subnet: Cidr }) | undefined {
  const subnet = cidrOf(text);
  const address = parseAddress(text.slice(0, Math.max(0, text.indexOf('/'))));
  return subnet === undefined || address === undefined ? undefined : { ...address, subnet };
}

export const formatCidr = ({ family, first, prefix }: Cidr): string =>
  `${formatAddress({ family, value: first })}/${prefix}`;

export const contains = (cidr: Cidr, { family, value }: Address): boolean =>
  cidr.family === family && value >= cidr.first && value <= cidr.last;

export const overlaps = (one: Cidr, other: Cidr): boolean =>
  one.family === other.family && one.first <= other.last && other.first <= one.last;

/**
 * The addresses that hosts can have, both ends included: not the network's own, and not IPv4's broadcast.
 * Links of two and single addresses have neither (RFC 3021, RFC 6164).
 */
export function hostsOf({ family, prefix, first, last }: Cidr): {
  readonly first: bigint;
  readonly last: bigint;
} {
  if (prefix >= (family === 4 ? 31 : 127)) return { first, last };
  return { first: first + 1n, last: family === 4 ? last - 1n : last };
}

function cidrOf(text: string): Cidr | undefined {
  const [, head, digits] = /^([0-9a-fA-F:.]{2,45})\/(\d{1,3})$/.exec(text) ?? [];
  const address = head === undefined ? undefined : parseAddress(head);
  const prefix = Number(digits);
  if (address === undefined || prefix > bitsOf(address.family)) return undefined;
  const hostBits = BigInt(bitsOf(address.family) - prefix);
  const first = (address.value >> hostBits) << hostBits;
  return { family: address.family, prefix, first, last: first + (1n << hostBits) - 1n };
}

function numberOf(address: { toByteArray(): number[] }, family: Family): Address {
  const value = address.toByteArray().reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return { family, value };
}
