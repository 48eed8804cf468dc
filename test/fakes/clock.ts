import type { Clock } from '#shared/clock.ts';

/**
 * A clock that a test owns: time passes only in `advance`, and every timer fires at its own moment, in
 * order.
 */
export interface FakeClock extends Clock {
  /**
   * Lets what is ready run, then fires every timer that comes due, one after another, letting each one's
   * work end.
   */
  advance(byMs: number): Promise<void>;
  /** Lets everything that waits for nothing but its turn run. */
  settle(): Promise<void>;
  /** Sets the wall clock forward or back; timers and monotonic time stay as they are. */
  jump(byMs: number): void;
  /** Timers that wait. */
  waiting(): number;
}

interface Timer {
  readonly sequence: number;
  readonly dueMs: number;
  readonly fire: () => void;
}

const turnsToSettle = 4;

export function createFakeClock(startMs = Date.UTC(2026, 0, 1)): FakeClock {
  let passedMs = 0;
  let wallMs = startMs;
  let sequence = 0;
  const timers = new Set<Timer>();

  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  async function settle(): Promise<void> {
    for (let turns = 0; turns < turnsToSettle; turns += 1) await turn();
  }
  function after(delayMs: number, fire: () => void): () => void {
    sequence += 1;
    const timer: Timer = { sequence, dueMs: passedMs + Math.max(0, delayMs), fire };
    timers.add(timer);
    return () => timers.delete(timer);
  }
  function firstDue(untilMs: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of timers) {
      if (timer.dueMs > untilMs) continue;
      if (first === undefined || timer.dueMs < first.dueMs) first = timer;
    }
    return first;
  }
  function every(intervalMs: number, callback: () => void): () => void {
    let takeBack = (): void => undefined;
    const again = (): void => {
      takeBack = after(intervalMs, () => {
        again();
        callback();
      });
    };
    again();
    return () => takeBack();
  }

  return {
    nowMs: () => wallMs + passedMs,
    monotonicMs: () => passedMs,
    after,
    every,
    turn,
    settle,
    jump: (byMs) => {
      wallMs += byMs;
    },
    waiting: () => timers.size,
    sleep: (delayMs, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason as Error);
        const takeBack = after(delayMs, () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        });
        const abort = (): void => {
          takeBack();
          reject(signal?.reason as Error);
        };
        signal?.addEventListener('abort', abort, { once: true });
      }),
    timeout(delayMs, parent) {
      const controller = new AbortController();
      if (parent?.aborted) return AbortSignal.abort(parent.reason);
      const takeBack = after(delayMs, () =>
        controller.abort(new DOMException('the time is up', 'TimeoutError')),
      );
      parent?.addEventListener(
        'abort',
        () => {
          takeBack();
          controller.abort(parent.reason);
        },
        { once: true, signal: controller.signal },
      );
      return controller.signal;
    },
    async advance(byMs) {
      const untilMs = passedMs + byMs;
      await settle();
      for (let timer = firstDue(untilMs); timer !== undefined; timer = firstDue(untilMs)) {
        timers.delete(timer);
        passedMs = Math.max(passedMs, timer.dueMs);
        timer.fire();
        await settle();
      }
      passedMs = untilMs;
    },
  };
}
