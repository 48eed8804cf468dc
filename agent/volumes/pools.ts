import { DroverError } from '#shared/errors.ts';
import type { VolumeDriver } from './volume-driver.ts';

/** The pools of one node, each kept by a driver of its own. */
export interface Pools {
  /** For those who name none: the first that is configured. */
  readonly default: VolumeDriver;
  /** By name; empty: the default. failed-precondition. */
  of(name: string): VolumeDriver;
  readonly all: readonly VolumeDriver[];
}

/** In the order of the configuration. */
export function createPools(drivers: readonly VolumeDriver[]): Pools {
  const [first] = drivers;
  if (first === undefined) throw new DroverError('invalid-argument', 'a node needs at least one pool');
  return {
    default: first,
    all: drivers,
    of(name) {
      const found = name === '' ? first : drivers.find(({ pool }) => pool === name);
      if (found !== undefined) return found;
      const known = drivers.map(({ pool }) => pool).join(', ');
      throw new DroverError('failed-precondition', `no pool ${JSON.stringify(name)} here; there is ${known}`);
    },
  };
}
