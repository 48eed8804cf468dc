import { describe, expect, it } from 'vitest';
import type { NodeName, PlacementBond } from '#shared/model.ts';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { bondsKept } from './bonds-kept.ts';

const bond = (kind: PlacementBond['kind'], ...nodes: string[]): PlacementBond => ({
  kind,
  nodes: nodes as NodeName[],
  because: `${kind} ${nodes.join('+')}`,
});
const rows = [
  { title: 'takes any node where nothing is said', bonds: undefined, reason: undefined },
  { title: 'takes one of the only nodes', bonds: [bond('only', 'a', 'b')], reason: undefined },
  { title: 'takes no other', bonds: [bond('only', 'b', 'c')], reason: 'only b+c' },
  { title: 'takes none that is ruled out', bonds: [bond('never', 'a')], reason: 'never a' },
  { title: 'takes the others', bonds: [bond('never', 'b')], reason: undefined },
  { title: 'takes any where others move along', bonds: [bond('along')], reason: undefined },
  {
    title: 'says every rule that keeps it out',
    bonds: [bond('only', 'b'), bond('never', 'a'), bond('only', 'a')],
    reason: 'only b, never a',
  },
];

describe('bonds-kept', () => {
  it.each(rows)('$title', ({ bonds, reason }) => {
    const wanted = demand(bonds && { bonds });
    const node = nodeView('a');
    expect(bondsKept.concerns?.(wanted)).toBe(bonds !== undefined);
    expect(bondsKept.fits(wanted, node) ? undefined : bondsKept.reason(wanted, node)).toBe(reason);
  });
});
