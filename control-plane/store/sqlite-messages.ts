import type { MessagePort } from 'node:worker_threads';
import type { JournalEntry } from './journal.ts';

/**
 * Writes one after another, each as revision, key, and value or null for a delete: a flat list crosses to
 * another thread in a third of the time that objects take.
 */
export type FlatWrites = readonly (number | string | null)[];

/** What the journal asks of the thread that owns the database file. */
export type SqliteRequest =
  | { readonly kind: 'open'; readonly file: string }
  /** A part of a group; the group is one database transaction, and only its last part is answered. */
  | { readonly kind: 'write'; readonly writes: FlatWrites; readonly isLast: boolean }
  | { readonly kind: 'close' };

/** `written` crosses as a count alone. */
export type SqliteAnswer =
  | { readonly kind: 'opened'; readonly revision: number; readonly entries: JournalEntry[] }
  | { readonly kind: 'written' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly failure: SqliteFailure };

export interface SqliteFailure {
  /**
   * full: nothing was written, and it works again once there is room. locked: another process has the file.
   * foreign: not a file of ours, or of a newer version. broken: nobody knows what is on the disk.
   */
  readonly reason: 'full' | 'locked' | 'foreign' | 'broken';
  readonly message: string;
}

/**
 * Messages go by the port; what either thread waits on is a count in shared memory, at one of these places:
 * that is seen in a fraction of the time that an event of a port takes.
 */
export interface SqliteThreadData {
  readonly port: MessagePort;
  readonly counts: Int32Array<SharedArrayBuffer>;
}
export const posted = 0;
export const answered = 1;

/** After the message was posted, if there is one. */
export function countUp(counts: SqliteThreadData['counts'], place: number): void {
  Atomics.add(counts, place, 1);
  Atomics.notify(counts, place);
}
