import { mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Commit, CommitResult, Journal, JournalChange, JournalEntry } from './journal.ts';
import { checkLimits, Ledger } from './ledger.ts';
import { attentionMs, type SqliteAnswer, type SqliteFailure, type SqliteRequest } from './sqlite-messages.ts';

/**
 * A group is sent in parts while it is still being made, so that the other thread need not wait for all of
 * it.
 */
const changesPerPart = 16;

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
  #worker: Worker | undefined;
  #answered: PromiseWithResolvers<SqliteAnswer> | undefined;
  #lost: SqliteFailure | undefined;
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
    if (this.#worker !== undefined)
      throw new DroverError('failed-precondition', 'the journal is already open');
    this.#lost = undefined;
    const directory = path.dirname(this.#file);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    this.#worker = new Worker(new URL('./sqlite-worker.ts', import.meta.url));
    this.#worker.on('message', (answer: SqliteAnswer) => this.#answered?.resolve(answer));
    this.#worker.on('error', (error) => this.#lostWorker(error.message));
    this.#worker.on('exit', (code) => this.#lostWorker(`exit code ${code}`));
    const answer = await this.#ask({ kind: 'open', file: this.#file });
    if (answer.kind !== 'opened') {
      await this.#endWorker();
      throw answer.kind === 'failed' ? openError(this.#file, answer.failure) : unexpected(answer);
    }
    await syncDirectory(directory);
    const { revision, entries } = answer;
    this.ledger = new Ledger(revision, entries);
    return { revision, compactedRevision: revision, entries };
  }

  async commit(commit: Commit): Promise<CommitResult> {
    if (this.#worker === undefined) throw this.#closedBecause;
    checkLimits(commit);
    const change = this.ledger.accept(commit);
    if (change === undefined) return { committed: false, revision: this.ledger.history.revision };
    const outcome = Promise.withResolvers<CommitResult>();
    this.#waiting.push({ change, outcome });
    this.#flushing ??= this.#flush();
    if (!this.#isGroupOnItsWay && this.#waiting.length - this.#sent >= changesPerPart) this.#send(false);
    return outcome.promise;
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    await this.#flushing;
    if (worker === undefined || this.#worker !== worker) return;
    await this.#ask({ kind: 'close' });
    await this.#endWorker();
    this.ledger.history.close();
  }

  /** One group after another, until none is left. */
  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Whom the last group woke may commit again in this turn: to post at once would halve the groups.
      await this.#clock.turn();
      const count = this.#waiting.length;
      const answered = this.#expectAnswer();
      this.#isGroupOnItsWay = true;
      this.#send(true);
      const answer = await this.#awake(answered);
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
    this.#post({ kind: 'write', writes, isLast });
  }

  /** Turns instead of sleeping for as long as a fast disk may take. */
  async #awake(answered: Promise<SqliteAnswer>): Promise<SqliteAnswer> {
    let answer: SqliteAnswer | undefined;
    const noted = answered.then((value) => (answer = value));
    const untilMs = this.#clock.monotonicMs() + attentionMs;
    while (answer === undefined && this.#clock.monotonicMs() < untilMs) await this.#clock.turn();
    return noted;
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
    await this.#endWorker();
  }

  #ask(request: SqliteRequest): Promise<SqliteAnswer> {
    const answered = this.#expectAnswer();
    this.#post(request);
    return answered;
  }

  /** One answer is waited for at a time. */
  #expectAnswer(): Promise<SqliteAnswer> {
    this.#answered = Promise.withResolvers();
    if (this.#lost !== undefined) this.#answered.resolve({ kind: 'failed', failure: this.#lost });
    return this.#answered.promise;
  }

  #post(request: SqliteRequest): void {
    this.#worker?.postMessage(request);
  }

  async #endWorker(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #lostWorker(message: string): void {
    if (this.#worker === undefined) return;
    this.#lost = { reason: 'broken', message: `the thread that writes it has ended: ${message}` };
    this.#answered?.resolve({ kind: 'failed', failure: this.#lost });
    if (this.#flushing === undefined) void this.#fail(this.#lost);
  }
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
