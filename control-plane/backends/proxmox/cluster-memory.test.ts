import { expect, it } from 'vitest';
import { emptyMemory, withoutGone } from './cluster-memory.ts';
import { parseResources } from './observe/listings.ts';

it('templates that we removed are gone for an older list, and for none but that', () => {
  const memory = emptyMemory();
  const row = (vmid: number, name: string, template = 1) => ({
    type: 'qemu',
    node: 'pve1',
    vmid,
    name,
    template,
  });
  const { guests } = parseResources([row(900, 'golden'), row(901, 'silver'), row(902, 'golden')]);
  memory.goneTemplates.set(900, { name: 'golden', untilMs: 1000 });
  const names = (rows = guests, nowMs = 500) => withoutGone(memory, rows, nowMs).map(({ vmid }) => vmid);
  expect(names()).toEqual([901, 902]);
  // Its number has become somebody else's.
  expect(names(parseResources([row(900, 'bronze'), row(900, 'golden', 0)]).guests)).toEqual([900, 900]);
  expect(names(guests, 1000)).toEqual([900, 901, 902]);
  expect(memory.goneTemplates.size).toBe(0);
});
