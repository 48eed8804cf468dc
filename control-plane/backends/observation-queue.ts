import { DroverError } from '#shared/errors.ts';
import type { Observation } from './backend.ts';

export interface ObservationQueue {
  /** Resolves when there is room for more; a writer that can wait should. Drops what nobody reads. */
  put(observation: Observation): Promise<void>;
  /** Everything put from the call on, until the signal. One reader: failed-precondition for a second. */
  read(signal: AbortSignal): AsyncIterable<Observation>;
  close(): void;
}

const capacity = 1000;

/**
 * Between the sessions, many writers, and the one reader of Backend.watch. Loses nothing while there is a
 * reader.
 */
export function createObservationQueue(): ObservationQueue {
  let items: Observation[] = [];
  let isRead = false;
  let isClosed = false;
  let wakeReader = (): void => {};
  let waitingWriters: (() => void)[] = [];

  function wakeWriters(): void {
    for (const wake of waitingWriters) wake();
    waitingWriters = [];
  }

  async function* drain(signal: AbortSignal): AsyncGenerator<Observation> {
    const wake = (): void => wakeReader();
    signal.addEventListener('abort', wake, { once: true });
    try {
      while (!signal.aborted && !isClosed) {
        const batch = items;
        items = [];
        wakeWriters();
        yield* batch;
        if (items.length > 0) continue;
        await new Promise<void>((resolve) => {
          wakeReader = resolve;
          if (signal.aborted || isClosed || items.length > 0) resolve();
        });
      }
    } finally {
      signal.removeEventListener('abort', wake);
      isRead = false;
      items = [];
      wakeWriters();
    }
  }

  return {
    put(observation) {
      if (!isRead || isClosed) return Promise.resolve();
      items.push(observation);
      wakeReader();
      if (items.length < capacity) return Promise.resolve();
      return new Promise((resolve) => waitingWriters.push(resolve));
    },
    read(signal) {
      if (isRead) throw new DroverError('failed-precondition', 'a backend has one reader, found a second');
      isRead = true;
      return drain(signal);
    },
    close() {
      isClosed = true;
      wakeReader();
      wakeWriters();
    },
  };
}
