import { beforeEach, describe, expect, it } from 'vitest';
import { DroverError, type ErrorKind } from '#shared/errors.ts';
import { type FakeClock, createFakeClock } from '../../../../test/fakes/clock.ts';
import { createSeededRandom } from '../../../../test/fakes/random.ts';
import { retryLostRaces } from './retry-lost-races.ts';

let clock: FakeClock;
let attemptsAtMs: number[];
beforeEach(() => {
  clock = createFakeClock();
  attemptsAtMs = [];
});

const { signal } = new AbortController();
const failing = (times: number, kind: ErrorKind, reason: string) => async (): Promise<string> => {
  attemptsAtMs.push(clock.monotonicMs());
  if (attemptsAtMs.length <= times)
    throw new DroverError(kind, `${reason} ${attemptsAtMs.length}`, { reason });
  return 'done';
};
const options = (withinMs: number, fraction = 0, own = signal) => ({
  clock,
  random: { ...createSeededRandom(1), fraction: () => fraction },
  withinMs,
  signal: own,
});
/** Keeps a rejection from being told as unhandled while time passes. */
const watched = <T>(promise: Promise<T>): Promise<T> => (promise.catch(() => undefined), promise);

describe('a lost race', () => {
  it.each(['locked', 'digest'])('for what is %s is run again, after ever longer waits', async (reason) => {
    const result = watched(retryLostRaces(failing(7, 'aborted', reason), options(60_000)));
    await clock.advance(60_000);
    expect(await result).toBe('done');
    expect(attemptsAtMs).toEqual([0, 500, 1500, 3500, 7500, 15_500, 25_500, 35_500]);
  });

  it('is spread by chance', async () => {
    const result = watched(retryLostRaces(failing(2, 'aborted', 'locked'), options(60_000, 0.5)));
    await clock.advance(5000);
    await result;
    expect(attemptsAtMs).toEqual([0, 375, 1125]);
  });

  it('is told as it was last when the time is up', async () => {
    const result = watched(retryLostRaces(failing(99, 'aborted', 'locked'), options(4000)));
    await clock.advance(60_000);
    await expect(result).rejects.toMatchObject({ kind: 'aborted', reason: 'locked', message: 'locked 4' });
    expect(attemptsAtMs).toEqual([0, 500, 1500, 3500]);
  });

  it('is not waited for when the caller gives up', async () => {
    const giveUp = new AbortController();
    const result = watched(
      retryLostRaces(failing(99, 'aborted', 'locked'), options(60_000, 0, giveUp.signal)),
    );
    await clock.advance(600);
    giveUp.abort(new Error('enough'));
    await expect(result).rejects.toThrow('enough');
    await clock.advance(60_000);
    expect(attemptsAtMs).toHaveLength(2);
  });
});

describe('what is no lost race', () => {
  it.each<[ErrorKind, string]>([
    ['aborted', 'interrupted'],
    ['failed-precondition', 'running'],
    ['unavailable', 'connection'],
    ['unavailable', 'no-quorum'],
    ['deadline-exceeded', 'timeout'],
    ['permission-denied', 'rights'],
  ])('is not run again: %s, %s', async (kind, reason) => {
    const result = watched(retryLostRaces(failing(1, kind, reason), options(60_000)));
    await clock.advance(60_000);
    await expect(result).rejects.toMatchObject({ kind, reason });
    expect(attemptsAtMs).toHaveLength(1);
  });
});
