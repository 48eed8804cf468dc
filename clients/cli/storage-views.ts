/** How storage looks to people, one line for each thing. */
import type { Instance, Node } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { GuestConfig } from '#shared/gen/drover/model/v1/model.ts';
import { formatMib } from '#shared/units.ts';

const sizeText = (mib: number): string => (mib === 0 ? 'no quota' : formatMib(mib));

/** "tank: zfs, zfs-fuse (pool version 23), 450MiB of 471MiB free, quota, snapshots". */
export const poolsText = ({ facts, capacity }: Node): string =>
  (facts?.pools ?? [])
    .map((pool) => {
      const free = capacity?.pools.find(({ name }) => name === pool.name)?.freeMib ?? 0;
      const room = `${formatMib(free)} of ${formatMib(pool.sizeMib)} free`;
      const state = pool.healthy ? room : `not usable: ${pool.detail}`;
      const parts = [pool.driver, pool.version, state, ...pool.capabilities].filter(Boolean);
      return `${pool.name}: ${parts.join(', ')}`;
    })
    .join('\n');

/** "128MiB in pool tank". */
export const rootText = ({ spec, observed }: Instance): string => {
  const pool = observed?.rootPool ?? '';
  return pool === '' ? '' : `${sizeText(spec?.resources?.diskMib ?? 0)} in pool ${pool}`;
};

/** "data at /var/lib/data: 10GiB, pool tank". */
export const claimsText = (guest: GuestConfig | undefined): string =>
  (guest?.volumes ?? [])
    .map(({ name, mountPath, sizeMib, pool, readOnly }) => {
      const parts = [sizeText(sizeMib), pool && `pool ${pool}`, readOnly && 'read only'].filter(Boolean);
      return `${name} at ${mountPath}: ${parts.join(', ')}`;
    })
    .join('\n');
