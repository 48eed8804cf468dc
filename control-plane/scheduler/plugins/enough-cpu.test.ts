import { describe, expect, it } from 'vitest';
import { demandOf, nodeView } from '../../../test/fakes/scheduling.ts';
import { enoughCpu } from './enough-cpu.ts';

const rows = [
  {
    title: 'takes what fits exactly',
    wanted: demandOf({ cpuMillicores: 4000 }),
    node: nodeView('a'),
    reason: undefined,
  },
  {
    title: 'keeps out one millicore more',
    wanted: demandOf({ cpuMillicores: 4001 }),
    node: nodeView('a'),
    reason: 'needs 4001m cpu, 4 free',
  },
  {
    title: 'takes no demand even where more is bound than there is',
    wanted: demandOf({ cpuMillicores: 0 }),
    node: nodeView('a', { cpuFreeMillicores: -1000 }),
    reason: undefined,
  },
  {
    title: 'says nothing is free where more is bound than there is',
    wanted: demandOf({ cpuMillicores: 100 }),
    node: nodeView('a', { cpuFreeMillicores: -1000 }),
    reason: 'needs 100m cpu, 0 free',
  },
];

describe('enough-cpu', () => {
  it.each(rows)('$title', ({ wanted, node, reason }) => {
    expect(enoughCpu.fits(wanted, node) ? undefined : enoughCpu.reason(wanted, node)).toBe(reason);
  });
});
