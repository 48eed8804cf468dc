/**
 * Clock is the only way to the time and to timers, so that a simulation can own both.
 *
 * `nowMs` is the wall clock: for timestamps that people read, never for a decision. `monotonicMs` only ever
 * grows and decides leases, back-off and timeouts.
 */
export interface Clock {
  /** Milliseconds since 1970 UTC; may jump. */
  nowMs(): number;
  /** Milliseconds since some fixed moment; never jumps. */
  monotonicMs(): number;
  /** Resolves after the delay, or rejects with the signal's reason. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** Calls back once after the delay; the returned function takes it back. Never keeps the process alive. */
  after(delayMs: number, callback: () => void): () => void;
  /** Calls back again and again; the returned function ends it. Never keeps the process alive. */
  every(intervalMs: number, callback: () => void): () => void;
  /** Aborts after the delay with a TimeoutError, or with the parent's reason if that comes first. */
  timeout(delayMs: number, parent?: AbortSignal): AbortSignal;
  /** The next turn of the event loop. */
  turn(): Promise<void>;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (delayMs, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const abort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', abort);
        resolve();
      }, delayMs);
      signal?.addEventListener('abort', abort, { once: true });
    }),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs).unref();
    return () => clearTimeout(timer);
  },
  every: (intervalMs, callback) => {
    const timer = setInterval(callback, intervalMs).unref();
    return () => clearInterval(timer);
  },
  timeout: (delayMs, parent) => {
    const own = AbortSignal.timeout(delayMs);
    return parent === undefined ? own : AbortSignal.any([own, parent]);
  },
  turn: () => new Promise((resolve) => setImmediate(resolve)),
};

/** A moment as gRPC's deadlines want it: the wall clock is theirs, not ours. */
export const deadlineAfter = (delayMs: number): Date => new Date(Date.now() + delayMs);

/** UTC, with milliseconds: "2026-11-23T09:43:00.000Z". */
export const formatTime = (atMs: number): string => new Date(atMs).toISOString();

/** For libraries that want a Date; makes one of a given time, never of now. */
export const dateOf = (atMs: number): Date => new Date(atMs);
