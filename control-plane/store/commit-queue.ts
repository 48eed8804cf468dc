import { asDroverError, DroverError, isKind } from '#shared/errors.ts';
import { History } from './history.ts';
import type { CommitResult, Journal } from './journal.ts';
import { applyChange, type Replica } from './replica.ts';
import type { StoreChange, Transaction } from './store.ts';
import { beginTransaction, changesBetween, type TransactionRun } from './transaction.ts';

const maxAttempts = 10;

/** A transaction on its way to the disk. */
interface Queued {
  readonly replica: Replica;
  /** The revision that it got; undefined when it has to be run again. */
  readonly settled: Promise<number | undefined>;
}

/**
 * Transactions between their body and the disk. Each body runs on what is durable plus what is queued before
 * it; what the world sees, `durable` and `history`, moves on only when the journal has said so.
 */
export class CommitQueue {
  readonly history: History<readonly StoreChange[]>;
  readonly #journal: Journal;
  readonly #callbacks = new Set<() => void>();
  #durable: Replica;
  #queue: Queued[] = [];
  #closedBecause: DroverError | undefined;

  constructor(journal: Journal, durable: Replica) {
    this.#journal = journal;
    this.#durable = durable;
    this.history = new History(durable.revision);
  }

  get durable(): Replica {
    return this.#durable;
  }

  onCommit(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  close(because: DroverError, watchError?: DroverError): void {
    this.#closedBecause ??= because;
    this.history.close(watchError);
  }

  async transact<Result>(body: (tx: Transaction) => Result): Promise<{ result: Result; revision: number }> {
    for (let count = 0; count < maxAttempts; count++) {
      const done = await this.#attempt(body);
      if (done !== undefined) return done;
    }
    const message = `other transactions won ${maxAttempts} races in a row`;
    throw new DroverError('aborted', message, { reason: 'lost-races' });
  }

  /** Resolves when nothing that is queued now is on its way any longer. */
  async drain(): Promise<void> {
    await Promise.allSettled(this.#queue.map(({ settled }) => settled));
  }

  async #attempt<Result>(body: (tx: Transaction) => Result) {
    if (this.#closedBecause !== undefined) throw this.#closedBecause;
    const lastSeen = this.#queue.at(-1);
    const base = lastSeen?.replica ?? this.#durable;
    const run = beginTransaction(base);
    let result: Result;
    try {
      result = body(run.transaction);
    } catch (error) {
      if (await becameDurable(lastSeen)) throw error;
      return undefined;
    }
    if (!run.hasWritten()) {
      return (await becameDurable(lastSeen)) ? { result, revision: base.revision } : undefined;
    }
    const revision = await this.#enqueue(run, base);
    return revision === undefined ? undefined : { result, revision };
  }

  #enqueue(run: TransactionRun, base: Replica): Promise<number | undefined> {
    const replica = run.replica();
    const commit = { compares: run.compares(), writes: run.writes() };
    const settled = this.#journal.commit(commit).then(
      (result) => {
        const isAsForetold =
          result.committed && result.revision === replica.revision && this.#durable === base;
        if (!isAsForetold) return this.#takeOver(result);
        this.#queue.shift();
        this.#publish(replica, run.changes());
        return replica.revision;
      },
      (error: unknown) => {
        if (this.#queue.includes(queued)) this.#queue = [];
        if (isKind(error, 'data-loss')) this.close(error, error);
        throw asDroverError(error);
      },
    );
    const queued: Queued = { replica, settled };
    this.#queue.push(queued);
    return settled;
  }

  #publish(next: Replica, changes: readonly StoreChange[]): void {
    this.#durable = next;
    this.history.append(next.revision, changes);
    for (const callback of this.#callbacks) callback();
  }

  /** The result came otherwise than foretold: what is queued was made for a state that never came. */
  async #takeOver({ committed, revision }: CommitResult): Promise<number | undefined> {
    this.#queue = [];
    await this.#catchUp(revision);
    return committed ? revision : undefined;
  }

  /** Takes in what was committed by whomever. */
  async #catchUp(revision: number): Promise<void> {
    if (this.#durable.revision >= revision) return;
    const stop = new AbortController();
    for await (const change of this.#journal.watch(this.#durable.revision, stop.signal)) {
      if (change.revision <= this.#durable.revision) continue;
      const next = applyChange(this.#durable, change);
      const keys = new Set(change.writes.map(({ key }) => key));
      this.#publish(next, changesBetween(this.#durable, next, keys));
      if (next.revision >= revision) break;
    }
    stop.abort();
  }
}

/**
 * A body that threw or wrote nothing may have seen what was not durable: it is believed only once that is.
 */
async function becameDurable(lastSeen: Queued | undefined): Promise<boolean> {
  if (lastSeen === undefined) return true;
  return lastSeen.settled.then(
    (revision) => revision === lastSeen.replica.revision,
    () => false,
  );
}
