import type { Score } from '../plugin.ts';
import { emptinessLeft } from './emptiest.ts';

/** The fullest node that still fits wins, so that others stay free for what is large. */
export const binPack: Score = {
  name: 'bin-pack',
  weight: ({ placement }) => (placement.strategy === 'bin-pack' ? 1 : 0),
  rate: (demand, node) => 100 - emptinessLeft(demand, node),
};
