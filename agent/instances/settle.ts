import { asDroverError } from '#shared/errors.ts';

/**
 * Resolves once the condition holds: looked at now, and whenever the waiters are called. Throws the signal's
 * reason.
 */
export function settle(
  waiters: Set<() => void>,
  condition: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      waiters.delete(check);
      signal.removeEventListener('abort', abort);
    };
    const abort = (): void => {
      leave();
      reject(asDroverError(signal.reason));
    };
    const check = (): void => {
      if (!condition()) return;
      leave();
      resolve();
    };
    if (signal.aborted) return abort();
    waiters.add(check);
    signal.addEventListener('abort', abort, { once: true });
    check();
  });
}
