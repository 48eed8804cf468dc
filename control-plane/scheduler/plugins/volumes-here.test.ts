import { describe, expect, it } from 'vitest';
import type { NodeName } from '#shared/model.ts';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { volumesHere } from './volumes-here.ts';

const tied = demand({ anchor: { volume: 'web-data-0', node: 'h1' as NodeName } });
const rows = [
  { title: 'takes any node where nothing lies yet', wanted: demand(), node: 'h2', reason: undefined },
  { title: 'takes the node of the volume', wanted: tied, node: 'h1', reason: undefined },
  { title: 'takes no other', wanted: tied, node: 'h2', reason: 'its volume web-data-0 lies on h1' },
];

describe('volumes-here', () => {
  it.each(rows)('$title', ({ wanted, node, reason }) => {
    const view = nodeView(node);
    expect(volumesHere.fits(wanted, view) ? undefined : volumesHere.reason(wanted, view)).toBe(reason);
  });
});
