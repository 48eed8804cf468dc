import type { NodeName, PlacementBond } from '#shared/model.ts';

/** Whether the bond lets a guest be there. */
export function allowsNode({ kind, nodes }: PlacementBond, node: NodeName): boolean {
  if (kind === 'along') return true;
  return nodes.includes(node) === (kind === 'only');
}
