import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Environment } from './config.ts';

/** Names seen by the last list of each kind: completion works offline and never waits for the network. */
export async function rememberNames(
  { cacheDir }: Environment,
  context: string,
  kind: string,
  names: readonly string[],
): Promise<void> {
  const folder = path.join(cacheDir, context);
  // A full disk or a read-only home must not fail the list that was asked for.
  await mkdir(folder, { recursive: true }).catch(() => {});
  await writeFile(path.join(folder, kind), names.join('\n')).catch(() => {});
}

/** Synchronous, because the completion library asks so. Of the context in use. */
export function recallNames(
  { cacheDir, context, currentFile }: Environment,
  kind: string,
): readonly string[] {
  const inUse = context ?? readIfThere(currentFile).trim();
  return readIfThere(path.join(cacheDir, inUse, kind))
    .split('\n')
    .filter(Boolean);
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
