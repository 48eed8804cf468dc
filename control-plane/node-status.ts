import type { Node, NodeName, Resources } from '#shared/model.ts';
import type { NodeStatus } from '#shared/wire/fleet.ts';
import type { FleetView } from './fleet-view.ts';
import { buildNodeViews } from './node-views.ts';
import type { Snapshot } from './store/store.ts';

/** What is known of a node beyond its record: how it is now, and what bound instances reserve of it. Pure. */
export function nodeStatus(node: Node, snapshot: Snapshot, view: FleetView): NodeStatus {
  const { name } = node.metadata;
  const live = view.node(name as NodeName);
  const bound = snapshot.instancesOnNode(name);
  const records = { node: [node], instance: bound, volume: [] };
  const alone = { list: (kind: keyof typeof records) => records[kind] } as Pick<Snapshot, 'list'>;
  const [seen] = buildNodeViews(alone, view.nodes());
  const conditions = live?.conditions.filter(({ holds }) => holds) ?? [];
  const connected = live?.connected ?? false;
  return {
    connected,
    ready: seen?.ready ?? false,
    capacity: connected ? live?.capacity : undefined,
    conditions,
    reserved: bound.map(({ spec }) => spec.resources).reduce(addResources, noResources),
    instances: bound.length,
    lastSeenAtMs: live?.lastSeenAtMs ?? 0,
  };
}

const noResources: Resources = { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 0 };

const addResources = (a: Resources, b: Resources): Resources => ({
  cpuMillicores: a.cpuMillicores + b.cpuMillicores,
  memoryMib: a.memoryMib + b.memoryMib,
  diskMib: a.diskMib + b.diskMib,
  pids: a.pids + b.pids,
});
