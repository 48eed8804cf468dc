import { describe, expect, it } from 'vitest';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { bridgesHere } from './bridges-here.ts';

const rows = [
  { title: 'lets a node make what is asked for', wanted: ['drv-lan'], there: [], reason: undefined },
  { title: 'takes a bridge that is there', wanted: ['vmbr0'], there: ['vmbr0', 'vmbr1'], reason: undefined },
  {
    title: 'names the bridge that is missing, and those that are there',
    wanted: ['vmbr0', 'drv-lan'],
    there: ['vmbr0', 'vmbr1'],
    reason: 'needs the bridge drv-lan, has vmbr0, vmbr1',
  },
  {
    title: 'names each missing one once',
    wanted: ['b', 'a', 'b'],
    there: ['vmbr0'],
    reason: 'needs the bridges b, a, has vmbr0',
  },
  { title: 'asks nothing of a guest without networks', wanted: [], there: ['vmbr0'], reason: undefined },
];

describe('bridges-here', () => {
  it.each(rows)('$title', ({ wanted, there, reason }) => {
    const asking = demand({ bridges: wanted });
    const node = nodeView('a', { bridges: new Set(there) });
    expect(bridgesHere.fits(asking, node) ? undefined : bridgesHere.reason(asking, node)).toBe(reason);
    expect(bridgesHere.concerns?.(asking)).toBe(wanted.length > 0);
  });

  it('lets nodes pass that say nothing of bridges', () => {
    expect(bridgesHere.fits(demand({ bridges: ['drv-lan'] }), nodeView('a'))).toBe(true);
  });
});
