import { mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Commit, CommitResult, Journal, JournalChange, JournalEntry } from './journal.ts';
import { checkLimits, Ledger } from './ledger.ts';
import type { SqliteAnswer, SqliteFailure, SqliteRequest } from './sqlite-messages.ts';
import { SqliteThread } from './sqlite-thread.ts';

/**
 * A group is sent in parts while it is still being made, so that the other thread need not wait for all of
 * it.
 */
const changesPerPart = 32;

interface Waiting {
  readonly change: JournalChange;
  readonly outcome: PromiseWithResolvers<CommitResult>;
}

/**
 * The embedded journal: one SQLite file with a write-ahead log, synced at every commit, owned by a thread of
 * its own. Commits that come in one turn of the event loop, or while the disk is busy, share one sync. The
 * file is locked while it is open: a second control plane on it is refused with failed-precondition. Watches
 * reach back to the moment it was opened.
 */
export function createSqliteJournal(options: { readonly file: string; readonly clock: Clock }): Journal {
  const journal = new SqliteJournal(options.file, options.clock);
  return {
    isExclusive: true,
    load: () => journal.load(),
    commit: (commit) => journal.commit(commit),
    watch: (afterRevision, signal) => journal.ledger.history.watch(afterRevision, signal),
    compact: async (revision) => journal.ledger.history.compact(revision),
    close: () => journal.close(),
  };
}

class SqliteJournal {
  ledger = new Ledger(0, []);
  readonly #file: string;
  readonly #clock: Clock;
  #thread: SqliteThread | undefined;
  /** Accepted and not answered yet: the group on its way, then the ones for the next. */
  #waiting: Waiting[] = [];
  #sent = 0;
  #isGroupOnItsWay = false;
  #flushing: Promise<void> | undefined;
  #closedBecause = new DroverError('failed-precondition', 'the journal is not open');

  constructor(file: string, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  async load(): Promise<{ revision: number; compactedRevision: number; entries: JournalEntry[] }> {
    if (this.#thread !== undefined)
      throw new DroverError('failed-precondition', 'the journal is already open');
    const directory = path.dirname(this.#file);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    this.#thread = new SqliteThread(this.#clock, (failure) => this.#lostThread(failure));
    const answer = await ask(this.#thread, { kind: 'open', file: this.#file });
    if (answer.kind !== 'opened') {
      await this.#endThread();
      throw answer.kind === 'failed' ? openError(this.#file, answer.failure) : unexpected(answer);
    }
    await syncDirectory(directory);
    const { revision, entries } = answer;
    this.ledger = new Ledger(revision, entries);
    return { revision, compactedRevision: revision, entries };
  }

  commit(commit: Commit): Promise<CommitResult> {
    const outcome = Promise.withResolvers<CommitResult>();
    try {
      this.#accept(commit, outcome);
    } catch (error) {
      outcome.reject(error);
    }
    return outcome.promise;
  }

  #accept(commit: Commit, outcome: PromiseWithResolvers<CommitResult>): void {
    if (this.#thread === undefined) throw this.#closedBecause;
    checkLimits(commit);
    const change = this.ledger.accept(commit);
    if (change === undefined) {
      outcome.resolve({ committed: false, revision: this.ledger.history.revision });
      return;
    }
    this.#waiting.push({ change, outcome });
    this.#flushing ??= this.#flush();
    if (!this.#isGroupOnItsWay && this.#waiting.length - this.#sent >= changesPerPart) this.#send(false);
  }

  async close(): Promise<void> {
    const thread = this.#thread;
    await this.#flushing;
    if (thread === undefined || this.#thread !== thread) return;
    await ask(thread, { kind: 'close' });
    await this.#endThread();
    this.ledger.history.close();
  }

  /** One group after another, until none is left. */
  async #flush(): Promise<void> {
    while (this.#thread !== undefined && this.#waiting.length > 0) {
      // Whom the last group woke may commit again in this turn: to post at once would halve the groups.
      await this.#clock.turn();
      const count = this.#waiting.length;
      this.#isGroupOnItsWay = true;
      this.#send(true);
      const answer = await this.#thread.answer();
      this.#isGroupOnItsWay = false;
      this.#sent = 0;
      if (answer.kind === 'written') this.#settle(count);
      else if (answer.kind === 'failed') await this.#fail(answer.failure);
      else throw unexpected(answer);
    }
    this.#flushing = undefined;
  }

  #send(isLast: boolean): void {
    const writes: (number | string | null)[] = [];
    for (const { change } of this.#waiting.slice(this.#sent)) {
      for (const write of change.writes) {
        writes.push(change.revision, write.key, write.kind === 'put' ? write.value : null);
      }
    }
    this.#sent = this.#waiting.length;
    this.#thread?.post({ kind: 'write', writes, isLast });
  }

  #settle(count: number): void {
    const group = this.#waiting.slice(0, count);
    this.#waiting = this.#waiting.slice(count);
    this.ledger.settle(count);
    for (const { change, outcome } of group) outcome.resolve({ committed: true, revision: change.revision });
  }

  /** What is queued behind a failed group was made for a state that never came: it fails with it. */
  async #fail({ reason, message }: SqliteFailure): Promise<void> {
    const error =
      reason === 'full'
        ? new DroverError('resource-exhausted', `${this.#file}: no room left, nothing was written`, {
            nextStep: `make room on the file system of ${this.#file}`,
          })
        : new DroverError('data-loss', `${this.#file}: it is not known what was written: ${message}`, {
            nextStep: 'find out what is wrong with the disk, then start the control plane again',
          });
    const failed = this.#waiting;
    this.#waiting = [];
    this.ledger.rollBack();
    for (const { outcome } of failed) outcome.reject(error);
    if (error.kind === 'resource-exhausted') return;
    this.#closedBecause = error;
    this.ledger.history.close(error);
    await this.#endThread();
  }

  async #endThread(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.end();
  }

  #lostThread(failure: SqliteFailure): void {
    if (this.#flushing === undefined) void this.#fail(failure);
  }
}

function ask(thread: SqliteThread, request: SqliteRequest): Promise<SqliteAnswer> {
  thread.post(request);
  return thread.answer();
}

function openError(file: string, { reason, message }: SqliteFailure): DroverError {
  const subject = { file };
  if (reason === 'locked') {
    const nextStep = 'stop the other one, or give this one a state directory of its own';
    return new DroverError('failed-precondition', `${file} is in use by another control plane`, {
      subject,
      nextStep,
      reason: 'locked',
    });
  }
  if (reason === 'full') return new DroverError('resource-exhausted', `${file}: ${message}`, { subject });
  const kind = reason === 'foreign' ? 'failed-precondition' : 'data-loss';
  return new DroverError(kind, `${file} cannot be opened: ${message}`, { subject, reason: `${reason}-file` });
}

const unexpected = ({ kind }: SqliteAnswer): Error => new Error(`the thread answered ${kind}`);

/** A new file is there after a power cut only once its directory is synced. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
