import { describe, expect, it } from 'vitest';
import { demandOf, nodeView } from '../../../test/fakes/scheduling.ts';
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
    node: nodeView('a', { diskFreeMib: 100 }),
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
    node: nodeView('a', { diskFreeMib: 0 }),
    reason: undefined,
  },
];

describe('enough-disk', () => {
  it.each(rows)('$title', ({ wanted, node, reason }) => {
    expect(enoughDisk.fits(wanted, node) ? undefined : enoughDisk.reason(wanted, node)).toBe(reason);
  });
});
