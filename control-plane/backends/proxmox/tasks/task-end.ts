import { DroverError } from '#shared/errors.ts';
import type { TaskEnd } from '../cluster-api.ts';
import type { Upid } from './upid.ts';
import type { Verdict } from '../api/known-words.ts';
import { cleanText, saysNothing, verdictOf } from '../api/words.ts';

const tailLines = 20;
const shownLines = 3;

/** Undefined: it failed. */
function warningsOf(exitStatus: string): number | undefined {
  if (exitStatus === 'OK') return 0;
  const [, count] = /^WARNINGS: (\d{1,9})$/.exec(exitStatus) ?? [];
  return count === undefined ? undefined : Number(count);
}

/** What a task's exit status means; throws what it failed of. Only OK and WARNINGS are success. */
export function endOf(upid: Upid, exitStatus: string, log: readonly string[], cluster: string): TaskEnd {
  const tail = log.filter((line) => line !== 'TASK OK').slice(-tailLines);
  const warnings = warningsOf(exitStatus);
  if (warnings !== undefined) return { upid: upid.text, warnings, log: tail };
  const words = cleanText(exitStatus) || 'it does not say of what';
  const telling = tail.filter((line) => !line.startsWith('TASK ERROR')).filter((line) => line !== words);
  const { kind, reason, nextStep } = meaningOf(words, telling);
  // What is cleaned up afterwards says nothing of why.
  const complaints = telling.filter((line) => complaint.test(line));
  const last = (complaints.length > 0 ? complaints : telling).slice(-shownLines);
  const culprits = saysNothing(words)
    ? telling.filter((line) => isCulprit(line) && !last.includes(line))
    : [];
  const shown = [...culprits.slice(0, shownLines), ...last].map((line) => cleanText(line, 240));
  const ending = shown.length === 0 ? '' : `; its log says: ${shown.join(' | ')}`;
  throw new DroverError(kind, `${nameOf(upid)} failed: ${words}${ending}`, {
    reason,
    subject: subjectOf(upid, cluster),
    ...(nextStep === undefined ? {} : { nextStep }),
  });
}

/** Volumes that keep a machine where it is are named before its migration is taken back. */
const isCulprit = (line: string): boolean => /can't migrate (?:local |'|remaining )/.test(line);
const complaint = /error|fail|abort|can't|cannot|unable|does not exist/i;

/** A line of a log is about many things: only what it says of one of ours counts. */
const vague: ReadonlySet<string> = new Set(['migration', 'job', 'command', 'object', 'start', 'timeout']);

/** Where the end itself says nothing, the last line of the log that says something does. */
function meaningOf(words: string, log: readonly string[]): Verdict {
  const verdict = verdictOf(words);
  if (verdict?.reason === 'task-lost') return { ...verdict, nextStep: lookAtTheGuest };
  const better = saysNothing(words)
    ? log
        .filter((line) => complaint.test(line) && !saysNothing(line))
        .map(verdictOf)
        .findLast((found) => found !== undefined && !vague.has(found.reason))
    : undefined;
  return better ?? verdict ?? { kind: 'internal', reason: 'words' };
}

const lookAtTheGuest = 'what it did is unknown: look at the guest itself';

/** The end of a task that cannot be known. */
export const lostTask = (upid: Upid, why: string, cluster: string, cause?: unknown): DroverError =>
  new DroverError('unavailable', `the end of ${nameOf(upid)} cannot be known: ${why}`, {
    reason: 'task-lost',
    subject: subjectOf(upid, cluster),
    nextStep: lookAtTheGuest,
    ...(cause === undefined ? {} : { cause }),
  });

export const nameOf = ({ type, id, node }: Upid): string =>
  id === '' ? `${type} on ${node}` : `${type} of ${cleanText(id, 80)} on ${node}`;

export const subjectOf = ({ text, node, type }: Upid, cluster: string): Record<string, string> => ({
  cluster,
  node,
  task: type,
  upid: text,
});
