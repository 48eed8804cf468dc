import { DroverError } from '#shared/errors.ts';
import type { Instance, NodeName, PublishedPort } from '#shared/model.ts';
import { portsClash } from '#shared/wire/network.ts';
import type { Transaction } from './store.ts';

/** Where a spec leaves the host's port open. */
export const openPorts = { first: 30_000, last: 32_767 } as const;

interface TakenPort extends PublishedPort {
  readonly instance: string;
}

/**
 * The instance's ports with every host port decided: those it has already it keeps. resource-exhausted: one
 * is taken on the node, or none is left.
 */
export function choosePorts(tx: Transaction, instance: Instance, node: NodeName): readonly PublishedPort[] {
  const { ports, assigned } = instance.spec;
  if (ports.length === 0) return [];
  const taken = takenPorts(tx, instance, node);
  const kept = [...assigned.ports];
  const chosen: PublishedPort[] = [];
  // Those with a number of their own first: an open one must not take it away.
  for (const port of ports.filter(({ hostPort }) => hostPort !== 0)) {
    const clash = taken.find((other) => portsClash(port, other));
    if (clash !== undefined) throw portTaken(port, clash, node);
    chosen.push(port);
  }
  return ports.map((port) => {
    if (port.hostPort !== 0) return port;
    const same = kept.findIndex((other) => isSameOpenPort(port, other));
    const [before] = same < 0 ? [] : kept.splice(same, 1);
    const busy = busyFor(port, [...taken, ...chosen]);
    const isKept = before !== undefined && !busy.has(before.hostPort);
    const open = isKept ? before : { ...port, hostPort: lowestOpen(busy, port, node) };
    chosen.push(open);
    return open;
  });
}

function takenPorts(tx: Transaction, { metadata }: Instance, node: NodeName): TakenPort[] {
  return tx
    .instancesOnNode(node)
    .filter((other) => other.metadata.id !== metadata.id)
    .flatMap(({ spec, metadata: { name } }) =>
      spec.assigned.ports.map((port) => ({ ...port, instance: name })),
    );
}

const isSameOpenPort = (wanted: PublishedPort, had: PublishedPort): boolean =>
  had.guestPort === wanted.guestPort &&
  had.protocol === wanted.protocol &&
  had.hostAddress === wanted.hostAddress &&
  had.hostPort >= openPorts.first &&
  had.hostPort <= openPorts.last;

/** Numbers that others have where the port would listen, too. */
const busyFor = (port: PublishedPort, others: readonly PublishedPort[]): ReadonlySet<number> =>
  new Set(
    others
      .filter((other) => portsClash({ ...port, hostPort: other.hostPort }, other))
      .map(({ hostPort }) => hostPort),
  );

function lowestOpen(busy: ReadonlySet<number>, port: PublishedPort, node: NodeName): number {
  const { first, last } = openPorts;
  for (let hostPort = first; hostPort <= last; hostPort += 1) if (!busy.has(hostPort)) return hostPort;
  throw new DroverError(
    'resource-exhausted',
    `no host port from ${first} to ${last} is left for ${port.protocol} on ${node}`,
    { subject: { node }, reason: 'ports-taken' },
  );
}

const portTaken = ({ hostPort, protocol }: PublishedPort, by: TakenPort, node: NodeName): DroverError =>
  new DroverError('resource-exhausted', `host port ${hostPort}/${protocol} of ${node} is ${by.instance}'s`, {
    subject: { node, instance: by.instance },
    reason: 'ports-taken',
    nextStep: 'choose another host port, or leave it out to have one chosen',
  });
