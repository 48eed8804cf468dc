import { describe, expect, it } from 'vitest';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { spread } from './spread.ts';

const rows = [
  {
    title: 'prefers the node with fewer copies',
    wanted: demand(),
    better: nodeView('a', { copies: new Map([['other', 9]]) }),
    worse: nodeView('b', { copies: new Map([['web', 1]]) }),
  },
];

describe('spread', () => {
  it.each(rows)('$title', ({ wanted, better, worse }) => {
    const [high, low] = [spread.rate(wanted, better), spread.rate(wanted, worse)];
    expect(high).toBeGreaterThan(low);
    for (const rate of [high, low]) expect(rate >= 0 && rate <= 100).toBe(true);
  });

  it('counts only for workloads that spread', () => {
    expect(spread.weight(demand())).toBeGreaterThan(0);
    expect(spread.weight(demand({ placement: { require: [], strategy: 'bin-pack' } }))).toBe(0);
  });
});
