import type { Demand, NodeView } from '../scheduler/plugin.ts';

/** The nodes as they would be with the demand on one of them, or without it. Pure. */
export const withDemand = (nodes: readonly NodeView[], name: string, demand: Demand): NodeView[] =>
  nodes.map((node) => (node.name === name ? taken(node, demand, 1) : node));

export const withoutDemand = (nodes: readonly NodeView[], name: string, demand: Demand): NodeView[] =>
  nodes.map((node) => (node.name === name ? taken(node, demand, -1) : node));

function taken(node: NodeView, { workload, resources }: Demand, copies: 1 | -1): NodeView {
  return {
    ...node,
    cpuFreeMillicores: node.cpuFreeMillicores - copies * resources.cpuMillicores,
    memoryFreeMib: node.memoryFreeMib - copies * resources.memoryMib,
    diskFreeMib: node.diskFreeMib - copies * resources.diskMib,
    copies: new Map(node.copies).set(workload, (node.copies.get(workload) ?? 0) + copies),
  };
}
