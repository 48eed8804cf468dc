import { DroverError } from '#shared/errors.ts';
import type { Commit, CommitResult, Journal, JournalEntry } from './journal.ts';
import { checkLimits, Ledger } from './ledger.ts';

/**
 * A journal for tests and simulations: durable as long as the process. `load` opens it, also again after a close, as a
 * restarted control plane would.
 */
export function createMemoryJournal(options: { readonly isFull?: () => boolean } = {}): Journal {
  const entries = new Map<string, JournalEntry>();
  let ledger = new Ledger(0, []);
  let isOpen = false;

  function write({ compares, writes }: Commit): CommitResult {
    if (!isOpen) throw new DroverError('failed-precondition', 'the journal is closed');
    checkLimits({ compares, writes });
    if (options.isFull?.())
      throw new DroverError('resource-exhausted', 'the disk is full, nothing was written');
    const change = ledger.accept({ compares, writes });
    if (change === undefined) return { committed: false, revision: ledger.revision };
    for (const each of writes) {
      if (each.kind === 'delete') entries.delete(each.key);
      else entries.set(each.key, { key: each.key, value: each.value, modRevision: change.revision });
    }
    ledger.settle(1);
    return { committed: true, revision: change.revision };
  }

  return {
    isExclusive: true,
    load: async () => {
      if (!isOpen) ledger = new Ledger(ledger.revision, [...entries.values()]);
      isOpen = true;
      const { compactedRevision } = ledger.history;
      return { revision: ledger.revision, compactedRevision, entries: [...entries.values()] };
    },
    commit: async (commit) => write(commit),
    watch: (afterRevision, signal) => ledger.history.watch(afterRevision, signal),
    compact: async (revision) => ledger.history.compact(revision),
    close: async () => {
      isOpen = false;
      ledger.history.close();
    },
  };
}
