import { formatAmountMib } from '../amounts.ts';
import type { Filter } from '../plugin.ts';

export const enoughDisk: Filter = {
  name: 'enough-disk',
  outcome: 'lack disk',
  fits: ({ resources }, node) => resources.diskMib === 0 || resources.diskMib <= node.diskFreeMib,
  reason: ({ resources }, node) => {
    const free = formatAmountMib(Math.max(0, node.diskFreeMib));
    return `needs ${formatAmountMib(resources.diskMib)} of disk, ${free} free`;
  },
  amount: {
    missing: ({ resources }, node) => resources.diskMib - Math.max(0, node.diskFreeMib),
    format: formatAmountMib,
    wouldFit: ({ resources }, missing) => `disk ≤ ${formatAmountMib(resources.diskMib - missing)}`,
  },
};
