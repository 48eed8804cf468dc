import { isKind } from '#shared/errors.ts';
import type { Digest, InstanceId, SnapshotId } from '#shared/model.ts';
import type { GuestState, RuntimeDriver } from '../drivers/driver.ts';
import type { PulledImage } from '../images/image-source.ts';
import type { MountedVolume } from '../volumes/volume-driver.ts';
import { attachNetwork, detachNetwork, networkOf, prepareNetwork, resolvConfOf } from './connect.ts';
import { formerVolumes, prepareVolumes, releaseVolumes, setSizes } from './data-volumes.ts';
import { imageRangeOf, rangeOf } from './id-ranges.ts';
import type { InstanceRecord } from './record.ts';
import { driverOf, imageSourceOf, type Workshop } from './tools.ts';

/** A driver's own limits are shorter; this one ends what a broken driver would never end. */
const longestCallMs = 120_000;
/** A pool may have to copy all that its volumes hold. */
const longestCopyMs = 4 * 60 * 60_000;

/** What the host shows of the guest. */
export async function look(
  shop: Workshop,
  driver: RuntimeDriver,
  id: InstanceId,
): Promise<GuestState | 'absent'> {
  try {
    return await driver.inspect(id, shop.clock.timeout(longestCallMs, shop.lifetime));
  } catch (error) {
    if (isKind(error, 'not-found')) return 'absent';
    throw error;
  }
}

/**
 * Image, root, data volumes, network, guest: whatever of it is there already is found again. `interrupt` ends
 * the long first half when another order came; the guest itself is made to the end, so that its state is
 * known.
 */
export async function makeGuest(
  shop: Workshop,
  record: InstanceRecord,
  old: GuestState | 'absent',
  interrupt: AbortSignal,
): Promise<{ notEnforced: string[]; imageDigest: Digest }> {
  const { id, spec } = record;
  const driver = driverOf(shop, spec.runtime);
  await makeRoom(shop, record, old, interrupt);
  const image = await shop.act('image.pull', () => pullImage(shop, record, interrupt));
  const root = await prepareRoot(shop, record, image, interrupt);
  const { mounts, quotaEnforced } = await prepareVolumes(shop, record, interrupt);
  interrupt.throwIfAborted();
  const network = await prepareNetwork(shop, driver, networkOf(record));
  const attachments = network?.attachments ?? spec.assigned.attachments;
  const guest = {
    id,
    spec: { ...spec, assigned: { ...spec.assigned, attachments } },
    image: image.config,
    rootfs: root.path,
    range: rangeOf(shop.range, record),
    mounts,
    resolvConf: await resolvConfOf(spec),
  };
  await shop.act('guest.create', () => driver.create(guest, shop.clock.timeout(longestCallMs)));
  // Before the start: a guest that runs is connected, whenever the agent is killed.
  await attachNetwork(shop, driver, network);
  const enforced = quotaEnforced && (spec.resources.diskMib === 0 || root.quotaEnforced);
  return { notEnforced: enforced ? [] : ['disk'], imageDigest: image.digest };
}

/** Clears away the guest of before, and what only that one had. */
async function makeRoom(
  shop: Workshop,
  record: InstanceRecord,
  old: GuestState | 'absent',
  interrupt: AbortSignal,
): Promise<void> {
  const { replaced, spec } = record;
  if (replaced !== undefined && shop.beforeUpdate !== undefined) {
    const before = { ...record, ...replaced };
    await shop.act('update.prepare', async () => shop.beforeUpdate?.(before, spec, interrupt));
  }
  if (old !== 'absent') await clearGuest(shop, record, old, { keepLogs: true });
  await releaseVolumes(shop, formerVolumes(record));
}

function prepareRoot(
  shop: Workshop,
  record: InstanceRecord,
  image: PulledImage,
  signal: AbortSignal,
): Promise<MountedVolume> {
  const { digest, rootfs } = image;
  const wanted = {
    id: record.id,
    image: { digest, rootfs, range: imageRangeOf(shop.range, record) },
    range: rangeOf(shop.range, record),
    diskMib: record.spec.resources.diskMib,
  };
  return shop.act('volume.prepare', () => shop.pools.of(record.rootPool).prepare(wanted, signal));
}

export async function startGuest(shop: Workshop, record: InstanceRecord): Promise<void> {
  const driver = driverOf(shop, record.spec.runtime);
  await shop.act('guest.start', () => driver.start(record.id, shop.clock.timeout(longestCallMs)));
}

/** Takes the guest away, unmounts its volumes and sets them back. not-found; failed-precondition. */
export async function setBack(
  shop: Workshop,
  record: InstanceRecord,
  seen: GuestState | 'absent',
  snapshot: SnapshotId,
  interrupt: AbortSignal,
): Promise<void> {
  await clearGuest(shop, record, seen, { keepLogs: true });
  await releaseVolumes(shop, record.volumes);
  const pool = shop.pools.of(record.rootPool);
  const releasing = shop.clock.timeout(longestCallMs, shop.lifetime);
  await shop.act('volume.release', () => pool.release(record.id, releasing));
  await shop.snapshots.setBack(record, snapshot, shop.clock.timeout(longestCopyMs, interrupt));
}

/** The limits of a living guest and the quotas of its volumes; gives what is not enforced. */
export async function setLimits(shop: Workshop, record: InstanceRecord): Promise<string[]> {
  const { id, spec, rootPool } = record;
  const { resources } = spec;
  const driver = driverOf(shop, spec.runtime);
  const pool = shop.pools.of(rootPool);
  const hasQuota = (await shop.abilities.pool(pool)).has('quota');
  const signal = (): AbortSignal => shop.clock.timeout(longestCallMs);
  await shop.act('guest.update', () => driver.update(id, resources, signal()));
  if (hasQuota) await shop.act('volume.quota', () => pool.setQuota(id, resources.diskMib, signal()));
  const areEnforced = await setSizes(shop, record);
  return areEnforced && (hasQuota || resources.diskMib === 0) ? [] : ['disk'];
}

/** With what is left of the grace, also after a restart of the agent. */
export async function stopGuest(shop: Workshop, record: InstanceRecord): Promise<void> {
  const driver = driverOf(shop, record.spec.runtime);
  const graceMs = graceLeftMs(record, shop.clock.nowMs());
  const signal = shop.clock.timeout(graceMs + longestCallMs, shop.lifetime);
  try {
    await shop.act('guest.stop', () => driver.stop(record.id, graceMs, signal));
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
  }
}

/**
 * Guest, network, root, then the tombstone, then the record: what is cut short is begun anew from the record.
 * Data volumes are only released.
 */
export async function removeAll(
  shop: Workshop,
  record: InstanceRecord,
  seen: GuestState | 'absent',
): Promise<void> {
  const { id, generation, rootPool } = record;
  // One that is being taken would make anew what is removed, and keep the guest frozen until it is whole.
  await shop.snapshots.abandon(id);
  await clearGuest(shop, record, seen, { keepLogs: false });
  await releaseVolumes(shop, record.volumes);
  const pools = rootPool === '' ? shop.pools.all : [shop.pools.of(rootPool)];
  for (const pool of pools) {
    await shop.act('volume.remove', () => pool.remove(id, shop.clock.timeout(longestCallMs)));
  }
  await shop.act('tombstone.add', () => shop.tombstones.add(id, generation, shop.clock.nowMs()));
  await shop.act('record.remove', () => shop.records.remove(id));
  shop.ranges.free(id);
  shop.imagesInUse.free(id);
}

/** The wall clock may have jumped: never longer than the grace that was given. */
function graceLeftMs({ stopping, spec }: InstanceRecord, nowMs: number): number {
  if (stopping === undefined) return spec.stopGraceMs;
  return Math.min(Math.max(stopping.deadlineMs - nowMs, 0), stopping.graceMs);
}

/** Paused ones are asked to end like those that run. */
const mayLive = (seen: GuestState | 'absent'): boolean =>
  seen !== 'absent' && ['running', 'paused', 'unknown'].includes(seen.phase);

async function clearGuest(
  shop: Workshop,
  record: InstanceRecord,
  seen: GuestState | 'absent',
  options: { readonly keepLogs: boolean },
): Promise<void> {
  const driver = driverOf(shop, record.spec.runtime);
  if (mayLive(seen)) await stopGuest(shop, record);
  // A signal for each step: the grace of the stop may be longer than any of them.
  await shop.act('guest.remove', () => driver.remove(record.id, shop.clock.timeout(longestCallMs), options));
  await detachNetwork(shop, record);
}

async function pullImage(
  shop: Workshop,
  record: InstanceRecord,
  interrupt: AbortSignal,
): Promise<PulledImage> {
  const { image: reference, imageCredential: credential } = record.spec;
  const source = imageSourceOf(shop, reference);
  const range = imageRangeOf(shop.range, record);
  const found =
    (await source.find(reference, range)) ?? (await source.pull({ reference, credential, range }, interrupt));
  shop.imagesInUse.take(record.id, found.digest);
  return found;
}
