import type { SimulatedFleet } from './fleet.ts';
import { createVolumeInvariants, straysOf } from './volume-invariants.ts';

/** What must hold at every moment, whatever goes wrong. Returns what does not. */
export function createInvariants(fleet: SimulatedFleet): () => string[] {
  const boundTo = new Map<string, string>();

  function boundTwice(): string[] {
    return fleet
      .control()
      .store.snapshot()
      .list('instance')
      .flatMap(({ metadata: { id }, node }) => {
        const before = boundTo.get(id);
        if (node !== undefined) boundTo.set(id, node);
        return before === undefined || before === node ? [] : [`${id} moved from ${before} to ${node}`];
      });
  }

  const brokenVolumes = createVolumeInvariants(fleet);
  return () => [
    ...boundTwice(),
    ...runTwice(fleet),
    ...overcommitted(fleet),
    ...unkept(fleet),
    ...brokenVolumes(),
  ];
}

function runTwice(fleet: SimulatedFleet): string[] {
  const seenOn = new Map<string, string>();
  const twice: string[] = [];
  for (const node of fleet.nodes.values()) {
    for (const id of node.instances.keys()) {
      const other = seenOn.get(id);
      if (other !== undefined) twice.push(`${id} is on ${other} and on ${node.name}`);
      seenOn.set(id, node.name);
    }
  }
  return twice;
}

function overcommitted(fleet: SimulatedFleet): string[] {
  const snapshot = fleet.control().store.snapshot();
  return [...fleet.nodes.values()].flatMap(({ name, facts }) => {
    const boundMib = snapshot
      .instancesOnNode(name)
      .reduce((sum, { spec }) => sum + spec.resources.memoryMib, 0);
    return boundMib > facts.memoryMib
      ? [`${name} has ${facts.memoryMib} MiB, ${boundMib} MiB are bound`]
      : [];
  });
}

/** What was acknowledged is there, also after a restart. */
function unkept(fleet: SimulatedFleet): string[] {
  return [...fleet.wanted].flatMap(([name, { image, replicas }]) => {
    const workload = fleet.control().workload(name);
    if (replicas === undefined)
      return workload === undefined || workload.deletingSinceMs !== undefined
        ? []
        : [`${name} is not being deleted`];
    if (workload === undefined) return [`${name} is forgotten`];
    const { spec } = workload;
    return spec.image === image && spec.replicas === replicas
      ? []
      : [`${name}: wanted ${replicas} of ${image}, kept ${spec.replicas} of ${spec.image}`];
  });
}

/** What must hold some time after the last fault. Returns what does not. */
export function unsettled(fleet: SimulatedFleet): string[] {
  const control = fleet.control();
  const guests = [...fleet.nodes.values()].flatMap((node) => [...node.instances.values()]);
  const faults: string[] = [];
  for (const [name, { replicas }] of fleet.wanted) {
    const workload = control.workload(name);
    const own = guests.filter(({ spec }) => spec.workload === name);
    const good = own.filter(
      ({ spec, state }) => state.phase === 'running' && spec.image === workload?.resolved?.image,
    );
    const count = replicas ?? 0;
    if (own.length !== count || good.length !== count)
      faults.push(`${name}: wanted ${count}, found ${own.length}, ${good.length} of them good`);
    if (control.instances(name).length !== count)
      faults.push(`${name}: wanted ${count}, ${control.instances(name).length} records`);
    if (replicas === undefined && workload !== undefined) faults.push(`${name} is not gone`);
    for (const { id, kind, state } of control.operations(name))
      if (state === 'running') faults.push(`${name}: ${kind} ${id} has not ended`);
  }
  const strangers = guests.filter(({ spec }) => !fleet.wanted.has(spec.workload));
  if (strangers.length > 0) faults.push(`${strangers.length} guests of nobody`);
  return [...faults, ...straysOf(fleet)];
}
