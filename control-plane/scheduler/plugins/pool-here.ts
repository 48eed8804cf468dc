import type { Filter, PoolDemand, PoolView } from '../plugin.ts';
import { findPool } from '../pools.ts';

const canTake = (pool: PoolView | undefined, { isNew }: PoolDemand): boolean =>
  pool !== undefined && pool.unusableBecause === '' && (!isNew || pool.fullBecause === '');

/** Every pool that is asked for is there and works, and takes something new where something is to be made. */
export const poolHere: Filter = {
  name: 'pool-here',
  outcome: 'lack a usable pool',
  fits: ({ storage }, node) => {
    for (let place = 0; place < storage.length; place++) {
      const part = storage[place];
      if (part !== undefined && !canTake(findPool(node, part.pool), part)) return false;
    }
    return true;
  },
  reason: ({ storage }, node) => {
    const reasons = storage.flatMap((part) => {
      const pool = findPool(node, part.pool);
      if (canTake(pool, part)) return [];
      const has = node.pools.map(({ name }) => name).join(', ') || 'none';
      if (pool === undefined) return `needs the pool ${part.pool || 'of any kind'}, has ${has}`;
      return pool.unusableBecause === ''
        ? `its pool ${pool.name} takes nothing new: ${pool.fullBecause}`
        : `its pool ${pool.name} cannot be used: ${pool.unusableBecause}`;
    });
    return [...new Set(reasons)].join(', ');
  },
};
