import { describe, expect, it } from 'vitest';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { notCordoned } from './not-cordoned.ts';

const rows = [
  { title: 'takes a node that is open', wanted: demand(), node: nodeView('a'), reason: undefined },
  {
    title: 'keeps out a cordoned one',
    wanted: demand(),
    node: nodeView('a', { cordoned: true }),
    reason: 'cordoned: it takes nothing new until it is uncordoned',
  },
];

describe('not-cordoned', () => {
  it.each(rows)('$title', ({ wanted, node, reason }) => {
    expect(notCordoned.fits(wanted, node) ? undefined : notCordoned.reason(wanted, node)).toBe(reason);
  });
});
