import { type Clock, systemClock } from '#shared/clock.ts';

/**
 * A clock that runs so many times as fast as the real one: for work over real connections, whose waits would
 * be long. Timeouts are shorter with it, so a slow machine sees more of them: what is tested has to stand
 * that.
 */
export function createQuickClock(times: number): Clock {
  const startMs = systemClock.nowMs();
  const fromMs = systemClock.monotonicMs();
  const passedMs = (): number => (systemClock.monotonicMs() - fromMs) * times;
  return {
    nowMs: () => startMs + passedMs(),
    monotonicMs: () => fromMs + passedMs(),
    sleep: (delayMs, signal) => systemClock.sleep(delayMs / times, signal),
    after: (delayMs, callback) => systemClock.after(delayMs / times, callback),
    every: (intervalMs, callback) => systemClock.every(intervalMs / times, callback),
    timeout: (delayMs, parent) => systemClock.timeout(Math.ceil(delayMs / times), parent),
    turn: systemClock.turn,
  };
}
