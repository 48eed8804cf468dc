import { formatTime } from '#shared/clock.ts';
import type { Condition, Instance, Node, NodeFacts, NodeName, Volume } from '#shared/model.ts';
import type { LiveNode } from './fleet-view.ts';
import type { NodeView, PoolView, TakenPort } from './scheduler/plugin.ts';
import type { Snapshot } from './store/store.ts';

/** Conditions that keep new instances away from a node. */
const blockingConditions: ReadonlySet<string> = new Set([
  'RuntimeUnavailable',
  'CgroupsIncomplete',
  'DiskPressure',
  'ClusterNoQuorum',
  'ClusterHeldByNewerFleet',
  'NodeInMaintenance',
]);

interface Reserved {
  cpuMillicores: number;
  memoryMib: number;
  /** By pool; '': the node's first. */
  readonly diskMib: Map<string, number>;
  readonly ports: TakenPort[];
  readonly copies: Map<string, number>;
}

const nothing = (): Reserved => ({
  cpuMillicores: 0,
  memoryMib: 0,
  diskMib: new Map(),
  ports: [],
  copies: new Map(),
});

/**
 * The fleet as the scheduler sees it. What is bound to a node is reserved there until the instance is
 * forgotten, whether or not its guest is visible yet; a data volume until it is removed. Pure.
 */
export function buildNodeViews(
  snapshot: Pick<Snapshot, 'list'>,
  live: ReadonlyMap<NodeName, LiveNode>,
): NodeView[] {
  const reserved = reservations(snapshot.list('instance'), snapshot.list('volume'));
  return snapshot.list('node').map((node) => {
    const name = node.metadata.name as NodeName;
    return viewOf(node, live.get(name), reserved.get(name));
  });
}

function reservations(instances: readonly Instance[], volumes: readonly Volume[]): Map<NodeName, Reserved> {
  const all = new Map<NodeName, Reserved>();
  const on = (node: NodeName): Reserved => {
    const one = all.get(node) ?? nothing();
    all.set(node, one);
    return one;
  };
  const addTo = (amounts: Map<string, number>, key: string, amount: number): void =>
    void amounts.set(key, (amounts.get(key) ?? 0) + amount);
  for (const { node, workload, spec, metadata } of instances) {
    if (node === undefined) continue;
    const one = on(node);
    one.cpuMillicores += spec.resources.cpuMillicores;
    one.memoryMib += spec.resources.memoryMib;
    addTo(one.diskMib, spec.rootPool, spec.resources.diskMib);
    addTo(one.copies, workload, 1);
    const { id: holder, name: instance } = metadata;
    for (const port of spec.assigned.ports) one.ports.push({ ...port, holder, instance });
  }
  for (const { node, pool, sizeMib } of volumes)
    if (node !== undefined) addTo(on(node).diskMib, pool, sizeMib);
  return all;
}

function viewOf(node: Node, live: LiveNode | undefined, reserved: Reserved | undefined): NodeView {
  const facts = live?.facts ?? node.facts;
  const notReadyBecause = whyNotReady(node, live);
  const cpuMillicores = (facts?.cpuCount ?? 0) * 1000;
  const memoryMib = facts?.memoryMib ?? 0;
  const others = live?.capacity?.others;
  const healthy = facts?.runtimes.filter(({ healthy: isHealthy }) => isHealthy) ?? [];
  return {
    name: node.metadata.name as NodeName,
    ready: notReadyBecause === '',
    notReadyBecause,
    cordoned: node.cordoned,
    runtimes: new Map(healthy.map(({ name, capabilities }) => [name, new Set(capabilities)])),
    labels: { ...facts?.labels, ...node.metadata.labels },
    cpuMillicores,
    memoryMib,
    cpuFreeMillicores: cpuMillicores - (reserved?.cpuMillicores ?? 0),
    memoryFreeMib: memoryMib - (reserved?.memoryMib ?? 0) - (others?.memoryMib ?? 0),
    pools: poolsOf(facts, live, reserved?.diskMib ?? new Map()),
    allowedDevices: new Set(facts?.allowedDevices),
    allowsPrivileged: facts?.allowsPrivileged ?? false,
    ports: reserved?.ports ?? [],
    copies: reserved?.copies ?? new Map(),
    images: live?.images ?? new Set(),
    imagesListed: live?.imagesListed ?? false,
    bridges: new Set(facts?.bridges),
  };
}

/** An agent that names no pools has one, below its state. */
function poolsOf(
  facts: NodeFacts | undefined,
  live: LiveNode | undefined,
  reserved: ReadonlyMap<string, number>,
): PoolView[] {
  const conditions: readonly Condition[] = live?.conditions ?? [];
  // Where others use the same pools, what they left is the most that is there.
  const left = live?.capacity?.others === undefined ? [] : live.capacity.pools;
  const named = facts?.pools ?? [];
  const diskMib = facts?.diskMib ?? 0;
  const pools = named.length > 0 ? named : [{ name: 'local', healthy: true, detail: '', sizeMib: diskMib }];
  const isPool = (text: string): boolean => pools.some(({ name }) => name === text);
  /** A condition's reason names the pool; where it names none, it is about all. */
  const told = (type: string, pool: string): string => {
    const found = conditions.find(
      (each) => each.holds && each.type === type && (each.reason === pool || !isPool(each.reason)),
    );
    return found === undefined ? '' : found.message || found.type;
  };
  return pools.map(({ name, healthy, detail, sizeMib }, place) => {
    const asDefault = place === 0 ? (reserved.get('') ?? 0) : 0;
    return {
      name,
      unusableBecause: healthy ? told('PoolUnavailable', name) : detail || 'it is not healthy',
      fullBecause: told('PoolFull', name),
      freeMib: Math.min(
        sizeMib - asDefault - (reserved.get(name) ?? 0),
        left.find((each) => each.name === name)?.freeMib ?? Number.POSITIVE_INFINITY,
      ),
    };
  });
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
