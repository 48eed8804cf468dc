import { DroverError, isKind } from '#shared/errors.ts';
import type { InstanceId, InstanceSpec, NodeVolume, VolumeId } from '#shared/model.ts';
import type { GuestMount } from '../drivers/driver.ts';
import type { VolumeDriver } from '../volumes/volume-driver.ts';
import { rangeOf } from './id-ranges.ts';
import type { HeldVolume, InstanceRecord } from './record.ts';
import type { Workshop } from './tools.ts';

/** For what a pool does in a moment as a rule. */
const callMs = 120_000;

/** The data volumes that a spec asks for, each with the pool where it lies or will. invalid-argument. */
export async function claimedVolumes(shop: Workshop, spec: InstanceSpec): Promise<HeldVolume[]> {
  const volumes: HeldVolume[] = [];
  for (const claim of spec.volumes) {
    const id = assignedTo(spec, claim.name);
    const found = claim.pool === '' ? await poolHolding(shop, id) : undefined;
    volumes.push({ id, pool: (found ?? shop.pools.of(claim.pool)).pool });
  }
  return volumes;
}

function assignedTo(spec: InstanceSpec, name: string): VolumeId {
  const id = spec.assigned.volumes.find((each) => each.name === name)?.volumeId;
  if (id !== undefined) return id;
  throw new DroverError('invalid-argument', `no volume is assigned to the claim ${JSON.stringify(name)}`);
}

/** The default may have changed since the volume was made. */
async function poolHolding({ pools, lifetime }: Workshop, id: VolumeId): Promise<VolumeDriver | undefined> {
  if (pools.all.length === 1) return pools.default;
  for (const pool of pools.all) {
    if ((await pool.list(lifetime)).some((volume) => volume.id === id)) return pool;
  }
  return undefined;
}

/** Mounted, each with the guest's ids. failed-precondition: another instance has one, or may have. */
export async function prepareVolumes(
  shop: Workshop,
  record: InstanceRecord,
  signal: AbortSignal,
): Promise<{ readonly mounts: readonly GuestMount[]; readonly quotaEnforced: boolean }> {
  const { spec, volumes } = record;
  const mounts: GuestMount[] = [];
  let quotaEnforced = true;
  for (const { name, mountPath, readOnly, sizeMib } of spec.volumes) {
    const id = assignedTo(spec, name);
    checkFree(shop, record.id, id);
    const pool = shop.pools.of(volumes.find((each) => each.id === id)?.pool ?? '');
    if (record.bootId === '') await checkNotLost(shop, pool, id, signal);
    const wanted = { id, range: rangeOf(shop.range, record), diskMib: sizeMib };
    const made = await shop.act('data.prepare', () => pool.prepareData(wanted, signal));
    mounts.push({ source: made.path, target: mountPath, readOnly });
    quotaEnforced &&= sizeMib === 0 || made.quotaEnforced;
  }
  return { mounts, quotaEnforced };
}

/** The quotas of the claims. False: one of them is not enforced. */
export async function setSizes(shop: Workshop, { spec, volumes }: InstanceRecord): Promise<boolean> {
  let areEnforced = true;
  for (const { name, sizeMib } of spec.volumes) {
    const id = assignedTo(spec, name);
    const pool = shop.pools.of(volumes.find((each) => each.id === id)?.pool ?? '');
    const hasQuota = (await shop.abilities.pool(pool)).has('quota');
    areEnforced &&= hasQuota || sizeMib === 0;
    if (!hasQuota) continue;
    await shop.act('data.quota', () => pool.setQuota(id, sizeMib, shop.clock.timeout(callMs)));
  }
  return areEnforced;
}

/** Two guests on one volume would each shift it to their own ids, under the other. */
function checkFree(shop: Workshop, own: InstanceId, id: VolumeId): void {
  const holder = holderOf(shop, id, own);
  if (holder !== undefined) {
    throw new DroverError('failed-precondition', `volume ${id} belongs to instance ${holder}`, {
      subject: { instance: own, volume: id },
    });
  }
  if (shop.removingVolumes.has(id)) throw new DroverError('aborted', `volume ${id} is being removed`);
}

/** One that is new here has no claim yet to what an instance without a record may have mounted. */
async function checkNotLost(
  shop: Workshop,
  pool: VolumeDriver,
  id: VolumeId,
  signal: AbortSignal,
): Promise<void> {
  if (shop.lostInstances().length === 0) return;
  if ((await pool.list(signal)).some((volume) => volume.id === id)) checkNoneLost(shop, `volume ${id}`);
}

/** The instance whose record names it. */
export const holderOf = (shop: Workshop, id: VolumeId, besides?: InstanceId): InstanceId | undefined =>
  shop.heldRecords().find((record) => record.id !== besides && record.volumes.some((one) => one.id === id))
    ?.id;

/** Unmounts; what is in them stays. */
export async function releaseVolumes(shop: Workshop, volumes: readonly HeldVolume[]): Promise<void> {
  for (const { id, pool } of volumes) {
    const signal = shop.clock.timeout(callMs);
    await shop.act('data.release', () => shop.pools.of(pool).release(id, signal));
  }
}

/** Those that an older spec named and this one does not. */
export const formerVolumes = ({ volumes, spec }: InstanceRecord): HeldVolume[] =>
  volumes.filter(({ id }) => !spec.assigned.volumes.some(({ volumeId }) => volumeId === id));

/** All that the pools hold. */
export async function* listVolumes(shop: Workshop, signal: AbortSignal): AsyncGenerator<NodeVolume> {
  for (const pool of shop.pools.all) {
    for (const { id, kind, diskMib } of await pool.list(signal)) {
      if (kind !== 'data') continue;
      const usedBytes = await usedBytesOf(pool, id, signal);
      if (usedBytes === undefined) continue;
      yield { id, pool: pool.pool, sizeMib: diskMib, usedBytes, instanceId: holderOf(shop, id) };
    }
  }
}

/** Undefined: it was removed meanwhile. */
async function usedBytesOf(
  pool: VolumeDriver,
  id: VolumeId,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    return (await pool.usage(id, signal)).bytes;
  } catch (error) {
    if (isKind(error, 'not-found')) return undefined;
    throw error;
  }
}

/** failed-precondition: what is not known of an instance may be that it uses this. */
export function checkNoneLost(shop: Workshop, what: string): void {
  const [lost] = shop.lostInstances();
  if (lost === undefined) return;
  throw new DroverError('failed-precondition', `${what} may be used by ${lost}, whose record is lost`, {
    subject: { instance: lost },
    nextStep: 'let the control plane order that instance again, or remove it',
  });
}

/** failed-precondition: an instance has it, or it is no data volume. */
export async function removeVolume(shop: Workshop, id: VolumeId, signal: AbortSignal): Promise<void> {
  const subject = { volume: id };
  const holder = holderOf(shop, id);
  if (holder !== undefined) {
    throw new DroverError('failed-precondition', `volume ${id} belongs to instance ${holder}`, {
      subject,
      nextStep: 'remove the instance first',
    });
  }
  checkNoneLost(shop, `volume ${id}`);
  shop.removingVolumes.add(id);
  try {
    for (const pool of shop.pools.all) {
      const found = (await pool.list(signal)).find((volume) => volume.id === id);
      // What a cut removal left counts as a root, too: of nobody.
      const isRoot = found?.range !== undefined || shop.heldRecords().some((record) => record.id === id);
      if (found?.kind === 'root' && isRoot) {
        throw new DroverError('failed-precondition', `${id} is the root of an instance`, { subject });
      }
      if (found !== undefined) await shop.act('data.remove', () => pool.remove(id, signal));
    }
  } finally {
    shop.removingVolumes.delete(id);
  }
}
