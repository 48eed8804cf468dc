import type { Demand, NodeView, TakenPort } from '../scheduler/plugin.ts';
import { findPool } from '../scheduler/pools.ts';

/** The nodes as they would be with the demand on one of them, or without it. Pure. */
export const withDemand = (nodes: readonly NodeView[], name: string, demand: Demand): NodeView[] =>
  nodes.map((node) => (node.name === name ? taken(node, demand, 1) : node));

export const withoutDemand = (nodes: readonly NodeView[], name: string, demand: Demand): NodeView[] =>
  nodes.map((node) => (node.name === name ? taken(node, demand, -1) : node));

function taken(node: NodeView, demand: Demand, copies: 1 | -1): NodeView {
  const { workload, resources, storage } = demand;
  const takenMib = (name: string): number =>
    storage.filter((part) => findPool(node, part.pool)?.name === name).reduce((sum, { mib }) => sum + mib, 0);
  return {
    ...node,
    cpuFreeMillicores: node.cpuFreeMillicores - copies * resources.cpuMillicores,
    memoryFreeMib: node.memoryFreeMib - copies * resources.memoryMib,
    pools: node.pools.map((pool) => ({ ...pool, freeMib: pool.freeMib - copies * takenMib(pool.name) })),
    ports: copies === 1 ? [...node.ports, ...portsOf(demand)] : withoutPorts(node, demand),
    copies: new Map(node.copies).set(workload, (node.copies.get(workload) ?? 0) + copies),
  };
}

/** Those that are named; what is chosen with the node gets in nobody's way. */
const portsOf = ({ ports, holder, workload }: Demand): TakenPort[] =>
  ports
    .filter(({ hostPort }) => hostPort !== 0)
    .map((port) => ({ ...port, holder, instance: `another copy of ${workload}` }));

const withoutPorts = ({ ports }: NodeView, { holder }: Demand): TakenPort[] =>
  ports.filter((port) => port.holder !== holder);
