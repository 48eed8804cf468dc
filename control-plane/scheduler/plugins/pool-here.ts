import type { Filter } from '../plugin.ts';
import { findPool } from '../pools.ts';

/** Every pool that is asked for is there, and something new can be made in it. */
export const poolHere: Filter = {
  name: 'pool-here',
  outcome: 'lack a usable pool',
  fits: ({ storage }, node) => {
    for (const { pool } of storage) if (findPool(node, pool)?.unusableBecause !== '') return false;
    return true;
  },
  reason: ({ storage }, node) => {
    const reasons = storage.flatMap(({ pool: name }) => {
      const pool = findPool(node, name);
      if (pool?.unusableBecause === '') return [];
      const has = node.pools.map((each) => each.name).join(', ') || 'none';
      return pool === undefined
        ? `needs the pool ${name || 'of any kind'}, has ${has}`
        : `its pool ${pool.name} cannot be used: ${pool.unusableBecause}`;
    });
    return [...new Set(reasons)].join(', ');
  },
};
