import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Random } from '#shared/random.ts';
import type { HostCommands } from '../host/command.ts';
import type { VolumeDriver } from './volume-driver.ts';
import { createWriteHealth, createZfsFingerprint } from './zfs-fingerprint.ts';
import { createZfsImages } from './zfs-images.ts';
import { createZfsLayout } from './zfs-layout.ts';
import { createZfsMounts, findHolders } from './zfs-mounts.ts';
import { createZfsSnapshots } from './zfs-snapshots.ts';
import { createZfsStreams } from './zfs-streams.ts';
import { isDatasetName } from './zfs-name.ts';
import { createZfsTool, type ZfsTool } from './zfs-tool.ts';
import { createZfsVolumes } from './zfs-volumes.ts';

export interface ZfsDriverOptions {
  /** As the configuration calls the pool. */
  readonly pool: string;
  /** What all that it makes is below: "tank/drover". */
  readonly dataset: string;
  /** Absolute; volumes are mounted below. Directories above must let others pass (o+x). */
  readonly mountRoot: string;
  readonly run: HostCommands['run'];
  readonly start: HostCommands['start'];
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Volumes as ZFS datasets: PARENT/images/<digest>-<first id>@ready is made once from an unpacked image, and
 * each root is a clone of it, PARENT/roots/<id>; data volumes are PARENT/data/<id>. What is half made lies
 * below PARENT/staging. Marks in user properties say what is ours, and nothing else is ever touched; nothing
 * is destroyed recursively. The pool is found and healed by each call: no restart is needed when the daemon
 * was. zfs-fuse 0.7 and OpenZFS 2.
 */
export function createZfsDriver(options: ZfsDriverOptions): VolumeDriver {
  const { pool, dataset, mountRoot, run, start, clock, random } = options;
  if (!isDatasetName(dataset))
    throw new DroverError('invalid-argument', `not a dataset: ${JSON.stringify(dataset)}`);
  const health = createWriteHealth(clock);
  const tool: ZfsTool = createZfsTool({ run, clock, checkWrites: health.check, findHolders });
  const mounts = createZfsMounts(run, tool, clock);
  const layout = createZfsLayout({ dataset, mountRoot, run, tool, mounts, clock, random });
  const images = createZfsImages(layout);
  const volumes = createZfsVolumes(layout, images);
  const snapshots = createZfsSnapshots(layout, volumes);
  const streams = createZfsStreams(layout, volumes, snapshots, start);
  return {
    name: 'zfs',
    pool,
    fingerprint: createZfsFingerprint({ pool, layout, health }),
    prepare: volumes.prepare,
    prepareData: volumes.prepareData,
    release: volumes.release,
    remove: volumes.remove,
    setQuota: volumes.setQuota,
    async usage(id, signal) {
      const { name } = await volumes.need(id, signal);
      const found = (await tool.get([name], ['used'], 0, signal)).get(name);
      return { bytes: Number(found?.value('used')) || 0 };
    },
    list: volumes.list,
    snapshot: snapshots.take,
    snapshots: snapshots.list,
    rollback: snapshots.rollback,
    removeSnapshot: snapshots.remove,
    clone: snapshots.clone,
    send: (id, snapshot, { since }, signal) => streams.send(id, snapshot, since, signal),
    receive: streams.receive,
    async listImages(signal) {
      await layout.open(signal);
      return images.list(signal);
    },
    async removeImage(digest, signal) {
      await layout.open(signal);
      await images.remove(digest, signal);
    },
    async close() {
      images.close();
    },
  };
}
