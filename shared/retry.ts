import type { Random } from '#shared/random.ts';

export interface Backoff {
  /** The next wait: doubles each time up to the limit, less a random part of up to a half. */
  nextMs(): number;
  reset(): void;
}

export function createBackoff(options: {
  readonly firstMs: number;
  readonly maxMs: number;
  readonly random: Random;
}): Backoff {
  const { firstMs, maxMs, random } = options;
  let attempt = 0;
  return {
    nextMs: () => {
      const fullMs = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30));
      attempt += 1;
      return Math.round(fullMs * (1 - random.fraction() / 2));
    },
    reset: () => {
      attempt = 0;
    },
  };
}
