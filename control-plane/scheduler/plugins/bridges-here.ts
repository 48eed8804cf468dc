import type { Filter } from '../plugin.ts';

/** Where nobody makes bridges, those of its networks must be there already. */
export const bridgesHere: Filter = {
  name: 'bridges-here',
  outcome: 'lack a bridge',
  concerns: ({ bridges = [] }) => bridges.length > 0,
  fits: ({ bridges = [] }, node) => {
    if (node.bridges === undefined || node.bridges.size === 0) return true;
    for (const bridge of bridges) if (!node.bridges.has(bridge)) return false;
    return true;
  },
  reason: ({ bridges = [] }, { bridges: there = new Set() }) => {
    const missing = [...new Set(bridges.filter((bridge) => !there.has(bridge)))];
    const what = missing.length === 1 ? 'bridge' : 'bridges';
    return `needs the ${what} ${missing.join(', ')}, has ${[...there].join(', ')}`;
  },
};
