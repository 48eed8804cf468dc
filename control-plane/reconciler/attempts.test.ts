import { describe, expect, it } from 'vitest';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { createSeededRandom } from '../../test/fakes/random.ts';
import { createAttempts } from './attempts.ts';

function createWorld() {
  const clock = createFakeClock();
  const random = createSeededRandom(1);
  return { clock, attempts: createAttempts({ clock, random, firstMs: 100, maxMs: 1000 }) };
}

describe('attempts', () => {
  it('lets what never failed go at once', () => {
    expect(createWorld().attempts.ready('a')).toBe(true);
  });

  it('waits longer after each failure, up to a limit, for that key alone', async () => {
    const { clock, attempts } = createWorld();
    const waits: number[] = [];
    for (let count = 0; count < 8; count += 1) {
      const waitMs = attempts.failed('a');
      waits.push(waitMs);
      expect(attempts.ready('a')).toBe(false);
      expect(attempts.ready('b')).toBe(true);
      expect(attempts.nextInMs()).toBe(waitMs);
      await clock.advance(waitMs);
      expect(attempts.ready('a')).toBe(true);
    }
    expect(waits[0]).toBeLessThanOrEqual(100);
    expect(Math.max(...waits)).toBeLessThanOrEqual(1000);
    expect(waits.at(-1)).toBeGreaterThanOrEqual(500);
  });

  it('begins anew after a success', () => {
    const { attempts } = createWorld();
    for (let count = 0; count < 5; count += 1) attempts.failed('a');
    attempts.settling('a', 0);
    expect(attempts.ready('a')).toBe(true);
    expect(attempts.failed('a')).toBeLessThanOrEqual(100);
  });

  it('does not repeat what settles', async () => {
    const { clock, attempts } = createWorld();
    attempts.settling('a', 50);
    expect(attempts.ready('a')).toBe(false);
    await clock.advance(50);
    expect(attempts.ready('a')).toBe(true);
  });

  it('forgets what nobody asks for any more', () => {
    const { attempts } = createWorld();
    attempts.failed('a');
    attempts.prune();
    expect(attempts.ready('a')).toBe(false);
    attempts.prune();
    attempts.prune();
    expect(attempts.nextInMs()).toBeUndefined();
  });
});
