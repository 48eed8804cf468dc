import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddress, parseAddress } from '#shared/addresses.ts';
import { isKind } from '#shared/errors.ts';
import type { InstanceId, Subnet } from '#shared/model.ts';
import { NetworkDocument } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { parseApplyDocuments } from '#shared/wire/apply-documents.ts';
import { type AddressSpace, addressKey, freeIn, lowestFree, spaceOf } from './address-space.ts';
import type { HeldAddress } from './store.ts';

/** A subnet as an apply makes it of a document. */
function subnetOf(subnet: Partial<Subnet>, bridge = 'br0'): Subnet | string {
  const document = NetworkDocument.fromPartial({
    metadata: { name: 'lan' },
    spec: { bridge, subnets: [subnet] },
  });
  try {
    const parsed = parseApplyDocuments({ networks: [document], documents: [] }).networks[0]?.spec.subnets[0];
    return parsed ?? 'none';
  } catch (error) {
    if (isKind(error, 'invalid-argument')) return error.message;
    throw error;
  }
}

const spaceFor = (subnet: Partial<Subnet>, bridge?: string): AddressSpace => {
  const parsed = subnetOf(subnet, bridge);
  const space = typeof parsed === 'string' ? undefined : spaceOf(parsed);
  if (space === undefined) throw new Error(JSON.stringify(parsed));
  return space;
};

const heldOf = (space: AddressSpace, values: readonly bigint[]): HeldAddress[] =>
  values.map((value) => ({
    key: addressKey('lan', { family: space.cidr.family, value }),
    network: 'lan',
    address: formatAddress({ family: space.cidr.family, value }),
    instanceId: 'other' as InstanceId,
    instance: 'other-00000',
  }));

/** Everything that is given out, one after another, until nothing is left or there are enough. */
function giveOut(space: AddressSpace, most = 6): string[] {
  const given: bigint[] = [];
  while (given.length < most) {
    const next = lowestFree(space, heldOf(space, given));
    if (next === undefined) break;
    given.push(next);
  }
  return given.map((value) => formatAddress({ family: space.cidr.family, value }));
}

describe('what a subnet gives out', () => {
  const managed = '';
  it.each<[string, Partial<Subnet>, string | undefined, string[], bigint]>([
    ['/24', { cidr: '10.0.0.0/24' }, undefined, ['10.0.0.1', '10.0.0.2', '10.0.0.3'], 254n],
    ['/24, its bridge ours', { cidr: '10.0.0.0/24' }, managed, ['10.0.0.2', '10.0.0.3', '10.0.0.4'], 253n],
    ['/30', { cidr: '10.0.0.0/30' }, undefined, ['10.0.0.1', '10.0.0.2'], 2n],
    ['/30, its bridge ours', { cidr: '10.0.0.0/30' }, managed, ['10.0.0.2'], 1n],
    ['/31', { cidr: '10.0.0.0/31' }, undefined, ['10.0.0.0', '10.0.0.1'], 2n],
    ['/31, its bridge ours', { cidr: '10.0.0.0/31' }, managed, ['10.0.0.1'], 1n],
    ['/32', { cidr: '10.0.0.7/32' }, undefined, ['10.0.0.7'], 1n],
    ['/64', { cidr: 'fd00::/64' }, undefined, ['fd00::1', 'fd00::2', 'fd00::3'], 2n ** 64n - 1n],
    ['/126', { cidr: 'fd00::/126' }, undefined, ['fd00::1', 'fd00::2', 'fd00::3'], 3n],
    ['/127', { cidr: 'fd00::/127' }, undefined, ['fd00::', 'fd00::1'], 2n],
    ['/127, its bridge ours', { cidr: 'fd00::/127' }, managed, ['fd00::1'], 1n],
    ['/128', { cidr: 'fd00::5/128' }, undefined, ['fd00::5'], 1n],
    [
      'a gateway in the middle',
      { cidr: '10.0.0.0/29', gateway: '10.0.0.3' },
      undefined,
      ['10.0.0.1', '10.0.0.2', '10.0.0.4', '10.0.0.5', '10.0.0.6'],
      5n,
    ],
    ['a gateway at the end', { cidr: '10.0.0.0/30', gateway: '10.0.0.2' }, undefined, ['10.0.0.1'], 1n],
    [
      'a range',
      { cidr: '10.0.0.0/24', first: '10.0.0.100', last: '10.0.0.102' },
      undefined,
      ['10.0.0.100', '10.0.0.101', '10.0.0.102'],
      3n,
    ],
    [
      'a range with the gateway in it',
      { cidr: '10.0.0.0/24', gateway: '10.0.0.101', first: '10.0.0.100', last: '10.0.0.102' },
      undefined,
      ['10.0.0.100', '10.0.0.102'],
      2n,
    ],
    [
      'a range below the gateway',
      { cidr: '10.0.0.0/24', gateway: '10.0.0.254', first: '10.0.0.9', last: '10.0.0.9' },
      undefined,
      ['10.0.0.9'],
      1n,
    ],
    ['the whole of IPv4', { cidr: '0.0.0.0/0' }, undefined, ['0.0.0.1', '0.0.0.2'], 2n ** 32n - 2n],
  ])('%s', (_title, subnet, bridge, given, free) => {
    const space = spaceFor(subnet, bridge);
    expect(giveOut(space).slice(0, given.length)).toEqual(given);
    if (free < 6n) expect(giveOut(space)).toHaveLength(Number(free));
    expect(freeIn(space, [])).toBe(free);
  });

  it.each<[Partial<Subnet>, string, RegExp]>([
    [{ cidr: '10.0.0.1/24' }, 'br0', /subnets\[0\]\.cidr: "10\.0\.0\.1\/24" is not a subnet/],
    [
      { cidr: '10.0.0.0/24', gateway: '10.0.0.0' },
      'br0',
      /gateway: "10\.0\.0\.0" is not an address for hosts/,
    ],
    [{ cidr: '10.0.0.0/24', gateway: '10.0.0.255' }, 'br0', /wanted 10\.0\.0\.1 to 10\.0\.0\.254/],
    [{ cidr: '10.0.0.0/24', gateway: '10.0.1.1' }, 'br0', /gateway/],
    [{ cidr: '10.0.0.0/24', first: 'fd00::1' }, 'br0', /first/],
    [{ cidr: '10.0.0.0/24', first: '10.0.0.9', last: '10.0.0.8' }, 'br0', /has no address to give out/],
    [{ cidr: '10.0.0.7/32' }, '', /has no address to give out/],
    [{ cidr: 'fd00::5/128' }, '', /has no address to give out/],
    [
      { cidr: '10.0.0.0/24', gateway: '10.0.0.9', first: '10.0.0.9', last: '10.0.0.9' },
      'br0',
      /has no address to give out/,
    ],
  ])('refuses %j', (subnet, bridge, message) => {
    expect(subnetOf(subnet, bridge)).toMatch(message);
  });
});

describe('the lowest free address', () => {
  const number = (text: string): bigint => parseAddress(text)?.value ?? 0n;

  it('is that of a search one by one, whatever is held', () => {
    const base = number('10.0.0.0');
    const offsets = fc.uniqueArray(fc.integer({ min: 0, max: 63 }), { maxLength: 64 });
    const ends = fc.tuple(fc.integer({ min: 0, max: 63 }), fc.integer({ min: 0, max: 63 }));
    const gateway = fc.option(fc.integer({ min: 0, max: 63 }), { nil: undefined });
    const property = fc.property(offsets, ends, gateway, (held, [one, other], at) => {
      const space = {
        ...spaceFor({ cidr: '10.0.0.0/26' }),
        first: base + BigInt(Math.min(one, other)),
        last: base + BigInt(Math.max(one, other)),
        gateway: at === undefined ? undefined : base + BigInt(at),
      };
      const taken = held.filter((each) => each !== at).toSorted((a, b) => a - b);
      const all = taken.map((each) => base + BigInt(each));
      const free: bigint[] = [];
      for (let value = space.first; value <= space.last; value += 1n)
        if (value !== space.gateway && !all.includes(value)) free.push(value);
      expect(lowestFree(space, heldOf(space, all))).toBe(free[0]);
      expect(freeIn(space, heldOf(space, all))).toBe(BigInt(free.length));
    });
    fc.assert(property, { numRuns: 2000 });
  });

  it('is found by looking at a few of ten thousand that are held', () => {
    const space = spaceFor({ cidr: '10.20.0.0/16' }, '');
    const first = number('10.20.0.2');
    const values = Array.from({ length: 10_000 }, (_, place) => first + BigInt(place)).filter(
      (value) => value !== number('10.20.30.7'),
    );
    let looks = 0;
    const held = new Proxy(heldOf(space, values), {
      get(target, key, receiver) {
        if (typeof key === 'string' && /^\d+$/.test(key)) looks += 1;
        return Reflect.get(target, key, receiver) as unknown;
      },
    });
    expect(lowestFree(space, held)).toBe(number('10.20.30.7'));
    expect(looks).toBeLessThan(40);
  });
});
