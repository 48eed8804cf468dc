import type { Demand, NodeView, PoolView } from './plugin.ts';

/** '' is the node's first. Undefined: it has no such pool. Allocates nothing. */
export function findPool({ pools }: Pick<NodeView, 'pools'>, name: string): PoolView | undefined {
  if (name === '') return pools[0];
  for (let place = 0; place < pools.length; place++) if (pools[place]?.name === name) return pools[place];
  return undefined;
}

/**
 * What the demand takes up in this pool. Its parts have different names, so only the first pool can be meant
 * by two: by its name and as the default. Allocates nothing.
 */
export function demandedMib({ storage }: Demand, { pools }: NodeView, pool: PoolView): number {
  const isDefault = pools[0] === pool;
  let sum = 0;
  for (let place = 0; place < storage.length; place++) {
    const part = storage[place];
    if (part !== undefined && (part.pool === pool.name || (isDefault && part.pool === ''))) sum += part.mib;
  }
  return sum;
}
