import type { Filter } from '../plugin.ts';

export const notCordoned: Filter = {
  name: 'not-cordoned',
  outcome: 'cordoned',
  fits: (_demand, node) => !node.cordoned,
  reason: () => 'cordoned: it takes nothing new until it is uncordoned',
};
