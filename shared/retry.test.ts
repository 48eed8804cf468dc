import { describe, expect, it } from 'vitest';
import { createSeededRandom } from '../test/fakes/random.ts';
import { createBackoff } from './retry.ts';

describe('back-off', () => {
  it.each([
    ['without chance doubles up to the limit', 0, [500, 1000, 2000, 4000, 5000, 5000]],
    ['at its luckiest waits half as long', 1, [250, 500, 1000, 2000, 2500, 2500]],
  ])('%s', (_name, fraction, expected) => {
    const random = { ...createSeededRandom(1), fraction: () => fraction };
    const backoff = createBackoff({ firstMs: 500, maxMs: 5000, random });
    expect(expected.map(() => backoff.nextMs())).toEqual(expected);
  });

  it('begins anew after a reset', () => {
    const backoff = createBackoff({ firstMs: 100, maxMs: 5000, random: createSeededRandom(1) });
    for (let count = 0; count < 50; count += 1) expect(backoff.nextMs()).toBeLessThanOrEqual(5000);
    backoff.reset();
    expect(backoff.nextMs()).toBeLessThanOrEqual(100);
  });

  it('spreads those that begin together', () => {
    const random = createSeededRandom(7);
    const first = () => createBackoff({ firstMs: 1000, maxMs: 5000, random }).nextMs();
    expect(new Set(Array.from({ length: 20 }, first)).size).toBeGreaterThan(15);
  });
});
