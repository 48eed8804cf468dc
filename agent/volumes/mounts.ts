import { readFile } from 'node:fs/promises';

export interface Mount {
  readonly target: string;
  readonly type: string;
}

/** What is mounted in this mount namespace, oldest first. Source: proc_pid_mountinfo(5). */
export async function readMounts(): Promise<Mount[]> {
  return parseMounts(await readFile('/proc/self/mountinfo', 'utf8'));
}

export function parseMounts(text: string): Mount[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [before = '', after = ''] = line.split(' - ');
      return { target: unescapePath(before.split(' ')[4] ?? ''), type: after.split(' ')[0] ?? '' };
    });
}

/** The kernel writes space, tab, newline and backslash as octal. */
const unescapePath = (text: string): string =>
  text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
