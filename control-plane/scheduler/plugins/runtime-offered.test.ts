import { describe, expect, it } from 'vitest';
import { demand, nodeView, runtimes } from '../../../test/fakes/scheduling.ts';
import { runtimeOffered } from './runtime-offered.ts';

const rows = [
  { title: 'takes a node with the runtime', wanted: demand(), node: nodeView('a'), reason: undefined },
  {
    title: 'takes any when none is asked',
    wanted: demand({ runtime: '' }),
    node: nodeView('a'),
    reason: undefined,
  },
  {
    title: 'names what the node offers instead',
    wanted: demand({ runtime: 'lxc' }),
    node: nodeView('a', { runtimes: runtimes('proxmox-vm', 'crun') }),
    reason: 'needs the runtime lxc, offers crun, proxmox-vm',
  },
  {
    title: 'keeps out a node without any',
    wanted: demand({ runtime: '' }),
    node: nodeView('a', { runtimes: runtimes() }),
    reason: 'needs the runtime of any kind, offers none',
  },
];

describe('runtime-offered', () => {
  it.each(rows)('$title', ({ wanted, node, reason }) => {
    expect(runtimeOffered.fits(wanted, node) ? undefined : runtimeOffered.reason(wanted, node)).toBe(reason);
  });
});
