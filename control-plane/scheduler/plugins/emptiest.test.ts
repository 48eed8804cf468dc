import { describe, expect, it } from 'vitest';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { emptiest } from './emptiest.ts';

const rows = [
  {
    title: 'prefers the node with more memory left',
    wanted: demand(),
    better: nodeView('a'),
    worse: nodeView('b', { memoryFreeMib: 4096 }),
  },
  {
    title: 'bears a node that has nothing',
    wanted: demand(),
    better: nodeView('a'),
    worse: nodeView('b', { memoryMib: 0, memoryFreeMib: 0, cpuMillicores: 0, cpuFreeMillicores: 0 }),
  },
];

describe('emptiest', () => {
  it.each(rows)('$title', ({ wanted, better, worse }) => {
    const [high, low] = [emptiest.rate(wanted, better), emptiest.rate(wanted, worse)];
    expect(high).toBeGreaterThan(low);
    for (const rate of [high, low]) expect(rate >= 0 && rate <= 100).toBe(true);
  });
});
