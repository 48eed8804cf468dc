import { constants, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';

/** Zero where there is none. */
export interface CgroupLimits {
  readonly cpuMillicores: number;
  readonly memoryMib: number;
  readonly pids: number;
}

/** Which file of which controller a group has: version 1 has one tree for each, version 2 one for all. */
export interface CgroupTree {
  readonly unified: boolean;
  groupOf(controller: string, name: string): string;
}

export const cpuPeriodUs = 100_000;

/** Never makes a file: beside a hierarchy that is not mounted it would be a plain one. */
export const writing = constants.O_WRONLY | constants.O_TRUNC;

export function childrenOf(group: string): string[] {
  // The kernel counts one link for each; a group has dozens of files, and most have no group within.
  if (statSync(group, { throwIfNoEntry: false })?.nlink === 2) return [];
  try {
    const entries = readdirSync(group, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** False where the file or its group is not there, and for a value that the kernel does not take. */
export async function tryWrite(file: string, text: string): Promise<boolean> {
  try {
    await writeFile(file, text, { flag: writing });
    return true;
  } catch (error) {
    return notTaken(error);
  }
}

/** The same, where a path is good for this moment alone. */
export function tryWriteNow(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: 'r+' });
    return true;
  } catch (error) {
    return notTaken(error);
  }
}

/** False; throws what is no answer of the kernel. */
function notTaken(error: unknown): false {
  if (['ENOENT', 'ENODEV', 'EINVAL'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
  throw error;
}

export function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENODEV', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return undefined;
    throw error;
  }
}

/** Zero for "max", for -1, and for the page-rounded 2^63 that version 1 says for none. */
export function readNumber(file: string): number | undefined {
  const text = readText(file)?.trim();
  if (text === undefined) return undefined;
  const value = Number(text);
  return Number.isNaN(value) || value < 0 || value >= 2 ** 62 ? 0 : value;
}

/** One value of a file of lines such as "usage_usec 123"; zero where it has none. */
export function readValue(file: string, key: string): number {
  const line = (readText(file) ?? '').split('\n').find((each) => each.startsWith(`${key} `));
  return Number(line?.slice(key.length + 1) ?? 0);
}
