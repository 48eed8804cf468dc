import type { NodeName } from '#shared/model.ts';
import { type FleetView, isKnown } from '../fleet-view.ts';
import type { Snapshot } from '../store/store.ts';

/** A text that differs when a node came, changed or got room, or when volumes came or were freed. Pure. */
export function roomMark(snapshot: Snapshot, view: Pick<FleetView, 'node'>): string {
  const nodes = snapshot.list('node').map(({ metadata, cordoned, facts }) => {
    const live = view.node(metadata.name as NodeName);
    const holding = live?.conditions.filter(({ holds }) => holds).map(({ type }) => type) ?? [];
    const bound = snapshot.instancesOnNode(metadata.name).length;
    const pools = facts?.pools.map(({ name, healthy, sizeMib }) => [name, healthy, sizeMib]);
    const told = JSON.stringify([metadata.labels, facts?.labels, pools]);
    return `${metadata.name} ${isKnown(live)} ${cordoned} ${bound} ${holding.join()} ${told}`;
  });
  const volumes = snapshot.list('volume');
  const free = volumes.filter(({ instanceId }) => instanceId === undefined);
  return [...nodes, `${free.length} of ${volumes.length} volumes`].join('\n');
}
