import { describe, expect, it } from 'vitest';
import type { NodeName } from '#shared/model.ts';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { imageHere } from './image-here.ts';

const at = (...nodes: string[]) =>
  demand({ imageAt: { nodes: new Set(nodes as NodeName[]), because: `it is on ${nodes.join('+')} alone` } });
const rows = [
  { title: 'takes any node where it is brought', wanted: demand(), reason: undefined },
  { title: 'takes a node that has it', wanted: at('a', 'b'), reason: undefined },
  { title: 'takes no other', wanted: at('b', 'c'), reason: 'it is on b+c alone' },
];

describe('image-here', () => {
  it.each(rows)('$title', ({ wanted, reason }) => {
    const node = nodeView('a');
    expect(imageHere.concerns?.(wanted)).toBe(wanted.imageAt !== undefined);
    expect(imageHere.fits(wanted, node) ? undefined : imageHere.reason(wanted, node)).toBe(reason);
  });
});
