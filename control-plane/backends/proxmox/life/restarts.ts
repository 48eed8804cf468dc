import type { Restart } from '#shared/model.ts';

/** Starting a guest is dear, and its cluster is shared: the first wait is longer than an agent's. */
const firstDelayMs = 10_000;
const longestDelayMs = 300_000;
/** A run this long counts as a good one: what failed before it is forgotten. */
const goodRunMs = 600_000;

export interface RestartDecision {
  /** The policy is done with it. */
  readonly final: boolean;
  /** Zero when final. */
  readonly delayMs: number;
  /** To carry into the next start. */
  readonly attempts: number;
}

/**
 * What the restart policy says after an end that nobody ordered. How a guest ended is never known there, so
 * that every end counts as a failure. `fraction` (0 to 1) spreads the wait by a fifth either way. Pure.
 */
export function afterEnd(
  restart: Restart,
  ranMs: number,
  attemptsSoFar: number,
  fraction: number,
): RestartDecision {
  const attempts = ranMs >= goodRunMs ? 0 : attemptsSoFar;
  const isExhausted = restart.maxAttempts > 0 && attempts >= restart.maxAttempts;
  if (restart.policy === 'never' || isExhausted) return { final: true, delayMs: 0, attempts };
  const middleMs = Math.min(firstDelayMs * 2 ** Math.min(attempts, 30), longestDelayMs);
  return { final: false, delayMs: Math.round(middleMs * (0.8 + 0.4 * fraction)), attempts: attempts + 1 };
}
