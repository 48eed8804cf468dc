import { formatTime } from '#shared/clock.ts';
import type { Instance, Node, NodeName } from '#shared/model.ts';
import type { LiveNode } from './fleet-view.ts';
import type { NodeView } from './scheduler/plugin.ts';
import type { Snapshot } from './store/store.ts';

/** Conditions that keep new instances away from a node. */
const blockingConditions: ReadonlySet<string> = new Set([
  'RuntimeUnavailable',
  'CgroupsIncomplete',
  'DiskPressure',
]);

interface Reserved {
  cpuMillicores: number;
  memoryMib: number;
  diskMib: number;
  readonly copies: Map<string, number>;
}

/**
 * The fleet as the scheduler sees it. What is bound to a node is reserved there until the instance is
 * forgotten, whether or not its guest is visible yet. Pure.
 */
export function buildNodeViews(
  snapshot: Pick<Snapshot, 'list'>,
  live: ReadonlyMap<NodeName, LiveNode>,
): NodeView[] {
  const reserved = reservations(snapshot.list('instance'));
  return snapshot.list('node').map((node) => {
    const name = node.metadata.name as NodeName;
    return viewOf(node, live.get(name), reserved.get(name));
  });
}

function reservations(instances: readonly Instance[]): Map<NodeName, Reserved> {
  const all = new Map<NodeName, Reserved>();
  for (const { node, workload, spec } of instances) {
    if (node === undefined) continue;
    const one = all.get(node) ?? { cpuMillicores: 0, memoryMib: 0, diskMib: 0, copies: new Map() };
    one.cpuMillicores += spec.resources.cpuMillicores;
    one.memoryMib += spec.resources.memoryMib;
    one.diskMib += spec.resources.diskMib;
    one.copies.set(workload, (one.copies.get(workload) ?? 0) + 1);
    all.set(node, one);
  }
  return all;
}

function viewOf(node: Node, live: LiveNode | undefined, reserved: Reserved | undefined): NodeView {
  const facts = live?.facts ?? node.facts;
  const notReadyBecause = whyNotReady(node, live);
  const cpuMillicores = (facts?.cpuCount ?? 0) * 1000;
  const memoryMib = facts?.memoryMib ?? 0;
  const diskMib = facts?.diskMib ?? 0;
  const healthy = facts?.runtimes.filter(({ healthy: isHealthy }) => isHealthy) ?? [];
  return {
    name: node.metadata.name as NodeName,
    ready: notReadyBecause === '',
    notReadyBecause,
    cordoned: node.cordoned,
    runtimes: new Set(healthy.map(({ name }) => name)),
    labels: { ...facts?.labels, ...node.metadata.labels },
    cpuMillicores,
    memoryMib,
    diskMib,
    cpuFreeMillicores: cpuMillicores - (reserved?.cpuMillicores ?? 0),
    memoryFreeMib: memoryMib - (reserved?.memoryMib ?? 0),
    diskFreeMib: diskMib - (reserved?.diskMib ?? 0),
    copies: reserved?.copies ?? new Map(),
    images: live?.images ?? new Set(),
  };
}

/** Empty when it is ready. */
function whyNotReady(node: Node, live: LiveNode | undefined): string {
  if (node.facts === undefined && live === undefined) return 'it has not joined yet';
  if (live === undefined) return 'it has not been heard of since the control plane started';
  if (!live.connected) return `it does not answer since ${formatTime(live.lastSeenAtMs)}`;
  if (!live.listed) return 'it has not yet told what it holds';
  const blocking = live.conditions.find(({ type, holds }) => holds && blockingConditions.has(type));
  return blocking === undefined ? '' : blocking.message || blocking.type;
}
