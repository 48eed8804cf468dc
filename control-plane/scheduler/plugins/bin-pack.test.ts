import { describe, expect, it } from 'vitest';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { binPack } from './bin-pack.ts';

const rows = [
  {
    title: 'prefers the node with less memory left',
    wanted: demand(),
    better: nodeView('a', { memoryFreeMib: 1024 }),
    worse: nodeView('b'),
  },
];

describe('bin-pack', () => {
  it.each(rows)('$title', ({ wanted, better, worse }) => {
    const [high, low] = [binPack.rate(wanted, better), binPack.rate(wanted, worse)];
    expect(high).toBeGreaterThan(low);
    for (const rate of [high, low]) expect(rate >= 0 && rate <= 100).toBe(true);
  });

  it('counts only for workloads that pack', () => {
    expect(binPack.weight(demand())).toBe(0);
    expect(binPack.weight(demand({ placement: { require: [], strategy: 'bin-pack' } }))).toBe(1);
  });
});
