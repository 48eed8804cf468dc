import { formatCpu } from '#shared/units.ts';
import type { Filter } from '../plugin.ts';

export const enoughCpu: Filter = {
  name: 'enough-cpu',
  outcome: 'lack cpu',
  fits: ({ resources }, node) =>
    resources.cpuMillicores === 0 || resources.cpuMillicores <= node.cpuFreeMillicores,
  reason: ({ resources }, node) =>
    `needs ${formatCpu(resources.cpuMillicores)} cpu, ${formatCpu(Math.max(0, node.cpuFreeMillicores))} free`,
  amount: {
    missing: ({ resources }, node) => resources.cpuMillicores - Math.max(0, node.cpuFreeMillicores),
    format: (millicores) => `${formatCpu(millicores)} cpu`,
    wouldFit: ({ resources }, missing) => `cpu ≤ ${formatCpu(resources.cpuMillicores - missing)}`,
  },
};
