import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import { CommitQueue } from './commit-queue.ts';
import type { Journal } from './journal.ts';
import { createSnapshot, emptyReplica, parseKey, putText, type Replica } from './replica.ts';
import { findExpired } from './retention.ts';
import type { Store, Transaction } from './store.ts';

const maxWaitingRevisions = 1_000;
/** Revisions that a watch may resume from; the history grows by a fifth more before it is cut. */
const keptRevisions = 10_000;
const compactionSlack = 2_000;
const maintenanceIntervalMs = 10_000;
const expiredPerTransaction = 100;

type Transact = <Result>(body: (tx: Transaction) => Result) => Promise<{ result: Result; revision: number }>;

/**
 * Reads the journal into memory and opens the store on it; the journal belongs to the store from then on and
 * is closed with it. Kept are the last 10,000 revisions for watches; retention.ts says which records go by
 * themselves.
 */
export async function openStore(options: {
  readonly journal: Journal;
  readonly clock: Clock;
}): Promise<Store> {
  const { journal, clock } = options;
  const queue = new CommitQueue(journal, await loadReplica(journal));
  const transact: Transact = journal.isExclusive
    ? (body) => queue.transact(body)
    : oneAfterAnother((body) => queue.transact(body));
  const stopMaintenance = startMaintenance(queue, transact, journal, clock);
  return {
    snapshot: () => createSnapshot(queue.durable),
    transact,
    watch: (afterRevision, signal) =>
      queue.history.watch(
        afterRevision === 0 ? queue.history.revision : afterRevision,
        signal,
        maxWaitingRevisions,
      ),
    onCommit: (callback) => queue.onCommit(callback),
    close: async () => {
      stopMaintenance();
      queue.close(new DroverError('unavailable', 'the store is closed'));
      await queue.drain();
      await journal.close();
    },
  };
}

async function loadReplica(journal: Journal): Promise<Replica> {
  const { revision, entries } = await journal.load();
  const replica = entries.reduce(
    (all, { key, value, modRevision }) => putText(all, key, value, modRevision),
    emptyReplica,
  );
  return { ...replica, revision };
}

/**
 * Where others write to the journal too, no revision can be foretold: nothing is queued behind what is on its
 * way.
 */
function oneAfterAnother(transact: Transact): Transact {
  let last: Promise<unknown> = Promise.resolve();
  return (body) => {
    const mine = last.then(() => transact(body));
    last = mine.catch(() => undefined);
    return mine;
  };
}

/** Forgets, now and then, what need not be kept. */
function startMaintenance(
  queue: CommitQueue,
  transact: Transact,
  journal: Journal,
  clock: Clock,
): () => void {
  let isRunning = false;
  let nextAtRevision = 0;

  async function maintain(): Promise<void> {
    const compactUntil = queue.durable.revision - keptRevisions;
    if (compactUntil > queue.history.compactedRevision) {
      queue.history.compact(compactUntil);
      await journal.compact(compactUntil);
    }
    for (;;) {
      const expired = findExpired(queue.durable, clock.nowMs(), expiredPerTransaction);
      if (expired.length === 0) return;
      await transact((tx) => {
        for (const { kind, project, id } of expired.map(parseKey)) tx.delete(kind, id, project);
      });
    }
  }

  function start(): void {
    if (isRunning) return;
    isRunning = true;
    nextAtRevision = queue.durable.revision + compactionSlack;
    // What could not be done now, on a full disk for example, is due again the next time.
    const done = (): void => {
      isRunning = false;
    };
    maintain().then(done, done);
  }

  const stopCallbacks = queue.onCommit(() => {
    if (queue.durable.revision >= nextAtRevision) start();
  });
  const stopTimer = clock.every(maintenanceIntervalMs, start);
  return () => {
    stopCallbacks();
    stopTimer();
  };
}
