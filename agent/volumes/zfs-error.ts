import { DroverError, type ErrorKind } from '#shared/errors.ts';
import type { CommandResult } from '../host/command.ts';

/**
 * zfs exits 1 for everything, so its words decide; the first that matches. Recorded from zfs-fuse 0.7.0 in
 * test/golden/zfs-fuse-0.7.0, and OpenZFS' where it says the same otherwise (libzfs_util.c, zfs_main.c).
 */
const kindsOfWords: readonly (readonly [RegExp, ErrorKind])[] = [
  [
    /daemon is running|failed to initialize ZFS|modules? (are|is|cannot be) (not )?(auto-)?loaded/,
    'unavailable',
  ],
  [/pool I\/O is currently suspended|is currently unavailable/, 'unavailable'],
  [/has been modified|does not match|most recent snapshot/, 'aborted'],
  [
    /invalid backup stream|checksum mismatch|incomplete stream|unsupported feature|invalid stream/,
    'data-loss',
  ],
  [/has children|dependent clones|more recent snapshots|parent does not exist/, 'failed-precondition'],
  [/size is (less|greater) than|snapshot is held|tag already exists/, 'failed-precondition'],
  [/out of space|no space left|quota exceeded/i, 'resource-exhausted'],
  [/dataset already exists|destination .* exists/, 'already-exists'],
  [/does not exist|no such pool|no such file/i, 'not-found'],
  [/is busy|umount failed|cannot unmount/i, 'unavailable'],
  [
    /invalid character|name is too long|bad numeric|invalid numeric|must be one of|invalid (property|option)/,
    'invalid-argument',
  ],
  [/unrecognized command|operation not supported|not supported/, 'unimplemented'],
  [/permission denied/i, 'permission-denied'],
];

const unavailableStep = 'start the daemon (service zfs-fuse start) or load the module (modprobe zfs)';

export const kindOfWords = (words: string): ErrorKind =>
  kindsOfWords.find(([pattern]) => pattern.test(words))?.[1] ?? 'internal';

/** Somebody has it open, often for a moment alone. */
export const isBusy = ({ stderr }: CommandResult): boolean =>
  /is busy|umount failed|cannot unmount/i.test(stderr);

export function zfsError(
  { stderr, exitCode }: CommandResult,
  subject: Readonly<Record<string, string>> = {},
): DroverError {
  const words = stderr.trim().replaceAll(/\s+/g, ' ').slice(0, 800) || `exit ${exitCode}`;
  const kind = kindOfWords(words);
  const isGone = /daemon is running|failed to initialize ZFS|modules/.test(words);
  return new DroverError(kind, `zfs: ${words}`, { subject, ...(isGone && { nextStep: unavailableStep }) });
}
