import type { JournalChange, JournalEntry } from './journal.ts';

/** What the journal asks of the thread that owns the database file; one answer each, in order. */
export type SqliteRequest =
  | { readonly kind: 'open'; readonly file: string }
  /** All of it in one database transaction. */
  | { readonly kind: 'write'; readonly changes: readonly JournalChange[] }
  | { readonly kind: 'close' };

export type SqliteAnswer =
  | { readonly kind: 'opened'; readonly revision: number; readonly entries: JournalEntry[] }
  | { readonly kind: 'written' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly failure: SqliteFailure };

export interface SqliteFailure {
  /**
   * full: nothing was written, and it works again once there is room. locked: another process has the file. foreign:
   * not a file of ours, or of a newer version. broken: nobody knows what is on the disk.
   */
  readonly reason: 'full' | 'locked' | 'foreign' | 'broken';
  readonly message: string;
}
