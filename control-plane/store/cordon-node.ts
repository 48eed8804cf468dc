import type { Node } from '#shared/model.ts';
import { foundNode } from './put-node.ts';
import type { Transaction } from './store.ts';

/** Takes a node out of the choice for new instances, or back into it. May be repeated. not-found. */
export function cordonNode(
  tx: Transaction,
  cordon: { readonly node: string; readonly cordoned: boolean; readonly caller: string },
  nowMs: number,
): Node {
  const node = foundNode(tx, cordon.node);
  if (node.cordoned === cordon.cordoned) return node;
  const { metadata } = node;
  const next = {
    ...node,
    cordoned: cordon.cordoned,
    metadata: { ...metadata, generation: metadata.generation + 1 },
  };
  tx.put('node', metadata.id, next);
  tx.event({
    atMs: nowMs,
    type: cordon.cordoned ? 'node.cordoned' : 'node.uncordoned',
    severity: 'info',
    subject: { node: cordon.node },
    message: `by ${cordon.caller}`,
  });
  return next;
}
