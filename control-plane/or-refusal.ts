import { isKind, wordsOf } from '#shared/errors.ts';

/** What it gives, or the words of what refuses it for now; for that nothing may have been written. */
export function orRefusal<T extends object | undefined | void>(act: () => T): T | string {
  try {
    return act();
  } catch (error) {
    if (!isKind(error, 'failed-precondition', 'resource-exhausted')) throw error;
    return wordsOf(error);
  }
}
