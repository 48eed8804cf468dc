import { describe, expect, it } from 'vitest';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { nodeReady } from './node-ready.ts';

const rows = [
  { title: 'takes a ready node', wanted: demand(), node: nodeView('a'), reason: undefined },
  {
    title: 'keeps out one that is not, with its reason',
    wanted: demand(),
    node: nodeView('a', { ready: false, notReadyBecause: 'it does not answer' }),
    reason: 'not ready: it does not answer',
  },
];

describe('node-ready', () => {
  it.each(rows)('$title', ({ wanted, node, reason }) => {
    expect(nodeReady.fits(wanted, node) ? undefined : nodeReady.reason(wanted, node)).toBe(reason);
  });
});
