/** A directory of its own below the temporary one that others can pass, gone at the end. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface PassableDirectory extends AsyncDisposable {
  readonly path: string;
}

export async function passableDirectory(name: string): Promise<PassableDirectory> {
  const directory = await mkdtemp(path.join(tmpdir(), `drover-${name}-`));
  await chmod(directory, 0o711);
  const dispose = (): Promise<void> => rm(directory, { recursive: true, force: true, maxRetries: 5 });
  return { path: directory, [Symbol.asyncDispose]: dispose };
}
