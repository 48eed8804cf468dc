import { isKind } from '#shared/errors.ts';
import { createMailbox } from '../mailbox.ts';

/** One stream of several, with where it comes from. */
export interface Source<T> {
  readonly name: string;
  readonly items: AsyncIterable<T>;
}

/** An item of one of them. */
export interface Sourced<T> {
  readonly name: string;
  readonly item: T;
}

interface Head<T> extends Sourced<T> {
  readonly iterator: AsyncIterator<T>;
}

/** Several sorted streams as one that is sorted by the key. Reads one item ahead of each. */
export async function* mergeSorted<T>(
  sources: readonly Source<T>[],
  keyOf: (item: T) => bigint,
): AsyncGenerator<Sourced<T>> {
  const opened = sources.map(({ name, items }) => ({ name, iterator: items[Symbol.asyncIterator]() }));
  const advance = async (from: (typeof opened)[number]): Promise<Head<T> | undefined> => {
    const { done, value } = await from.iterator.next();
    return done ? undefined : { ...from, item: value };
  };
  try {
    const firsts = await Promise.all(opened.map(advance));
    let heads = firsts.filter((head) => head !== undefined);
    while (heads.length > 0) {
      const least = heads.reduce((best, head) => (keyOf(best.item) <= keyOf(head.item) ? best : head));
      yield { name: least.name, item: least.item };
      const next = await advance(least);
      heads = heads.flatMap((head) => (head !== least ? [head] : next === undefined ? [] : [next]));
    }
  } finally {
    await Promise.allSettled(opened.map(async ({ iterator }) => iterator.return?.()));
  }
}

/**
 * Several endless streams as one, each item as it comes. More streams may be found at any time: `find` is
 * asked again each time `changed` resolves with true. A name is read once, and again after its stream was
 * cut (unavailable). Ends when `changed` says false and all have ended.
 */
export async function* mergeLive<T>(
  find: () => readonly Source<T>[],
  changed: () => Promise<boolean>,
): AsyncGenerator<Sourced<T>> {
  const mailbox = createMailbox<Sourced<T>>();
  const known = new Set<string>();
  const reading = new Set<Promise<void>>();

  async function pump({ name, items }: Source<T>): Promise<void> {
    for await (const item of items) if (!(await mailbox.put({ name, item }))) return;
  }
  function look(): void {
    for (const source of find()) {
      if (known.has(source.name)) continue;
      known.add(source.name);
      const pumping: Promise<void> = pump(source).then(
        () => void reading.delete(pumping),
        (error: unknown) => {
          reading.delete(pumping);
          if (isKind(error, 'unavailable')) known.delete(source.name);
          else mailbox.end(error);
        },
      );
      reading.add(pumping);
    }
  }
  async function follow(): Promise<void> {
    do look();
    while (await changed());
    await Promise.all(reading);
    mailbox.end();
  }

  follow().catch((error: unknown) => mailbox.end(error));
  yield* mailbox.read();
}
