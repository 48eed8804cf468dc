/** What a reader gets instead of the items that it was too slow for. */
export const overflow = Symbol('overflow');

export interface Broadcast<T> {
  publish(item: T): void;
  /** From now on, until the signal; then, and on close, the iteration ends. */
  subscribe(signal: AbortSignal): AsyncIterable<T | typeof overflow>;
  readonly readers: number;
  close(): void;
}

interface Reader<T> {
  queue: (T | typeof overflow)[];
  wake: () => void;
  done: boolean;
}

/**
 * One writer, many readers, each with a bounded queue of its own. A reader that falls behind by more than
 * `capacity` items loses its queue and finds one `overflow` in its place: it must read the present state
 * anew.
 */
export function createBroadcast<T>({ capacity }: { readonly capacity: number }): Broadcast<T> {
  const readers = new Set<Reader<T>>();

  function publish(item: T): void {
    for (const reader of readers) {
      if (reader.queue.length >= capacity) reader.queue = [overflow];
      reader.queue.push(item);
      reader.wake();
    }
  }

  function subscribe(signal: AbortSignal): AsyncIterable<T | typeof overflow> {
    // Joined here, not at the first read: nothing published after the call may be missed.
    const reader: Reader<T> = { queue: [], wake: () => {}, done: signal.aborted };
    const end = (): void => {
      reader.done = true;
      readers.delete(reader);
      reader.wake();
    };
    if (!reader.done) readers.add(reader);
    signal.addEventListener('abort', end, { once: true });
    return read(reader, () => {
      signal.removeEventListener('abort', end);
      readers.delete(reader);
    });
  }

  function close(): void {
    for (const reader of readers) {
      reader.done = true;
      reader.wake();
    }
    readers.clear();
  }

  return {
    publish,
    subscribe,
    close,
    get readers() {
      return readers.size;
    },
  };
}

async function* read<T>(reader: Reader<T>, leave: () => void): AsyncGenerator<T | typeof overflow> {
  try {
    while (true) {
      const items = reader.queue;
      reader.queue = [];
      for (const item of items) yield item;
      if (reader.queue.length > 0) continue;
      if (reader.done) return;
      await new Promise<void>((resolve) => {
        reader.wake = resolve;
      });
    }
  } finally {
    leave();
  }
}
