import { allowsNode } from '#shared/placement-bonds.ts';
import type { Filter } from '../plugin.ts';

/** What its cluster would not let it be, or would take back, is not tried. */
export const bondsKept: Filter = {
  name: 'bonds-kept',
  outcome: 'forbidden by rules of its cluster',
  concerns: ({ bonds = [] }) => bonds.length > 0,
  fits: ({ bonds = [] }, { name }) => {
    for (const bond of bonds) if (!allowsNode(bond, name)) return false;
    return true;
  },
  reason: ({ bonds = [] }, { name }) =>
    bonds
      .filter((bond) => !allowsNode(bond, name))
      .map(({ because }) => because)
      .join(', '),
};
