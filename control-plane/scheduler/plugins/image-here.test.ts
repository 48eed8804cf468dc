import { describe, expect, it } from 'vitest';
import type { NodeName } from '#shared/model.ts';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { imageHere } from './image-here.ts';

const at = (...nodes: string[]) =>
  demand({ imageAt: { nodes: new Set(nodes as NodeName[]), because: `it is on ${nodes.join('+')} alone` } });
const brought = (runtime: string) => demand({ runtime, imageContent: 'import' });
const offers = (...capabilities: string[]) =>
  nodeView('a', { runtimes: new Map([['proxmox-vm', new Set(capabilities)]]) });
const lacking = 'none of its storages takes "import", as which its image is brought: allow it on one';
const rows = [
  { title: 'takes any node where it is brought', wanted: demand(), reason: undefined },
  { title: 'takes a node that has it', wanted: at('a', 'b'), reason: undefined },
  { title: 'takes no other', wanted: at('b', 'c'), reason: 'it is on b+c alone' },
  { title: 'takes a node with a storage for it', wanted: brought('proxmox-vm'), node: offers('import') },
  { title: 'takes none without', wanted: brought('proxmox-vm'), node: offers('iso'), reason: lacking },
  { title: 'leaves a runtime that is missing to its rule', wanted: brought('crun'), node: offers('iso') },
];

describe('image-here', () => {
  it.each(rows)('$title', ({ wanted, node = nodeView('a'), reason }) => {
    const isAsked = wanted.imageAt !== undefined || wanted.imageContent !== undefined;
    expect(imageHere.concerns?.(wanted)).toBe(isAsked);
    expect(imageHere.fits(wanted, node) ? undefined : imageHere.reason(wanted, node)).toBe(reason);
  });
});
