import type { Clock } from '#shared/clock.ts';
import { type DroverError, isKind } from '#shared/errors.ts';
import type { Random } from '#shared/random.ts';
import { createBackoff } from '#shared/retry.ts';

const firstWaitMs = 500;
const longestWaitMs = 10_000;

export interface RetryOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** No new attempt begins after it, from now. */
  readonly withinMs: number;
  readonly signal: AbortSignal;
}

/**
 * Does it again while somebody else holds the lock, or has changed what was read: both have done nothing, and
 * both pass. The work reads anew what it writes over. Every other error, and the last of these, is the
 * caller's.
 */
export async function retryLostRaces<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { clock, random, withinMs, signal }: RetryOptions,
): Promise<T> {
  const backoff = createBackoff({ firstMs: firstWaitMs, maxMs: longestWaitMs, random });
  const endMs = clock.monotonicMs() + withinMs;
  for (;;) {
    try {
      return await work(signal);
    } catch (error) {
      const waitMs = backoff.nextMs();
      if (!isLostRace(error) || clock.monotonicMs() + waitMs > endMs) throw error;
      await clock.sleep(waitMs, signal);
    }
  }
}

/** A task that was interrupted is aborted as well: somebody wanted that. */
export const isLostRace = (error: unknown): error is DroverError =>
  isKind(error, 'aborted') && (error.reason === 'locked' || error.reason === 'digest');
