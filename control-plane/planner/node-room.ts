import type { Demand, NodeView } from '../scheduler/plugin.ts';
import { findPool } from '../scheduler/pools.ts';

/** The nodes as they would be with the demand on one of them, or without it. Pure. */
export const withDemand = (nodes: readonly NodeView[], name: string, demand: Demand): NodeView[] =>
  nodes.map((node) => (node.name === name ? taken(node, demand, 1) : node));

export const withoutDemand = (nodes: readonly NodeView[], name: string, demand: Demand): NodeView[] =>
  nodes.map((node) => (node.name === name ? taken(node, demand, -1) : node));

function taken(node: NodeView, { workload, resources, storage }: Demand, copies: 1 | -1): NodeView {
  const takenMib = (name: string): number =>
    storage.filter((part) => findPool(node, part.pool)?.name === name).reduce((sum, { mib }) => sum + mib, 0);
  return {
    ...node,
    cpuFreeMillicores: node.cpuFreeMillicores - copies * resources.cpuMillicores,
    memoryFreeMib: node.memoryFreeMib - copies * resources.memoryMib,
    pools: node.pools.map((pool) => ({ ...pool, freeMib: pool.freeMib - copies * takenMib(pool.name) })),
    copies: new Map(node.copies).set(workload, (node.copies.get(workload) ?? 0) + copies),
  };
}
