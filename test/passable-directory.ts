/** A directory of its own below the temporary one that others can pass, gone at the end. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { systemClock } from '#shared/clock.ts';
import { createHostCommands } from '../agent/host/command.ts';
import { readMounts } from '../agent/volumes/mounts.ts';

const { run } = createHostCommands({ clock: systemClock });
const { signal } = new AbortController();

export interface PassableDirectory extends AsyncDisposable {
  readonly path: string;
}

export async function passableDirectory(name: string): Promise<PassableDirectory> {
  const directory = await mkdtemp(path.join(tmpdir(), `drover-${name}-`));
  await chmod(directory, 0o711);
  const dispose = async (): Promise<void> => {
    // Of a test that failed: nothing is removed through a mount.
    const mounts = (await readMounts()).filter(({ target }) => target.startsWith(`${directory}/`));
    for (const { target } of mounts.toReversed())
      await run('umount', ['--', target], { signal, timeoutMs: 30_000 });
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  return { path: directory, [Symbol.asyncDispose]: dispose };
}
