import { describe, expect, it } from 'vitest';
import { demand, demandOf, nodeView, pool } from '../../../test/fakes/scheduling.ts';
import { enoughDisk } from './enough-disk.ts';

const rows = [
  {
    title: 'takes what fits exactly',
    wanted: demandOf({ diskMib: 102400 }),
    node: nodeView('a'),
    reason: undefined,
  },
  {
    title: 'keeps out where it is short',
    wanted: demandOf({ diskMib: 500 }),
    node: nodeView('a', { pools: [pool({ freeMib: 100 })] }),
    reason: 'needs 500 MiB of disk, 100 MiB free',
  },
  {
    title: 'keeps out what is larger than the node',
    wanted: demandOf({ diskMib: 204800 }),
    node: nodeView('a'),
    reason: 'needs 200 GiB of disk, 100 GiB free',
  },
  {
    title: 'takes no demand even on a full node',
    wanted: demandOf({ diskMib: 0 }),
    node: nodeView('a', { pools: [pool({ freeMib: -5 })] }),
    reason: undefined,
  },
  {
    title: 'counts each pool for itself',
    wanted: demand({
      storage: [
        { pool: '', mib: 500, isNew: true },
        { pool: 'tank', mib: 2048, isNew: true },
      ],
    }),
    node: nodeView('a', { pools: [pool(), pool({ name: 'tank', freeMib: 1024 })] }),
    reason: 'needs 2 GiB of disk in pool tank, 1 GiB free',
  },
  {
    title: 'adds up what asks for the first pool by name and as the default',
    wanted: demand({
      storage: [
        { pool: '', mib: 500, isNew: true },
        { pool: 'local', mib: 600, isNew: true },
      ],
    }),
    node: nodeView('a', { pools: [pool({ freeMib: 1000 })] }),
    reason: 'needs 1.1 GiB of disk, 1000 MiB free',
  },
  {
    title: 'leaves a pool that is not there to the rule about pools',
    wanted: demand({ storage: [{ pool: 'tank', mib: 1, isNew: true }] }),
    node: nodeView('a'),
    reason: undefined,
  },
];

describe('enough-disk', () => {
  it.each(rows)('$title', ({ wanted, node, reason }) => {
    expect(enoughDisk.fits(wanted, node) ? undefined : enoughDisk.reason(wanted, node)).toBe(reason);
  });
});
