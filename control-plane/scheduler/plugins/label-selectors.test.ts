import { describe, expect, it } from 'vitest';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { labelSelectors } from './label-selectors.ts';

const requires = (...require: string[]) => demand({ placement: { require, strategy: 'spread' } });
const rows = [
  { title: 'takes every node without selectors', wanted: demand(), node: nodeView('a'), reason: undefined },
  {
    title: 'takes a label of the set',
    wanted: requires('zone in (a, b)'),
    node: nodeView('n', { labels: { zone: 'b' } }),
    reason: undefined,
  },
  {
    title: 'names the label that is another',
    wanted: requires('zone in (a, b)'),
    node: nodeView('n', { labels: { zone: 'c' } }),
    reason: 'requires zone in (a, b): zone is c',
  },
  {
    title: 'names every selector that does not hold',
    wanted: requires('gpu', 'disk = ssd', 'zone = a'),
    node: nodeView('n', { labels: { zone: 'a' } }),
    reason: 'requires gpu: no label gpu, requires disk = ssd: no label disk',
  },
];

describe('label-selectors', () => {
  it.each(rows)('$title', ({ wanted, node, reason }) => {
    expect(labelSelectors.fits(wanted, node) ? undefined : labelSelectors.reason(wanted, node)).toBe(reason);
  });
});
