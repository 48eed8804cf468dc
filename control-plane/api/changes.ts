import { isKind } from '#shared/errors.ts';
import type { StoreChange } from '../store/store.ts';
import type { HandlerDeps } from './handler.ts';
import { createMailbox, type Mailbox } from './mailbox.ts';

/** What a reader of the store hears of. */
export type Heard =
  | { readonly kind: 'changes'; readonly changes: readonly StoreChange[] }
  /** Nothing changed in the store, but what is derived from time and from live nodes may have. */
  | { readonly kind: 'tick' }
  /** Changes were lost: "compacted" or "slow-reader". Nothing follows. */
  | { readonly kind: 'lost'; readonly reason: string };

const tickMs = 1000;

/** The store's changes after a revision, with a tick every second; ends with the signal. */
export async function* changesAndTicks(
  { store, clock }: Pick<HandlerDeps, 'store' | 'clock'>,
  afterRevision: number,
  signal: AbortSignal,
): AsyncGenerator<Heard> {
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  const mailbox = createMailbox<Heard>();
  let isTickWaiting = false;
  const stopTicks = clock.every(tickMs, () => {
    if (isTickWaiting) return;
    isTickWaiting = true;
    void mailbox.put({ kind: 'tick' }).then(() => {
      isTickWaiting = false;
    });
  });
  ended.addEventListener('abort', () => mailbox.end(), { once: true });
  if (ended.aborted) mailbox.end();
  const pumped = pump(store.watch(afterRevision, ended), mailbox);
  try {
    yield* mailbox.read();
  } finally {
    stopTicks();
    stop.abort();
    await pumped;
  }
}

async function pump(changes: AsyncIterable<readonly StoreChange[]>, mailbox: Mailbox<Heard>): Promise<void> {
  try {
    for await (const each of changes) if (!(await mailbox.put({ kind: 'changes', changes: each }))) break;
    mailbox.end();
  } catch (error) {
    if (!isKind(error, 'failed-precondition') || error.reason === '') return mailbox.end(error);
    const { reason } = error;
    void mailbox.put({ kind: 'lost', reason });
    mailbox.end();
  }
}

/** Resolves at the next change of the store or of what is known of live nodes, and when the signal aborts. */
export function nextChange(
  { store, view }: Pick<HandlerDeps, 'store' | 'view'>,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stops = [store.onCommit(resolve), view.onChange(resolve)];
  const leave = (): void => resolve();
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) resolve();
  return promise.finally(() => {
    signal.removeEventListener('abort', leave);
    for (const stop of stops) stop();
  });
}
