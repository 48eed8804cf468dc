/**
 * Journal is what makes the store durable, in etcd's shape, so that an embedded database and a cluster of
 * etcd can stand behind the same store.
 */

export interface JournalEntry {
  readonly key: string;
  /** JSON text. */
  readonly value: string;
  /** The revision that wrote it. */
  readonly modRevision: number;
}

/** Holds when nothing that was read has changed. */
export type Compare =
  /** The key was last written by this revision; zero means that it is not there. */
  | { readonly key: string; readonly modRevision: number }
  /** No key of [start, end) was written or deleted after this revision. */
  | { readonly start: string; readonly end: string; readonly notAfterRevision: number };

export type JournalWrite =
  | { readonly kind: 'put'; readonly key: string; readonly value: string }
  | { readonly kind: 'delete'; readonly key: string };

export interface Commit {
  readonly compares: readonly Compare[];
  readonly writes: readonly JournalWrite[];
}

export type CommitResult =
  | { readonly committed: true; readonly revision: number }
  /** A compare did not hold; the revision is the journal's own. */
  | { readonly committed: false; readonly revision: number };

/** One revision: everything one transaction wrote, in its order. */
export interface JournalChange {
  readonly revision: number;
  readonly writes: readonly JournalWrite[];
}

export const journalLimits = {
  operationsPerCommit: 128,
  commitBytes: 1024 * 1024,
  valueBytes: 512 * 1024,
} as const;

/**
 * Commits are applied one after another, each all or nothing and durable before it resolves; the revision
 * grows by one with each. `commit` throws invalid-argument for a transaction above the limits (compares and
 * writes count as operations), resource-exhausted when the disk is full (nothing was written; reads go on; it
 * works again once there is room), and data-loss when durability is in doubt: then the journal is closed, and
 * only a restart reads what is true.
 *
 * `watch` yields every change after a revision, in order, without gaps, until the signal aborts or the
 * journal closes; failed-precondition with the reason "compacted" when that is no longer kept. How far back
 * it reaches after a restart is the journal's own affair: `compactedRevision` says it.
 * test/conformance/journal.ts holds every journal to this.
 */
export interface Journal {
  /**
   * Nobody else can write to it: commits may be queued behind one another, each made for the revision that
   * the ones before it will leave. When a commit throws, those that are queued behind it throw the same.
   */
  readonly isExclusive: boolean;
  /** Everything, and the revision that it is as of. */
  load(): Promise<{
    readonly revision: number;
    readonly compactedRevision: number;
    readonly entries: JournalEntry[];
  }>;
  commit(commit: Commit): Promise<CommitResult>;
  watch(afterRevision: number, signal: AbortSignal): AsyncIterable<JournalChange>;
  /** Forgets the history up to and including the revision; what is current stays. */
  compact(revision: number): Promise<void>;
  close(): Promise<void>;
}
