import type { ErrorKind } from '#shared/errors.ts';

/** crun prints one JSON object per line and line of trouble, or plain text where it has not come that far. */
export function messageOfCrun(text: string): string {
  const messages = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map(messageOfLine);
  return messages
    .join('; ')
    .replaceAll(/\p{Cc}/gu, ' ')
    .slice(0, 1000);
}

function messageOfLine(line: string): string {
  try {
    const { msg } = JSON.parse(line) as { readonly msg?: unknown };
    return typeof msg === 'string' ? msg : line;
  } catch {
    return line;
  }
}

/** crun exits with 1 for everything, so its words decide. Recorded from 1.8.1 in test/golden/crun-1.8.1. */
const kinds: readonly (readonly [RegExp, ErrorKind])[] = [
  [/already exists/, 'already-exists'],
  [/error opening file `.*\/status`: No such file/, 'not-found'],
  [/executable file `.*` not found|exec .*: (No such file|Exec format error)/, 'invalid-argument'],
  [/open executable: (Permission denied|No such file)|chdir.*: No such file/, 'invalid-argument'],
  [/is not in `created` or `stopped` state|is not running|is paused|No such process/, 'failed-precondition'],
  [/cannot open `.*exec\.fifo`|fail startup|setns\(pid=/, 'failed-precondition'],
  [/No space left on device|Cannot allocate memory|Too many open files/, 'resource-exhausted'],
  [/Resource temporarily unavailable/, 'resource-exhausted'],
  [/cannot open sd-bus|cgroups? in hybrid mode/, 'unavailable'],
];

export const kindOfCrunMessage = (message: string): ErrorKind =>
  kinds.find(([pattern]) => pattern.test(message))?.[1] ?? 'internal';
