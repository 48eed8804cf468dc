import { freeShare } from '../amounts.ts';
import type { Demand, NodeView, Score } from '../plugin.ts';

/** How empty the node is left: the mean of what stays free of cpu and memory. */
export function emptinessLeft({ resources }: Demand, node: NodeView): number {
  const cpu = freeShare(node.cpuFreeMillicores, resources.cpuMillicores, node.cpuMillicores);
  const memory = freeShare(node.memoryFreeMib, resources.memoryMib, node.memoryMib);
  return 50 * (cpu + memory);
}

export const emptiest: Score = {
  name: 'emptiest',
  weight: ({ placement }) => (placement.strategy === 'spread' ? 1 : 0),
  rate: emptinessLeft,
};
