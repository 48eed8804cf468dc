import type { Volume } from '#shared/model.ts';
import type { SimulatedFleet } from './fleet.ts';

/** What must hold of data volumes at every moment. Returns what does not. */
export function createVolumeInvariants(fleet: SimulatedFleet): () => string[] {
  const assigned = new Map<string, string>();
  const kept = new Map<string, string>();
  const nodeOf = new Map<string, string>();
  const volumesNow = (): readonly Volume[] => fleet.control().store.snapshot().list('volume');

  /** What an instance has been given stays its own: all of it in one generation, what it always claims for life. */
  function reassigned(): string[] {
    const instances = fleet.control().store.snapshot().list('instance');
    return instances.flatMap(({ metadata: { id, name, generation }, intent, workload, spec }) =>
      spec.assigned.volumes.flatMap(({ name: claim, volumeId }) => {
        // Setting the intent raises the generation as well; the spec stays.
        const life = workload === 'db' && claim === 'data' ? 'life' : `${generation} ${intent}`;
        const key = `${id} ${claim} ${life}`;
        const before = assigned.get(key);
        assigned.set(key, volumeId);
        return before === undefined || before === volumeId
          ? []
          : [`${name}: its ${claim} was ${before} and is ${volumeId}`];
      }),
    );
  }

  function moved(): string[] {
    return volumesNow().flatMap(({ metadata: { id, name }, node }) => {
      const before = nodeOf.get(id);
      if (node !== undefined) nodeOf.set(id, node);
      return before === undefined || before === node ? [] : [`${name} moved from ${before} to ${node}`];
    });
  }

  /** Kept volumes stay, in the store and on their hosts, until a person or a lost host ends them. */
  function removed(): string[] {
    const volumes = volumesNow();
    const there = new Set(volumes.map(({ metadata }) => metadata.id));
    for (const { keep, metadata, claim, workload, node } of volumes)
      if (keep && claim === 'data' && workload === 'db') kept.set(metadata.id, node ?? '');
    const isMissing = (id: string): boolean => !fleet.givenUpVolumes.has(id) && !there.has(id);
    return [...kept.keys()].filter(isMissing).map((id) => `the kept volume ${id} is gone`);
  }

  return () => [
    ...reassigned(),
    ...moved(),
    ...removed(),
    ...mountedTwice(fleet),
    ...sharedSlots(fleet),
    ...lostOnNodes(fleet, kept),
  ];
}

/** On the hosts: no two guests have the same volume. */
function mountedTwice(fleet: SimulatedFleet): string[] {
  const users = new Map<string, string>();
  const guests = [...fleet.nodes.values()].flatMap((node) => [...node.instances]);
  const mounts = guests.flatMap(([id, { spec }]) =>
    spec.assigned.volumes.map(({ volumeId }) => [volumeId, id] as const),
  );
  return mounts.flatMap(([volumeId, id]) => {
    const other = users.get(volumeId);
    users.set(volumeId, id);
    return other === undefined ? [] : [`${volumeId} is mounted by ${other} and by ${id}`];
  });
}

/** In the store: a slot has one instance, and an instance one slot. */
function sharedSlots(fleet: SimulatedFleet): string[] {
  const snapshot = fleet.control().store.snapshot();
  const slots = new Map<string, string>();
  const owners = new Map<string, string>();
  const faults: string[] = [];
  for (const { metadata, workload, slot, claim, instanceId } of snapshot.list('volume')) {
    if (instanceId === undefined) continue;
    const key = `${workload}/${slot}`;
    if ((slots.get(key) ?? instanceId) !== instanceId) faults.push(`slot ${key} has two instances`);
    if ((owners.get(instanceId) ?? key) !== key) faults.push(`${instanceId} has two slots`);
    slots.set(key, instanceId);
    owners.set(instanceId, key);
    const owner = snapshot.get('instance', instanceId);
    const isNamed = owner?.spec.assigned.volumes.some(({ volumeId }) => volumeId === metadata.id);
    if (!isNamed) faults.push(`${metadata.name} (${claim}) belongs to ${instanceId}, which does not have it`);
  }
  for (const { metadata, spec } of snapshot.list('instance'))
    for (const { name, volumeId } of spec.assigned.volumes)
      if (snapshot.get('volume', volumeId)?.instanceId !== metadata.id)
        faults.push(`${metadata.name} has its ${name} no more, while it may still write to it`);
  return faults;
}

/** A kept volume that a host once made is still on it. */
const madeOn = new WeakMap<SimulatedFleet, Set<string>>();

function lostOnNodes(fleet: SimulatedFleet, kept: ReadonlyMap<string, string>): string[] {
  const made = madeOn.get(fleet) ?? new Set<string>();
  madeOn.set(fleet, made);
  const faults: string[] = [];
  for (const [id, node] of kept) {
    const found = fleet.nodes.get(node);
    if (found === undefined || fleet.givenUpVolumes.has(id)) continue;
    const isThere = [...found.storage.volumes.keys()].some((each) => each === id);
    if (isThere) made.add(id);
    else if (made.has(id)) faults.push(`the kept volume ${id} is no more on ${node}`);
  }
  return faults;
}

/** Some time after the last fault: nothing waits to be removed, and hosts hold what the store knows. */
export function straysOf(fleet: SimulatedFleet): string[] {
  const volumes = fleet.control().store.snapshot().list('volume');
  const waiting = volumes.filter(
    ({ removingSinceMs, keep, instanceId, workload }) =>
      removingSinceMs !== undefined ||
      (!keep && instanceId === undefined && fleet.wanted.get(workload)?.replicas === undefined),
  );
  const known = new Set<string>(volumes.map(({ metadata }) => metadata.id));
  const strays = [...fleet.nodes.values()].flatMap((node) =>
    [...node.storage.volumes.keys()]
      .filter((id) => !known.has(id) && !fleet.givenUpVolumes.has(id))
      .map((id) => `${node.name} holds the volume ${id}, which nobody knows`),
  );
  return [...waiting.map(({ metadata }) => `${metadata.name} is not removed`), ...strays];
}
