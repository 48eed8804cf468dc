import { describe, expect, it } from 'vitest';
import { demand, nodeView, pool } from '../../../test/fakes/scheduling.ts';
import { poolHere } from './pool-here.ts';

const asking = (...pools: string[]) =>
  demand({ storage: pools.map((name) => ({ pool: name, mib: 0, isNew: true })) });
const using = (...pools: string[]) =>
  demand({ storage: pools.map((name) => ({ pool: name, mib: 0, isNew: false })) });
const tank = pool({ name: 'tank' });
const rows = [
  { title: 'takes the first pool where none is named', wanted: asking(''), pools: [tank], reason: undefined },
  { title: 'takes a pool by name', wanted: asking('', 'tank'), pools: [pool(), tank], reason: undefined },
  {
    title: 'keeps out a node without any',
    wanted: asking(''),
    pools: [],
    reason: 'needs the pool of any kind, has none',
  },
  {
    title: 'names the pools that are there instead',
    wanted: asking('', 'fast'),
    pools: [pool(), tank],
    reason: 'needs the pool fast, has local, tank',
  },
  {
    title: 'says once why a pool cannot be used',
    wanted: asking('', 'tank'),
    pools: [{ ...tank, unusableBecause: 'not imported' }],
    reason: 'its pool tank cannot be used: not imported',
  },
  {
    title: 'makes nothing new in a full pool',
    wanted: asking(''),
    pools: [{ ...tank, fullBecause: 'it is 97 % full' }],
    reason: 'its pool tank takes nothing new: it is 97 % full',
  },
  {
    title: 'uses what is in a full pool already',
    wanted: using('tank'),
    pools: [{ ...tank, fullBecause: 'it is 97 % full' }],
    reason: undefined,
  },
  {
    title: 'does not mind a broken pool that is not asked for',
    wanted: asking(''),
    pools: [pool(), { ...tank, unusableBecause: 'not imported' }],
    reason: undefined,
  },
];

describe('pool-here', () => {
  it.each(rows)('$title', ({ wanted, pools, reason }) => {
    const node = nodeView('a', { pools });
    expect(poolHere.fits(wanted, node) ? undefined : poolHere.reason(wanted, node)).toBe(reason);
  });
});
