import { formatAmountMib } from '../amounts.ts';
import type { Demand, Filter, NodeView, PoolView } from '../plugin.ts';
import { demandedMib, findPool } from '../pools.ts';

/** How much is missing in the pool that this part asks for, all parts that ask for it together. */
function missingIn(demand: Demand, node: NodeView, pool: PoolView | undefined): number {
  if (pool === undefined) return 0;
  const asked = demandedMib(demand, node, pool);
  return asked === 0 ? 0 : Math.max(0, asked - Math.max(0, pool.freeMib));
}

const totalMib = ({ storage }: Demand): number => storage.reduce((sum, { mib }) => sum + mib, 0);

/** By pool: what is reserved in one is nothing to the others. */
export const enoughDisk: Filter = {
  name: 'enough-disk',
  outcome: 'lack disk',
  concerns: ({ storage }) => storage.some(({ mib }) => mib > 0),
  fits: (demand, node) => {
    const { storage } = demand;
    for (let place = 0; place < storage.length; place++) {
      const part = storage[place];
      if (part === undefined || part.mib === 0) continue;
      const pool = findPool(node, part.pool);
      if (pool === undefined) continue;
      // Only the first pool can be meant twice.
      const isAlone = storage.length === 1 || pool !== node.pools[0];
      const asked = isAlone ? part.mib : demandedMib(demand, node, pool);
      if (asked > pool.freeMib) return false;
    }
    return true;
  },
  reason: (demand, node) =>
    node.pools
      .filter((pool) => missingIn(demand, node, pool) > 0)
      .map((pool) => {
        const where = pool === node.pools[0] ? '' : ` in pool ${pool.name}`;
        const free = formatAmountMib(Math.max(0, pool.freeMib));
        return `needs ${formatAmountMib(demandedMib(demand, node, pool))} of disk${where}, ${free} free`;
      })
      .join(', '),
  amount: {
    missing: (demand, node) => node.pools.reduce((sum, pool) => sum + missingIn(demand, node, pool), 0),
    format: formatAmountMib,
    wouldFit: (demand, missing) => `disk ≤ ${formatAmountMib(totalMib(demand) - missing)}`,
  },
};
