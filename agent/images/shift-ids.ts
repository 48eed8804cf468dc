import { DroverError } from '#shared/errors.ts';
import type { HostCommands } from '../host/command.ts';
import { shiftTree } from '../host/shift-tree.ts';
import type { IdRange } from '../volumes/volume-driver.ts';
import { refuse } from './manifest.ts';

const findMs = 30 * 60_000;

/**
 * Gives an unpacked root that nobody uses yet, with the image's own ids, to the range. invalid-argument:
 * owners beyond it.
 */
export async function shiftIds(
  run: HostCommands['run'],
  rootfs: string,
  range: IdRange,
  signal: AbortSignal,
): Promise<void> {
  const last = `+${range.size - 1}`;
  const beyond = ['(', '-uid', last, '-o', '-gid', last, ')', '-printf', '%U %G', '-quit'];
  const found = await run('find', [rootfs, '-xdev', ...beyond], { signal, timeoutMs: findMs });
  if (found.exitCode !== 0)
    throw new DroverError('unavailable', `find: ${found.stderr.trim().slice(0, 300)}`);
  const [uid, gid] = found.stdout.split(' ');
  if (gid !== undefined) {
    throw refuse(`a file of user ${uid} and group ${gid}; an instance has ids below ${range.size}`);
  }
  if (range.base === 0) return;
  await shiftTree(run, { path: rootfs, from: { base: 0, size: range.size }, to: range }, signal);
}
