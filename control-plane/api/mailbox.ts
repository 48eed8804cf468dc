import { asDroverError } from '#shared/errors.ts';

/**
 * Hands items of several writers to one reader, one at a time: a writer waits until its item has been
 * taken.
 */
export interface Mailbox<T> {
  /** Resolves when the item has been taken; false when nobody will take it, and the writer may stop. */
  put(item: T): Promise<boolean>;
  /** The reader gets what is there, then the error if there is one, then the end. */
  end(error?: unknown): void;
  /** One reader. */
  read(): AsyncGenerator<T, void>;
}

interface Letter<T> {
  readonly item: T;
  readonly taken: (isTaken: boolean) => void;
}

export function createMailbox<T>(): Mailbox<T> {
  const letters: Letter<T>[] = [];
  let ended: { readonly error?: Error } | undefined;
  let wake: () => void = () => undefined;

  function put(item: T): Promise<boolean> {
    if (ended !== undefined) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    letters.push({ item, taken: resolve });
    wake();
    return promise;
  }

  function end(error?: unknown): void {
    ended ??= error === undefined ? {} : { error: asDroverError(error) };
    wake();
  }

  async function* read(): AsyncGenerator<T, void> {
    try {
      for (;;) {
        const letter = letters.shift();
        if (letter !== undefined) {
          letter.taken(true);
          yield letter.item;
          continue;
        }
        if (ended?.error !== undefined) throw ended.error;
        if (ended !== undefined) return;
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        await promise;
      }
    } finally {
      ended ??= {};
      for (const { taken } of letters.splice(0)) taken(false);
    }
  }

  return { put, end, read };
}
