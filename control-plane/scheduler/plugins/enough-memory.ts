import { formatAmountMib } from '../amounts.ts';
import type { Filter } from '../plugin.ts';

export const enoughMemory: Filter = {
  name: 'enough-memory',
  outcome: 'lack memory',
  fits: ({ resources }, node) => resources.memoryMib === 0 || resources.memoryMib <= node.memoryFreeMib,
  reason: ({ resources }, node) => {
    const free = formatAmountMib(Math.max(0, node.memoryFreeMib));
    return `needs ${formatAmountMib(resources.memoryMib)} of memory, ${free} free`;
  },
  amount: {
    missing: ({ resources }, node) => resources.memoryMib - Math.max(0, node.memoryFreeMib),
    format: formatAmountMib,
    wouldFit: ({ resources }, missing) => `memory ≤ ${formatAmountMib(resources.memoryMib - missing)}`,
  },
};
