import { systemClock } from '#shared/clock.ts';

/** Waits until the condition gives something true, looking again every few milliseconds. */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: { readonly what: string; readonly deadlineMs?: number; readonly everyMs?: number },
): Promise<NonNullable<T>> {
  const { what, deadlineMs = 10_000, everyMs = 10 } = options;
  const endMs = systemClock.monotonicMs() + deadlineMs;
  let last: unknown;
  do {
    const value = await condition();
    if (value) return value;
    last = value;
    await systemClock.sleep(everyMs);
  } while (systemClock.monotonicMs() < endMs);
  throw new Error(`waited ${deadlineMs} ms for: ${what}; last seen: ${JSON.stringify(last)}`);
}
