import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import type { InstanceId } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { HostCommands } from '../host/command.ts';
import { createDirectoryDriver } from './directory.ts';
import { probeIdmap } from './idmap-probe.ts';
import type { PoolConfig } from './pool-config.ts';
import { createPools, type Pools } from './pools.ts';
import type { IdRange, VolumeDriver } from './volume-driver.ts';
import { createZfsDriver } from './zfs.ts';

/** The pool of a node that was told of none. */
const ownPool: PoolConfig = { name: 'local', driver: 'directory' };
const probeMs = 30_000;

/** From configuration to drivers. Looks at nothing: what is wrong with a pool is its fingerprint's to say. */
export function openPools(options: {
  readonly pools: readonly PoolConfig[];
  readonly stateDir: string;
  readonly range: IdRange;
  /** Of the state directory: "yes", or why its mounts cannot shift ids. */
  readonly idmappedMounts: string;
  readonly commands: Pick<HostCommands, 'run' | 'start'>;
  readonly clock: Clock;
  readonly random: Random;
}): Pools {
  const { stateDir, range, commands, clock, random } = options;
  const { run, start } = commands;
  const home = (name: string): string => path.join(stateDir, 'pools', name);

  const probe = (directory: string) => (): Promise<string> =>
    probeIdmap({
      directory: path.join(directory, 'idmap-probe'),
      run,
      start,
      id: random.uuidV7() as InstanceId,
      range,
      signal: clock.timeout(probeMs),
    });

  function openDirectory({ name, directory }: PoolConfig): VolumeDriver {
    // Before there were pools, volumes lay here: a pool of that name still finds them.
    const own = name === ownPool.name ? path.join(stateDir, 'volumes') : home(name);
    const idmap = directory === undefined ? async () => options.idmappedMounts : probe(directory);
    return createDirectoryDriver({ pool: name, directory: directory ?? own, run, start, idmap });
  }

  function open(pool: PoolConfig): VolumeDriver {
    const { name: poolName, driver, dataset = '' } = pool;
    if (driver === 'directory') return openDirectory(pool);
    return createZfsDriver({ pool: poolName, dataset, mountRoot: home(poolName), run, start, clock, random });
  }

  const configured = options.pools.length === 0 ? [ownPool] : options.pools;
  return createPools(configured.map(open));
}
