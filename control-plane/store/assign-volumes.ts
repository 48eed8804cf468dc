import { DroverError } from '#shared/errors.ts';
import type {
  Assignment,
  Instance,
  InstanceId,
  NodeName,
  Volume,
  VolumeClaim,
  VolumeId,
} from '#shared/model.ts';
import { volumesOfWorkload } from './find-volumes.ts';
import { newMetadata } from './new-metadata.ts';
import { isAbandoned, retireVolume } from './remove-volume.ts';
import type { Snapshot, Transaction } from './store.ts';

/** One place among the copies of a workload, with the data volumes that belong to it. */
export interface Slot {
  /** From 0. */
  readonly number: number;
  /** For the claims that have one already. */
  readonly volumes: readonly Volume[];
  /** One of them that lies on a node: no other node can take the slot. Undefined: any can. */
  readonly anchor: Volume | undefined;
}

type Reads = Pick<Snapshot, 'get' | 'named' | 'list'>;

/**
 * The slots that an instance can have: its own, or else those below the number of replicas that no instance
 * has, the lowest first. Undefined: it asks for no volumes and has none. failed-precondition: there is none,
 * and why.
 */
export function slotsFor(tx: Reads, instance: Instance): readonly Slot[] | undefined {
  const { workload, spec, metadata, node } = instance;
  if (spec.volumes.length === 0 && spec.assigned.volumes.length === 0) return undefined;
  const all = volumesOfWorkload(tx, workload, metadata.project);
  const own = all.find(({ instanceId }) => instanceId === metadata.id);
  if (own === undefined && spec.volumes.length === 0) return undefined;
  const count = tx.named('workload', workload, metadata.project)?.spec.replicas ?? 0;
  const numbers = own === undefined ? Array.from({ length: count }, (_, number) => number) : [own.slot];
  const bySlot = Map.groupBy(all, ({ slot }) => slot);
  const slots: Slot[] = [];
  let obstacle = `all ${count} slots of ${workload} are taken`;
  for (const number of numbers.toReversed()) {
    const volumes = bySlot.get(number) ?? [];
    const why = whyNot(tx, volumes, instance);
    if (why !== undefined) obstacle = why;
    else slots.unshift(slotOf(number, volumes, spec.volumes));
  }
  const reachable = slots.filter(({ anchor }) => node === undefined || isAt(anchor, node));
  if (reachable.length > 0) return reachable;
  const elsewhere = slots[0]?.anchor;
  const because = elsewhere === undefined ? obstacle : `its volume ${whereOf(elsewhere)}`;
  throw new DroverError('failed-precondition', because, {
    subject: { instance: metadata.id },
    reason: 'volumes-taken',
  });
}

/** It does not keep the slot from the node. */
export const isAt = (anchor: Volume | undefined, node: NodeName): boolean =>
  anchor === undefined || anchor.node === node;

const whereOf = ({ metadata, node }: Volume): string => `${metadata.name} lies on ${node}`;

function slotOf(number: number, volumes: readonly Volume[], claims: readonly VolumeClaim[]): Slot {
  const claimed = volumes.filter(({ claim }) => claims.some(({ name }) => name === claim));
  return { number, volumes: claimed, anchor: claimed.find(({ node }) => node !== undefined) };
}

/** Why the instance cannot have the slot of these volumes; undefined: it can. */
function whyNot(tx: Reads, volumes: readonly Volume[], { metadata, spec }: Instance): string | undefined {
  const user = volumes.find(({ instanceId }) => instanceId !== undefined && instanceId !== metadata.id);
  if (user?.instanceId !== undefined) {
    const name = tx.get('instance', user.instanceId, metadata.project)?.metadata.name ?? user.instanceId;
    return `volume ${user.metadata.name} is still used by ${name}`;
  }
  const placed: Volume[] = [];
  for (const volume of volumes) {
    const claim = spec.volumes.find(({ name }) => name === volume.claim);
    if (claim === undefined) continue;
    const { name } = volume.metadata;
    if (volume.removingSinceMs !== undefined) return `volume ${name} is being removed`;
    if (volume.node === undefined) continue;
    if (volume.pool !== claim.pool)
      return `volume ${name} lies in ${poolName(volume.pool)}, its claim asks for ${poolName(claim.pool)}`;
    placed.push(volume);
  }
  const [first, ...others] = placed;
  const apart = others.find(({ node }) => node !== first?.node);
  if (first === undefined || apart === undefined) return undefined;
  return `its volumes lie apart: ${whereOf(first)}, ${whereOf(apart)}`;
}

export const poolName = (pool: string): string => (pool === '' ? 'the default pool' : `pool ${pool}`);

/**
 * The slot that the instance takes on the node: the one that was chosen with it, else its own, or the lowest
 * that the node can take. Undefined: it needs none. failed-precondition as slotsFor; aborted: it has been
 * taken.
 */
export function takeSlot(
  tx: Reads,
  instance: Instance,
  node: NodeName,
  number: number | undefined,
): Slot | undefined {
  const slots = slotsFor(tx, { ...instance, node });
  const slot = number === undefined ? slots?.[0] : slots?.find((each) => each.number === number);
  if (slots === undefined || slot !== undefined) return slot;
  throw new DroverError('aborted', `slot ${number} of ${instance.workload} has been taken`, {
    subject: { instance: instance.metadata.id },
  });
}

/**
 * Gives an instance the volumes of its slot on the node: finds or makes the record of each claim, says that
 * it lies here, and that nobody else has it. What the instance no longer claims is free again. Repeating it
 * changes nothing.
 */
export function assignVolumes(
  tx: Transaction,
  instance: Instance,
  at: { readonly node: NodeName; readonly slot: Slot | undefined; newId(): string },
  nowMs: number,
): Assignment['volumes'] {
  const { node, slot } = at;
  if (slot === undefined) return [];
  freeUnclaimed(tx, instance, nowMs);
  return instance.spec.volumes.map((claim) => {
    const { sizeMib, pool } = claim;
    const keep = keepOf(tx, instance, claim.name);
    const found = slot.volumes.find((volume) => volume.claim === claim.name);
    const before = found ?? newVolume(tx, instance, claim, { number: slot.number, id: at.newId(), nowMs });
    const instanceId = instance.metadata.id as InstanceId;
    put(tx, found, { ...before, node, instanceId, sizeMib, pool, keep });
    return { name: claim.name, volumeId: before.metadata.id as VolumeId };
  });
}

/** What nodes are told of a claim says nothing of keeping: that is between the workload and its volumes. */
const keepOf = (tx: Transaction, { workload, metadata }: Instance, claim: string): boolean =>
  tx.named('workload', workload, metadata.project)?.spec.volumes.find(({ name }) => name === claim)?.keep ??
  true;

function put(tx: Transaction, before: Volume | undefined, now: Volume): void {
  const isSame =
    before !== undefined &&
    before.node === now.node &&
    before.instanceId === now.instanceId &&
    before.sizeMib === now.sizeMib &&
    before.pool === now.pool &&
    before.keep === now.keep;
  if (!isSame) tx.put('volume', now.metadata.id, now, now.metadata.project);
}

function newVolume(
  tx: Transaction,
  { workload, metadata }: Instance,
  claim: VolumeClaim,
  { number, id, nowMs }: { readonly number: number; readonly id: string; readonly nowMs: number },
): Volume {
  const { project } = metadata;
  const plain = `${workload}-${claim.name}-${number}`;
  // "a-b" of "c" and "a" of "b-c" have the same name for people: the later one says more of its id.
  const name = tx.named('volume', plain, project) === undefined ? plain : `${plain}-${id.slice(-5)}`;
  const { sizeMib, pool, keep } = claim;
  return {
    metadata: newMetadata({ project, name, id }, nowMs),
    workload,
    claim: claim.name,
    slot: number,
    node: undefined,
    instanceId: undefined,
    sizeMib,
    pool,
    keep,
    removingSinceMs: undefined,
  };
}

function freeUnclaimed(tx: Transaction, { metadata, workload, spec }: Instance, nowMs: number): void {
  for (const volume of volumesOfWorkload(tx, workload, metadata.project)) {
    const isClaimed = spec.volumes.some(({ name }) => name === volume.claim);
    if (volume.instanceId === metadata.id && !isClaimed) free(tx, volume, nowMs);
  }
}

/** What the workload claims no more and nobody keeps goes with its last user. */
function free(tx: Transaction, volume: Volume, nowMs: number): void {
  const { id, project } = volume.metadata;
  const freed = { ...volume, instanceId: undefined };
  tx.put('volume', id, freed, project);
  if (isAbandoned(freed, tx.named('workload', volume.workload, project)))
    retireVolume(tx, freed, `${volume.workload} claims it no more`, nowMs);
}

/** Nothing of the instance is left anywhere: its volumes may be another's. Repeating it changes nothing. */
export function freeVolumes(tx: Transaction, { metadata, workload, spec }: Instance, nowMs: number): void {
  if (spec.volumes.length === 0 && spec.assigned.volumes.length === 0) return;
  for (const volume of volumesOfWorkload(tx, workload, metadata.project))
    if (volume.instanceId === metadata.id) free(tx, volume, nowMs);
}
