import { readFile } from 'node:fs/promises';

export interface Mount {
  readonly target: string;
  readonly type: string;
}

export interface MountDetails extends Mount {
  /** "overlay", or the dataset. */
  readonly source: string;
  /** "rw,nodev,relatime". */
  readonly options: string;
}

/** What is mounted in this mount namespace, oldest first. Source: proc_pid_mountinfo(5). */
export async function readMounts(): Promise<Mount[]> {
  return parseMounts(await readFile('/proc/self/mountinfo', 'utf8'));
}

/** What is mounted at the place, oldest first. */
export async function mountsAt(place: string): Promise<MountDetails[]> {
  const all = parseMountDetails(await readFile('/proc/self/mountinfo', 'utf8'));
  return all.filter(({ target }) => target === place);
}

/** Those whose line holds the word, of letters, digits and "-" alone: soon read where there are many. */
export async function mountsNaming(word: string): Promise<MountDetails[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  return parseMountDetails(lines.filter((line) => line.includes(word)).join('\n'));
}

export const parseMounts = (text: string): Mount[] =>
  parseMountDetails(text).map(({ target, type }) => ({ target, type }));

export function parseMountDetails(text: string): MountDetails[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const [type = '', source = ''] = after.split(' ');
      const words = before.split(' ');
      return {
        target: unescapePath(words[4] ?? ''),
        type,
        source: unescapePath(source),
        options: words[5] ?? '',
      };
    });
}

/** The kernel writes space, tab, newline and backslash as octal. */
const unescapePath = (text: string): string =>
  text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
