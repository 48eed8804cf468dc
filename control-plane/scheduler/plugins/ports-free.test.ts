import { describe, expect, it } from 'vitest';
import type { PublishedPort } from '#shared/model.ts';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { portsFree } from './ports-free.ts';

const port = (hostPort: number, changes: Partial<PublishedPort> = {}): PublishedPort => ({
  hostPort,
  guestPort: 80,
  protocol: 'tcp',
  hostAddress: '',
  ...changes,
});
const taken = (...ports: PublishedPort[]) =>
  nodeView('a', { ports: ports.map((one) => ({ ...one, holder: 'id-1', instance: 'web-00001' })) });

const rows = [
  { title: 'takes what asks for none', wanted: demand(), node: taken(port(80)), reason: undefined },
  {
    title: 'names who has the port',
    wanted: demand({ ports: [port(80), port(81)] }),
    node: taken(port(80)),
    reason: "host port 80/tcp is web-00001's",
  },
  {
    title: 'tells protocols apart',
    wanted: demand({ ports: [port(53, { protocol: 'udp' })] }),
    node: taken(port(53)),
    reason: undefined,
  },
  {
    title: 'tells addresses apart',
    wanted: demand({ ports: [port(80, { hostAddress: '10.0.0.1' })] }),
    node: taken(port(80, { hostAddress: '10.0.0.2' })),
    reason: undefined,
  },
  ...['', '0.0.0.0', '::'].map((hostAddress) => ({
    title: `takes "${hostAddress}" for all addresses`,
    wanted: demand({ ports: [port(80, { hostAddress: '10.0.0.1' })] }),
    node: taken(port(80, { hostAddress })),
    reason: "host port 80/tcp is web-00001's",
  })),
  {
    title: 'leaves an open port for later',
    wanted: demand({ ports: [port(0)] }),
    node: taken(port(30_000)),
    reason: undefined,
  },
  {
    title: 'lets an instance keep its own',
    wanted: demand({ ports: [port(80)], holder: 'id-1' }),
    node: taken(port(80)),
    reason: undefined,
  },
];

describe('ports-free', () => {
  it.each(rows)('$title', ({ wanted, node, reason }) => {
    expect(portsFree.fits(wanted, node) ? undefined : portsFree.reason(wanted, node)).toBe(reason);
  });
});
