import type { Dirent } from 'node:fs';
import { lstat, readdir, unlink } from 'node:fs/promises';
import path from 'node:path';
import { refuse } from './manifest.ts';

/** Directories that a runtime mounts over; as links they would lead its mounts elsewhere. */
const mountPoints = ['dev', 'proc', 'sys'];
/** CVE-2026-88264 and CVE-2026-88265: runtimes that follow these wrote to the host. */
const deviceNames = ['console', 'full', 'null', 'ptmx', 'random', 'tty', 'urandom', 'zero'];

/**
 * Goes over an unpacked root that nobody uses yet: device nodes and sockets are dropped, links where a
 * runtime mounts are refused. Programs with the setuid bit stay: either ids are shifted, so they give nothing
 * on the host, or nobody but root can come to them. invalid-argument.
 */
export async function scanRoot(rootfs: string, signal: AbortSignal): Promise<void> {
  if (!(await lstat(rootfs)).isDirectory()) throw refuse('its root is not a directory');
  const pending = [''];
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    signal.throwIfAborted();
    for (const entry of await entriesOf(path.join(rootfs, directory))) {
      const inside = path.join(directory, entry.name);
      checkPlace(inside, entry);
      if (entry.isDirectory()) pending.push(inside);
      if (entry.isBlockDevice() || entry.isCharacterDevice() || entry.isSocket()) {
        await unlink(path.join(rootfs, inside));
      }
    }
  }
}

async function entriesOf(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENAMETOOLONG')
      throw refuse('its directories are too deep');
    throw error;
  }
}

function checkPlace(inside: string, entry: Dirent): void {
  const directory = path.dirname(inside);
  if (directory === '.' && mountPoints.includes(entry.name) && !entry.isDirectory()) {
    throw refuse(`/${inside} is not a directory`);
  }
  // "ptmx -> pts/ptmx" is usual, and stays within the instance's own /dev.
  if (directory === 'dev' && deviceNames.includes(entry.name) && entry.isSymbolicLink()) {
    if (entry.name !== 'ptmx') throw refuse(`/${inside} is a link`);
  }
}
