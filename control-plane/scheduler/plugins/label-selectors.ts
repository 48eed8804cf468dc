import { matches, parseSelector, type Selector } from '#shared/selector.ts';
import type { Demand, Filter } from '../plugin.ts';

/** Parsed once for each list, so that a decision over many nodes allocates nothing. */
const parsedLists = new WeakMap<readonly string[], readonly Selector[]>();

function selectorsOf({ placement }: Demand): readonly Selector[] {
  const known = parsedLists.get(placement.require);
  if (known !== undefined) return known;
  const parsed = placement.require.map(parseSelector);
  parsedLists.set(placement.require, parsed);
  return parsed;
}

export const labelSelectors: Filter = {
  name: 'label-selectors',
  outcome: 'by label',
  concerns: ({ placement }) => placement.require.length > 0,
  fits: (demand, { labels }) => {
    for (const selector of selectorsOf(demand)) if (!matches(selector, labels)) return false;
    return true;
  },
  reason: (demand, { labels }) =>
    selectorsOf(demand)
      .flatMap((selector, place) => {
        if (matches(selector, labels)) return [];
        const found = Object.hasOwn(labels, selector.key)
          ? `${selector.key} is ${labels[selector.key] || 'empty'}`
          : `no label ${selector.key}`;
        return [`requires ${demand.placement.require[place]}: ${found}`];
      })
      .join(', '),
};
