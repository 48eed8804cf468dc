import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { wordsOf } from '#shared/errors.ts';
import type { Digest, InstanceId } from '#shared/model.ts';
import type { HostCommands } from '../host/command.ts';
import { createDirectoryDriver } from './directory.ts';
import type { IdRange } from './volume-driver.ts';

const digest = `sha256:${'0'.repeat(64)}` as Digest;

/**
 * Whether the file system of a directory takes idmapped mounts: "yes", or why not. Tries it with a root of
 * its own below the directory, and leaves nothing there, whatever a crash had left. Spawns three tools.
 */
export async function probeIdmap(options: {
  /** Of the probe alone. */
  readonly directory: string;
  readonly run: HostCommands['run'];
  readonly start: HostCommands['start'];
  readonly id: InstanceId;
  readonly range: IdRange;
  readonly signal: AbortSignal;
}): Promise<string> {
  const { directory, run, start, id, range, signal } = options;
  const driver = createDirectoryDriver({ directory: path.join(directory, 'volumes'), run, start });
  const rootfs = path.join(directory, 'image');
  try {
    for (const left of await driver.list(signal)) await driver.remove(left.id, signal);
    await rm(directory, { recursive: true, force: true });
    await mkdir(rootfs, { recursive: true, mode: 0o711 });
    await writeFile(path.join(rootfs, 'file'), '');
    try {
      const image = { digest, rootfs, range: { base: 0, size: range.size } };
      const root = await driver.prepare({ id, image, range, diskMib: 0 }, signal);
      const { uid, gid } = await stat(path.join(root.path, 'file'));
      return uid === range.base && gid === range.base ? 'yes' : `no: id 0 became ${uid}`;
    } finally {
      await driver.remove(id, signal);
      await rm(directory, { recursive: true, force: true });
    }
  } catch (error) {
    // Whatever it is, it is the answer: this host cannot do it.
    return `no: ${wordsOf(error)}`.replaceAll(/\s+/g, ' ').slice(0, 200);
  }
}
