import type { Clock } from '#shared/clock.ts';
import type { Random } from '#shared/random.ts';
import { type Backoff, createBackoff } from '#shared/retry.ts';

/**
 * When each thing may be tried again. Keys name the thing and its generation, so that a change tries at
 * once.
 */
export interface Attempts {
  /** It may be tried now. */
  ready(key: string): boolean;
  /** It failed when it was last tried. */
  hasFailed(key: string): boolean;
  /** It failed: waits longer each time. The wait is returned. */
  failed(key: string): number;
  /**
   * It went well. What it does may be seen only a little later; it is not repeated before the wait is over.
   */
  settling(key: string, waitMs: number): void;
  /** Everything may be tried at once, as if for the first time. */
  clear(): void;
  /** Milliseconds until the next thing may be tried; undefined: none waits. */
  nextInMs(): number | undefined;
  /** Forgets what was not asked for since the last prune. */
  prune(): void;
}

interface Attempt {
  readonly backoff: Backoff | undefined;
  readonly notBeforeMs: number;
  asked: boolean;
}

export function createAttempts(options: {
  readonly clock: Clock;
  readonly random: Random;
  readonly firstMs: number;
  readonly maxMs: number;
}): Attempts {
  const { clock, random, firstMs, maxMs } = options;
  const attempts = new Map<string, Attempt>();
  return {
    ready(key) {
      const attempt = attempts.get(key);
      if (attempt === undefined) return true;
      attempt.asked = true;
      return attempt.notBeforeMs <= clock.monotonicMs();
    },
    hasFailed: (key) => attempts.get(key)?.backoff !== undefined,
    failed(key) {
      const backoff = attempts.get(key)?.backoff ?? createBackoff({ firstMs, maxMs, random });
      const waitMs = backoff.nextMs();
      attempts.set(key, { backoff, notBeforeMs: clock.monotonicMs() + waitMs, asked: true });
      return waitMs;
    },
    settling(key, waitMs) {
      const notBeforeMs = clock.monotonicMs() + waitMs;
      if (waitMs === 0) attempts.delete(key);
      else attempts.set(key, { backoff: undefined, notBeforeMs, asked: true });
    },
    clear: () => attempts.clear(),
    nextInMs() {
      const nowMs = clock.monotonicMs();
      let first: number | undefined;
      for (const { notBeforeMs } of attempts.values()) {
        if (notBeforeMs > nowMs && (first === undefined || notBeforeMs < first)) first = notBeforeMs;
      }
      return first === undefined ? undefined : first - nowMs;
    },
    prune() {
      for (const [key, attempt] of attempts) {
        if (attempt.asked) attempt.asked = false;
        else attempts.delete(key);
      }
    },
  };
}
