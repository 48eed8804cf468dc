import { describe, expect, it } from 'vitest';
import type { NodeView } from '../plugin.ts';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { featuresOffered } from './features-offered.ts';

const able = (...features: string[]): Partial<NodeView> => ({
  runtimes: new Map([['crun', new Set(features)]]),
});
const rows = [
  { title: 'takes what asks for nothing', wanted: demand(), node: able(), reason: undefined },
  {
    title: 'takes what its runtime can do',
    wanted: demand({ features: ['mounts', 'network-bridged'] }),
    node: able('mounts', 'network-bridged', 'pause'),
    reason: undefined,
  },
  {
    title: 'names all that its runtime cannot do',
    wanted: demand({ features: ['mounts', 'nesting', 'lxc-keys'] }),
    node: able('mounts'),
    reason: 'its crun cannot do nesting, lxc-keys',
  },
  {
    title: 'leaves a runtime that is not there to the rule about runtimes',
    wanted: demand({ runtime: 'lxc', features: ['nesting'] }),
    node: able(),
    reason: undefined,
  },
  {
    title: 'keeps privileged guests from a node that allows none',
    wanted: demand({ features: ['privileged'] }),
    node: able('privileged'),
    reason: 'it allows no privileged guests',
  },
  {
    title: 'takes privileged guests where they are allowed',
    wanted: demand({ features: ['privileged'] }),
    node: { ...able('privileged'), allowsPrivileged: true },
    reason: undefined,
  },
  {
    title: 'names devices that the node does not allow, and what its runtime cannot do',
    wanted: demand({ features: ['devices'], devices: ['/dev/fuse', '/dev/kvm'] }),
    node: { ...able(), allowedDevices: new Set(['/dev/fuse']) },
    reason: 'its crun cannot do devices, it allows no guest /dev/kvm',
  },
];

describe('features-offered', () => {
  it.each(rows)('$title', ({ wanted, node, reason }) => {
    const view = nodeView('a', node);
    expect(featuresOffered.fits(wanted, view) ? undefined : featuresOffered.reason(wanted, view)).toBe(
      reason,
    );
  });
});
