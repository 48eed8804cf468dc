import { createMailbox } from './mailbox.ts';

/**
 * Acts on every item, so many at once, and gives the results as they come. What one act throws ends all; acts
 * that must not do so give their failure as a result.
 */
export async function* fanOut<Item, Result>(
  items: readonly Item[],
  limit: number,
  act: (item: Item) => Promise<Result>,
): AsyncGenerator<Result, void> {
  const mailbox = createMailbox<Result>();
  const waiting = items.values();
  async function work(): Promise<void> {
    for (const item of waiting) if (!(await mailbox.put(await act(item)))) return;
  }
  Promise.all(Array.from({ length: Math.min(limit, items.length) }, work)).then(
    () => mailbox.end(),
    (error: unknown) => mailbox.end(error),
  );
  yield* mailbox.read();
}
