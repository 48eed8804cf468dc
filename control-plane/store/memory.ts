import { DroverError } from '#shared/errors.ts';
import type { Commit, CommitResult, Journal, JournalChange, JournalEntry } from './journal.ts';
import { checkLimits, Ledger } from './ledger.ts';

interface Waiting {
  readonly change: JournalChange;
  readonly outcome: PromiseWithResolvers<CommitResult>;
}

/**
 * A journal for tests and simulations: durable as long as the process. `load` opens it, also again after a
 * close, as a restarted control plane would. Commits of one turn are written together, as on a disk.
 */
export function createMemoryJournal(options: { readonly isFull?: () => boolean } = {}): Journal {
  const entries = new Map<string, JournalEntry>();
  let ledger = new Ledger(0, []);
  let isOpen = false;
  let waiting: Waiting[] = [];

  function apply({ revision, writes }: JournalChange): void {
    for (const each of writes) {
      if (each.kind === 'delete') entries.delete(each.key);
      else entries.set(each.key, { key: each.key, value: each.value, modRevision: revision });
    }
  }

  function flush(): void {
    const group = waiting;
    waiting = [];
    if (group.length > 0 && options.isFull?.()) {
      ledger.rollBack();
      const error = new DroverError('resource-exhausted', 'no room left, nothing was written');
      for (const { outcome } of group) outcome.reject(error);
      return;
    }
    ledger.settle(group.length);
    for (const { change, outcome } of group) {
      apply(change);
      outcome.resolve({ committed: true, revision: change.revision });
    }
  }

  async function commit(wanted: Commit): Promise<CommitResult> {
    if (!isOpen) throw new DroverError('failed-precondition', 'the journal is not open');
    checkLimits(wanted);
    const change = ledger.accept(wanted);
    if (change === undefined) return { committed: false, revision: ledger.history.revision };
    const outcome = Promise.withResolvers<CommitResult>();
    waiting.push({ change, outcome });
    if (waiting.length === 1) queueMicrotask(flush);
    return outcome.promise;
  }

  return {
    isExclusive: true,
    load: async () => {
      if (!isOpen) ledger = new Ledger(ledger.revision, [...entries.values()]);
      isOpen = true;
      const { revision, compactedRevision } = ledger.history;
      return { revision, compactedRevision, entries: [...entries.values()] };
    },
    commit,
    watch: (afterRevision, signal) => ledger.history.watch(afterRevision, signal),
    compact: async (revision) => ledger.history.compact(revision),
    close: async () => {
      flush();
      isOpen = false;
      ledger.history.close();
    },
  };
}
