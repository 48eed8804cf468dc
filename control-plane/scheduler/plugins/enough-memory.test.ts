import { describe, expect, it } from 'vitest';
import { demandOf, nodeView } from '../../../test/fakes/scheduling.ts';
import { enoughMemory } from './enough-memory.ts';

const rows = [
  {
    title: 'takes what fits exactly',
    wanted: demandOf({ memoryMib: 8192 }),
    node: nodeView('a'),
    reason: undefined,
  },
  {
    title: 'keeps out where it is short',
    wanted: demandOf({ memoryMib: 500 }),
    node: nodeView('a', { memoryFreeMib: 100 }),
    reason: 'needs 500 MiB of memory, 100 MiB free',
  },
  {
    title: 'keeps out what is larger than the node',
    wanted: demandOf({ memoryMib: 16384 }),
    node: nodeView('a'),
    reason: 'needs 16 GiB of memory, 8 GiB free',
  },
  {
    title: 'takes no demand even on a full node',
    wanted: demandOf({ memoryMib: 0 }),
    node: nodeView('a', { memoryFreeMib: 0 }),
    reason: undefined,
  },
];

describe('enough-memory', () => {
  it.each(rows)('$title', ({ wanted, node, reason }) => {
    expect(enoughMemory.fits(wanted, node) ? undefined : enoughMemory.reason(wanted, node)).toBe(reason);
  });
});
