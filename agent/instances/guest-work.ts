import { isKind } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { GuestState, RuntimeDriver } from '../drivers/driver.ts';
import type { PulledImage } from '../images/image-source.ts';
import { imageRange } from './id-ranges.ts';
import type { InstanceRecord } from './record.ts';
import { driverOf, imageSourceOf, type Workshop } from './tools.ts';

/** A driver's own limits are shorter; this one ends what a broken driver would never end. */
const longestCallMs = 120_000;

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
 * Image, volume, guest: whatever of it is there already is found again. `interrupt` ends the long first half
 * when another order came; the guest itself is made to the end, so that its state is known.
 */
export async function makeGuest(
  shop: Workshop,
  record: InstanceRecord,
  old: GuestState | 'absent',
  interrupt: AbortSignal,
): Promise<{ notEnforced: string[] }> {
  const { id, spec } = record;
  const driver = driverOf(shop, spec.runtime);
  if (old !== 'absent') await clearGuest(shop, driver, record, old, true);
  const image = await shop.act('image.pull', () => pullImage(shop, record, interrupt));
  const { digest, rootfs } = image;
  const { diskMib } = spec.resources;
  const range = record.range ?? shop.range;
  const wanted = {
    id,
    image: { digest, rootfs, range: imageRange(shop.range, record.range) },
    range,
    diskMib,
  };
  const root = await shop.act('volume.prepare', () => shop.volumes.prepare(wanted, interrupt));
  interrupt.throwIfAborted();
  const guest = {
    id,
    spec,
    image: image.config,
    rootfs: root.path,
    range,
    mounts: [],
    resolvConf: undefined,
  };
  await shop.act('guest.create', () => driver.create(guest, shop.clock.timeout(longestCallMs)));
  return { notEnforced: diskMib > 0 && !root.quotaEnforced ? ['disk'] : [] };
}

export async function startGuest(shop: Workshop, record: InstanceRecord): Promise<void> {
  const driver = driverOf(shop, record.spec.runtime);
  await shop.act('guest.start', () => driver.start(record.id, shop.clock.timeout(longestCallMs)));
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
 * Guest, then volume, then the tombstone, then the record: what is cut short is begun anew from the record.
 */
export async function removeAll(
  shop: Workshop,
  record: InstanceRecord,
  seen: GuestState | 'absent',
): Promise<void> {
  const { id, generation } = record;
  const driver = driverOf(shop, record.spec.runtime);
  // A signal for each step: the grace of the stop may be longer than any of them.
  const signal = (): AbortSignal => shop.clock.timeout(longestCallMs);
  if (seen !== 'absent') await clearGuest(shop, driver, record, seen, false);
  else await shop.act('guest.remove', () => driver.remove(id, signal()));
  await shop.act('volume.remove', () => shop.volumes.remove(id, signal()));
  await shop.act('tombstone.add', () => shop.tombstones.add(id, generation, shop.clock.nowMs()));
  await shop.act('record.remove', () => shop.records.remove(id));
  shop.ranges.free(id);
}

/** The wall clock may have jumped: never longer than the grace that was given. */
function graceLeftMs({ stopping, spec }: InstanceRecord, nowMs: number): number {
  if (stopping === undefined) return spec.stopGraceMs;
  return Math.min(Math.max(stopping.deadlineMs - nowMs, 0), stopping.graceMs);
}

async function clearGuest(
  shop: Workshop,
  driver: RuntimeDriver,
  record: InstanceRecord,
  seen: GuestState,
  keepLogs: boolean,
): Promise<void> {
  if (seen.phase === 'running' || seen.phase === 'unknown') await stopGuest(shop, record);
  const options = { keepLogs };
  await shop.act('guest.remove', () => driver.remove(record.id, shop.clock.timeout(longestCallMs), options));
}

async function pullImage(
  shop: Workshop,
  { spec, range: own }: InstanceRecord,
  interrupt: AbortSignal,
): Promise<PulledImage> {
  const { image: reference, imageCredential: credential } = spec;
  const source = imageSourceOf(shop, reference);
  const range = imageRange(shop.range, own);
  const found = await source.find(reference, range);
  return found ?? source.pull({ reference, credential, range }, interrupt);
}
