import { DroverError } from '#shared/errors.ts';

const readAnew = 'read everything and watch from the revision that it is as of';

/**
 * The changes of the last revisions, shared by all who watch: a reader is a revision and nothing more, so a
 * slow one costs no memory.
 */
export class History<Item> {
  #compactedRevision: number;
  #items: Item[] = [];
  #closed: { readonly error: DroverError | undefined } | undefined;
  /** There is one while somebody waits. */
  #wake: PromiseWithResolvers<void> | undefined;

  constructor(startRevision: number) {
    this.#compactedRevision = startRevision;
  }

  /** The oldest revision that a reader may watch from. */
  get compactedRevision(): number {
    return this.#compactedRevision;
  }

  get revision(): number {
    return this.#compactedRevision + this.#items.length;
  }

  /** The revision must be the one after the last. */
  append(revision: number, item: Item): void {
    if (revision !== this.revision + 1)
      throw new Error(`revision ${revision} cannot follow ${this.revision}`);
    this.#items.push(item);
    this.#wakeAll();
  }

  /** What is kept after the revision, oldest first. */
  after(revision: number): readonly Item[] {
    return this.#items.slice(Math.max(0, revision - this.#compactedRevision));
  }

  compact(revision: number): void {
    const until = Math.min(revision, this.revision);
    if (until <= this.#compactedRevision) return;
    this.#items = this.#items.slice(until - this.#compactedRevision);
    this.#compactedRevision = until;
  }

  /**
   * Every item after the revision, in order, without gaps, until the signal aborts or the history is closed.
   * Throws failed-precondition with the reason "compacted", or "slow-reader" once the reader has been up to
   * date and then falls more than maxWaiting behind.
   */
  async *watch(
    afterRevision: number,
    signal: AbortSignal,
    maxWaiting = Infinity,
  ): AsyncGenerator<Item, void> {
    const wakeAll = (): void => this.#wakeAll();
    signal.addEventListener('abort', wakeAll, { once: true });
    let cursor = afterRevision;
    let isUpToDate = false;
    try {
      while (!signal.aborted && !this.#isOver()) {
        this.#checkKept(cursor);
        if (isUpToDate) this.#checkPace(cursor, maxWaiting);
        if (cursor < this.revision) {
          cursor += 1;
          yield this.#items[cursor - this.#compactedRevision - 1] as Item;
          continue;
        }
        isUpToDate = true;
        this.#wake ??= Promise.withResolvers();
        await this.#wake.promise;
      }
    } finally {
      signal.removeEventListener('abort', wakeAll);
    }
  }

  /** Ends every watch; with an error, each of them throws it. */
  close(error?: DroverError): void {
    this.#closed ??= { error };
    this.#wakeAll();
  }

  #isOver(): boolean {
    if (this.#closed?.error !== undefined) throw this.#closed.error;
    return this.#closed !== undefined;
  }

  #wakeAll(): void {
    this.#wake?.resolve();
    this.#wake = undefined;
  }

  #checkKept(revision: number): void {
    if (revision >= this.#compactedRevision && revision <= this.revision) return;
    const kept = `${this.#compactedRevision} to ${this.revision}`;
    const message = `changes after revision ${revision} were asked for, kept are those after ${kept}`;
    throw new DroverError('failed-precondition', message, { reason: 'compacted', nextStep: readAnew });
  }

  #checkPace(cursor: number, maxWaiting: number): void {
    const waiting = this.revision - cursor;
    if (waiting <= maxWaiting) return;
    const message = `${waiting} revisions wait for this reader, at most ${maxWaiting} may`;
    throw new DroverError('failed-precondition', message, { reason: 'slow-reader', nextStep: readAnew });
  }
}
