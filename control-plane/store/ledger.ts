import { DroverError } from '#shared/errors.ts';
import { History } from './history.ts';
import {
  type Commit,
  type Compare,
  type JournalChange,
  type JournalEntry,
  type JournalWrite,
  journalLimits,
} from './journal.ts';

/** invalid-argument for a commit that no journal takes. */
export function checkLimits({ compares, writes }: Commit): void {
  const operations = compares.length + writes.length;
  if (operations > journalLimits.operationsPerCommit) {
    refuse(`a transaction of ${operations} operations`, journalLimits.operationsPerCommit);
  }
  let total = 0;
  for (const write of writes) {
    const valueBytes = write.kind === 'put' ? Buffer.byteLength(write.value) : 0;
    if (valueBytes > journalLimits.valueBytes) {
      refuse(`a value of ${valueBytes} bytes at ${write.key}`, journalLimits.valueBytes);
    }
    total += valueBytes + Buffer.byteLength(write.key);
  }
  if (total > journalLimits.commitBytes) refuse(`a transaction of ${total} bytes`, journalLimits.commitBytes);
}

function refuse(found: string, limit: number): never {
  throw new DroverError('invalid-argument', `${found} is above the limit of ${limit}`, {
    reason: 'above-limits',
  });
}

/** A change that was accepted, with what each of its keys was last written by, to take it back. */
interface Accepted {
  readonly change: JournalChange;
  readonly before: readonly (readonly [key: string, modRevision: number | undefined])[];
}

/**
 * What an exclusive journal needs to know to judge a commit at once: who last wrote each key, and what was
 * written since. It counts what was accepted but is not durable yet, so that commits can be queued behind one
 * another.
 */
export class Ledger {
  readonly history: History<JournalChange>;
  readonly #modRevisions: Map<string, number>;
  #accepted: Accepted[] = [];

  constructor(revision: number, entries: readonly JournalEntry[]) {
    this.history = new History(revision);
    this.#modRevisions = new Map(entries.map(({ key, modRevision }) => [key, modRevision]));
  }

  /** The last one that was accepted. */
  get revision(): number {
    return this.history.revision + this.#accepted.length;
  }

  /** Undefined when a compare does not hold. */
  accept({ compares, writes }: Commit): JournalChange | undefined {
    if (!compares.every((compare) => this.#holds(compare))) return undefined;
    const change = { revision: this.revision + 1, writes };
    const before = writes.map((write) => this.#note(write, change.revision));
    this.#accepted.push({ change, before });
    return change;
  }

  /** The oldest so many of what is accepted are durable. */
  settle(count: number): void {
    for (const { change } of this.#accepted.splice(0, count)) this.history.append(change.revision, change);
  }

  /** Nothing of what is accepted was written. */
  rollBack(): void {
    for (const [key, modRevision] of this.#accepted.flatMap(({ before }) => before).toReversed()) {
      if (modRevision === undefined) this.#modRevisions.delete(key);
      else this.#modRevisions.set(key, modRevision);
    }
    this.#accepted = [];
  }

  #note(write: JournalWrite, revision: number): readonly [string, number | undefined] {
    const before = this.#modRevisions.get(write.key);
    if (write.kind === 'put') this.#modRevisions.set(write.key, revision);
    else this.#modRevisions.delete(write.key);
    return [write.key, before];
  }

  #holds(compare: Compare): boolean {
    if ('key' in compare) return (this.#modRevisions.get(compare.key) ?? 0) === compare.modRevision;
    const { start, end, notAfterRevision } = compare;
    if (notAfterRevision === this.revision) return true;
    // It was made for a revision that never came.
    if (notAfterRevision > this.revision) return false;
    // Deletes of a time that is no longer kept cannot be seen: it is safe to have it run again.
    if (notAfterRevision < this.history.compactedRevision) return false;
    const isTouched = ({ revision, writes }: JournalChange): boolean =>
      revision > notAfterRevision && writes.some(({ key }) => key >= start && key < end);
    const isQueued = this.#accepted.some(({ change }) => isTouched(change));
    return !isQueued && !this.history.after(notAfterRevision).some(isTouched);
  }
}
