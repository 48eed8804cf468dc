/** So many pieces wait for a slow reader: then it loses the oldest. */
const mostWaiting = 1024;

/** Bytes as they come, for one reader. */
export interface ByteQueue {
  put(data: Uint8Array): void;
  end(): void;
  /** What waits, and what comes, until the end. */
  read(): AsyncIterable<Uint8Array>;
}

export function createByteQueue(): ByteQueue {
  const waiting: Uint8Array[] = [];
  let isOver = false;
  let wake = Promise.withResolvers<void>();
  return {
    put(data) {
      if (waiting.push(data) > mostWaiting) waiting.shift();
      wake.resolve();
    },
    end() {
      isOver = true;
      wake.resolve();
    },
    async *read() {
      for (;;) {
        for (let data = waiting.shift(); data !== undefined; data = waiting.shift()) yield data;
        if (isOver) return;
        wake = Promise.withResolvers<void>();
        await wake.promise;
      }
    },
  };
}
