import { mkdir, open, readdir, readFile, rename } from 'node:fs/promises';
import path from 'node:path';

/**
 * Replaces a file so that a crash or a power cut leaves the old content or the new, never a mixture.
 * Resolves when the content is on disk. Calls for one path must not overlap: the caller has a queue.
 */
export async function writeDurably(file: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const staged = `${file}.new`;
  const handle = await open(staged, 'w', mode);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(staged, file);
  await syncDirectory(path.dirname(file));
}

/** Makes names that were created, renamed or removed in a directory outlive a power cut. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The content, or undefined when there is no such file. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** What is in a directory; nothing where it is not there yet. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** The content of a file that is made, once, with what `make` gives. */
export async function readOrMake(file: string, make: () => string): Promise<string> {
  const found = (await readIfThere(file))?.trim();
  if (found !== undefined && found !== '') return found;
  await mkdir(path.dirname(file), { recursive: true });
  const made = make();
  await writeDurably(file, `${made}\n`);
  return made;
}
