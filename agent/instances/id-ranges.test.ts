import { describe, expect, it } from 'vitest';
import type { InstanceId } from '#shared/model.ts';
import { createIdRanges, type IdRanges } from './id-ranges.ts';

const size = 65_536;
const shared = { base: 1_000_000, size };
const own = (number: number) => ({ base: shared.base + number * size, size });
const [a, b, c] = ['a', 'b', 'c'] as InstanceId[] as [InstanceId, InstanceId, InstanceId];

function ranges(count: number, held: readonly [InstanceId, { base: number; size: number }][] = []): IdRanges {
  const made = createIdRanges({ shared, count });
  for (const [id, range] of held) made.hold(id, range);
  return made;
}

describe('ranges of host ids', () => {
  it('gives each instance its own, behind that of the node, and the same when asked again', () => {
    const made = ranges(3);
    expect([made.take(a), made.take(b), made.take(a), made.of(b)]).toEqual([own(1), own(2), own(1), own(2)]);
  });

  it('gives a range to another only once it is free', () => {
    const made = ranges(2);
    made.take(a);
    made.take(b);
    expect(() => made.take(c)).toThrow(
      expect.objectContaining({ kind: 'resource-exhausted', nextStep: expect.stringContaining('count') }),
    );
    expect(made.of(c)).toBeUndefined();
    made.free(a);
    expect(made.take(c)).toEqual(own(1));
  });

  it('shares the range of the node where there are no others', () => {
    const made = ranges(0);
    expect([made.take(a), made.take(b), made.of(a)]).toEqual([undefined, undefined, undefined]);
  });

  it('keeps what was found: an own range, and a share in that of the node', () => {
    const made = ranges(3, [
      [a, own(1)],
      [b, shared],
    ]);
    expect([made.take(a), made.take(b), made.take(c)]).toEqual([own(1), undefined, own(2)]);
  });

  it.each([
    ['across two of today', { base: own(1).base + 10, size }, own(3)],
    ['larger than one of today', { base: own(1).base, size: 2 * size }, own(3)],
    ['below all of today', { base: 100_000, size }, own(1)],
    ['behind all of today', own(50), own(1)],
  ])('gives nothing of a range of an older configuration: %s', (_name, old, free) => {
    expect(ranges(5, [[a, old]]).take(b)).toEqual(free);
  });

  it('shares on request, and takes none of the others for the ids of the host', () => {
    const made = ranges(3);
    const host = { base: 0, size };
    expect([made.take(a, 'node'), made.take(b, 'host'), made.take(c)]).toEqual([undefined, host, own(1)]);
    expect([made.take(a, 'own'), made.take(b, 'own')]).toEqual([undefined, host]);
  });
});
