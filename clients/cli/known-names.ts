import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Environment } from './config.ts';

/** Names seen by the last list of each kind: completion works offline and never waits for the network. */
export async function rememberNames(
  { cacheDir, context }: Environment,
  kind: string,
  names: readonly string[],
): Promise<void> {
  const folder = path.join(cacheDir, context ?? 'current');
  // A full disk or a read-only home must not fail the list that was asked for.
  await mkdir(folder, { recursive: true }).catch(() => {});
  await writeFile(path.join(folder, kind), names.join('\n')).catch(() => {});
}

/** Synchronous, because the completion library asks so. */
export function recallNames({ cacheDir, context }: Environment, kind: string): readonly string[] {
  try {
    return readFileSync(path.join(cacheDir, context ?? 'current', kind), 'utf8')
      .split('\n')
      .filter(Boolean);
  } catch {
    return [];
  }
}
