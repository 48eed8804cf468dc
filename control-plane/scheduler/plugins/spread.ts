import type { Score } from '../plugin.ts';

/**
 * Fewest copies of the workload wins; the weight lets no other score outvote one copy less, up to a thousand
 * copies.
 */
export const spread: Score = {
  name: 'spread',
  weight: ({ placement }) => (placement.strategy === 'spread' ? 1e6 : 0),
  rate: ({ workload }, { copies }) => 100 / (1 + (copies.get(workload) ?? 0)),
};
