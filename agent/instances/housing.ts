import { DroverError } from '#shared/errors.ts';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import type { IdRange } from '../volumes/volume-driver.ts';
import { claimedVolumes } from './data-volumes.ts';
import { imageRangeOf } from './id-ranges.ts';
import type { HeldVolume, InstanceRecord } from './record.ts';
import { driverOf, type Workshop } from './tools.ts';

/** Where an instance lives on its node: decided with its first order, and kept for its life. */
export interface Housing {
  readonly rootPool: string;
  /** Undefined: the node's own. */
  readonly range: IdRange | undefined;
  readonly imageAsIs: boolean;
}

export interface Plan {
  readonly volumes: readonly HeldVolume[];
  /** Takes a range where a new instance needs one: resource-exhausted. */
  house(record: InstanceRecord | undefined): Housing;
}

/**
 * What an order needs to know of pools and rights before it can be written down. permission-denied and
 * unimplemented: a privileged guest that this node or this runtime does not run. failed-precondition: the
 * instance has another pool or other rights, and they cannot change. `knownPool`: where its root was found.
 */
export async function planHousing(
  shop: Workshop,
  id: InstanceId,
  spec: InstanceSpec,
  known: { readonly record: InstanceRecord | undefined; readonly pool: string },
): Promise<Plan> {
  if (known.record !== undefined) checkKept(known.record, spec, shop);
  const volumes = await claimedVolumes(shop, spec);
  // A pool that is away must not keep an instance from being changed that has its place.
  const ids = known.record === undefined ? await idsFor(shop, spec, known.pool) : undefined;
  const house = (record: InstanceRecord | undefined): Housing => {
    if (record !== undefined) return record;
    if (ids === undefined) throw new DroverError('aborted', `instance ${id} was removed meanwhile`);
    const range = shop.ranges.take(id, ids.kind);
    return { rootPool: ids.pool, range, imageAsIs: range !== undefined && ids.shiftsByMount };
  };
  return { volumes, house };
}

async function idsFor(shop: Workshop, { rootPool, security, runtime }: InstanceSpec, knownPool: string) {
  const pool = shop.pools.of(knownPool || rootPool);
  const abilities = await shop.abilities.pool(pool);
  const base = { pool: pool.pool, shiftsByMount: abilities.has('idmap') || security.privileged };
  if (security.privileged) {
    await checkPrivileged(shop, runtime);
    return { ...base, kind: 'host' as const };
  }
  if (security.ownIdRange && shop.rangeCount === 0) {
    throw new DroverError('failed-precondition', 'this node has no host ids for instances of their own', {
      nextStep: "set idRange.count in the agent's configuration",
    });
  }
  const own = security.ownIdRange || (abilities.has('idmap') && shop.rangeCount > 0);
  return { ...base, kind: own ? ('own' as const) : ('node' as const) };
}

async function checkPrivileged(shop: Workshop, runtime: string): Promise<void> {
  if (!shop.allowsPrivileged) {
    throw new DroverError('permission-denied', 'this node allows no privileged guests', {
      nextStep: "set allowsPrivileged in the agent's configuration, if their root may be the host's",
    });
  }
  const abilities = await shop.abilities.runtime(driverOf(shop, runtime));
  if (abilities.has('privileged')) return;
  throw new DroverError('unimplemented', `the runtime ${runtime} runs no privileged guests`);
}

/** A root keeps its pool and its owner for ever: another one is another instance's. */
function checkKept(record: InstanceRecord, spec: InstanceSpec, { pools }: Workshop): void {
  const { range } = record;
  const pool = record.rootPool || pools.default.pool;
  const refuse = (what: string): DroverError =>
    new DroverError('failed-precondition', `instance ${record.id} ${what}`, {
      subject: { instance: record.id },
      nextStep: 'remove the instance; a new one gets a new root',
    });
  // One without an image stands in for a record that was lost.
  if (spec.runtime !== record.spec.runtime && record.spec.image !== '') {
    throw refuse(`was made for the runtime ${record.spec.runtime}, wanted for ${spec.runtime}`);
  }
  if (spec.rootPool !== '' && spec.rootPool !== pool) {
    throw refuse(`has its root in the pool ${pool}, wanted in ${spec.rootPool}`);
  }
  const privileged = range?.base === 0;
  if (spec.security.privileged !== privileged) {
    throw refuse(privileged ? 'has a root of a privileged guest' : 'has no root of a privileged guest');
  }
  if (spec.security.ownIdRange && range === undefined)
    throw refuse("has the node's host ids, wanted its own");
}

/** What images are unpacked for when nobody has said which instance they are for: the default pool's. */
export async function usualImageRange(shop: Workshop): Promise<IdRange> {
  const abilities = await shop.abilities.pool(shop.pools.default);
  return imageRangeOf(shop.range, { imageAsIs: abilities.has('idmap') && shop.rangeCount > 0 });
}
