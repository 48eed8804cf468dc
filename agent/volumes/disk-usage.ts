import type { VolumeId } from '#shared/model.ts';
import type { HostCommands } from '../host/command.ts';
import { toolError } from './directory-home.ts';

const usageMs = 5 * 60_000;

/** Bytes that the places take on the disk, what they share counted once. */
export async function diskUsage(
  run: HostCommands['run'],
  places: readonly string[],
  id: VolumeId,
  signal: AbortSignal,
): Promise<number> {
  // du(1) walks by descriptor: a guest that swaps directories for links meanwhile leads it nowhere.
  const args = ['-sxc', '--block-size=1', '--', ...places];
  const result = await run('du', args, { signal, timeoutMs: usageMs });
  const bytes = Number.parseInt(result.stdout.trimEnd().split('\n').at(-1) ?? '', 10);
  // du fails for files that the guest removed under it, and still has its sum.
  if (!Number.isSafeInteger(bytes)) throw toolError('du', result, id);
  return bytes;
}
