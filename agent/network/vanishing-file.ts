import { readFile } from 'node:fs/promises';

const gone = new Set(['ENOENT', 'ENOTDIR', 'ENODEV', 'EINVAL', 'ESRCH']);

/**
 * The content of a file of the kernel; undefined when what it speaks of is not there, or goes while it is
 * read.
 */
export async function readVanishing(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (gone.has((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
