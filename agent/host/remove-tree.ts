import { DroverError } from '#shared/errors.ts';
import type { HostCommands } from './command.ts';

const removeMs = 10 * 60_000;

/**
 * Removes a tree, or succeeds when there is none. rm(1) walks by descriptor, so that neither depth nor a
 * swapped link leads it astray, and stays on one file system: what somebody mounted below is not ours to
 * remove. unavailable.
 */
export async function removeTree(run: HostCommands['run'], tree: string, signal: AbortSignal): Promise<void> {
  const args = ['-rf', '--one-file-system', '--', tree];
  const { exitCode, stderr } = await run('rm', args, { signal, timeoutMs: removeMs });
  if (exitCode !== 0) throw new DroverError('unavailable', `rm: ${stderr.trim().slice(0, 500)}`);
}
