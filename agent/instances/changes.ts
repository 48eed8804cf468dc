import { createBroadcast, overflow } from '#shared/broadcast.ts';
import type { Clock } from '#shared/clock.ts';
import type { InstanceId, InstanceState } from '#shared/model.ts';

export type InstanceEvent =
  | { readonly kind: 'changed'; readonly sequence: number; readonly state: InstanceState }
  | { readonly kind: 'removed'; readonly sequence: number; readonly id: InstanceId }
  | { readonly kind: 'bookmark'; readonly sequence: number }
  | { readonly kind: 'resync'; readonly reason: 'compacted' | 'other-incarnation' | 'slow-reader' };

type Change = Extract<InstanceEvent, { sequence: number; kind: 'changed' | 'removed' }>;

export interface WatchFrom {
  /** Empty: from the beginning. */
  readonly incarnation: string;
  readonly sequence: number;
}

/** The numbered changes of all instances, the newest of them kept for readers that come back. */
export interface Changes {
  /** Does nothing when the state is as it was last published. */
  put(state: InstanceState): void;
  remove(id: InstanceId): void;
  readonly sequence: number;
  watch(from: WatchFrom, signal: AbortSignal): AsyncIterable<InstanceEvent>;
  close(): void;
}

const idleMs = 30_000;

/**
 * `firstSequence` grows with every start of the agent, so that a number of a life before is never taken for
 * one of this.
 */
export function createChanges(options: {
  readonly incarnation: string;
  readonly firstSequence: number;
  readonly clock: Clock;
  readonly kept?: number;
  readonly readerCapacity?: number;
}): Changes {
  const { incarnation, firstSequence, clock, kept = 10_000, readerCapacity = 1000 } = options;
  const live = createBroadcast<Change>({ capacity: readerCapacity });
  const states = new Map<InstanceId, InstanceState>();
  const texts = new Map<InstanceId, string>();
  let ring: Change[] = [];
  let sequence = firstSequence;

  function publish(change: (sequence: number) => Change): void {
    sequence += 1;
    const made = change(sequence);
    ring.push(made);
    // Cut in large pieces, so that keeping the window costs nothing per change.
    if (ring.length > 2 * kept) ring = ring.slice(-kept);
    live.publish(made);
  }

  /** What a reader must be told before the live changes, up to now. */
  function* catchUp(from: WatchFrom): Generator<InstanceEvent> {
    const reason = staleness(from);
    if (from.sequence !== 0 && reason === undefined) {
      yield* ring.filter((change) => change.sequence > from.sequence);
    } else {
      if (reason !== undefined) yield { kind: 'resync', reason };
      yield* all();
    }
    yield { kind: 'bookmark', sequence };
  }

  function staleness(from: WatchFrom): 'compacted' | 'other-incarnation' | undefined {
    if (from.incarnation === '' && from.sequence === 0) return undefined;
    if (from.incarnation !== incarnation) return 'other-incarnation';
    const oldest = ring[0]?.sequence ?? sequence + 1;
    return from.sequence < oldest - 1 || from.sequence > sequence ? 'compacted' : undefined;
  }

  function* all(): Generator<InstanceEvent> {
    for (const state of states.values()) yield { kind: 'changed', sequence, state };
  }

  async function* follow(
    first: readonly InstanceEvent[],
    bookmarked: number,
    news: AsyncIterator<Change | typeof overflow>,
  ): AsyncGenerator<InstanceEvent> {
    yield* first;
    let sent = bookmarked;
    for await (const item of withIdle(news, clock)) {
      if (item === 'idle') yield { kind: 'bookmark', sequence: sent };
      else if (item === overflow) {
        sent = sequence;
        yield* [
          { kind: 'resync', reason: 'slow-reader' } as const,
          ...all(),
          { kind: 'bookmark', sequence } as const,
        ];
      } else if (item.sequence > sent) {
        sent = item.sequence;
        yield item;
      }
    }
  }

  return {
    put(state) {
      const text = JSON.stringify(state);
      if (texts.get(state.instanceId) === text) return;
      texts.set(state.instanceId, text);
      states.set(state.instanceId, state);
      publish((number) => ({ kind: 'changed', sequence: number, state }));
    },
    remove(id) {
      texts.delete(id);
      if (states.delete(id)) publish((number) => ({ kind: 'removed', sequence: number, id }));
    },
    get sequence() {
      return sequence;
    },
    watch(from, signal) {
      // Joined in the same turn as the catching up is taken: nothing falls between the two.
      const leaving = new AbortController();
      const news = live.subscribe(AbortSignal.any([signal, leaving.signal]))[Symbol.asyncIterator]();
      return leavingBy(leaving, follow([...catchUp(from)], sequence, news));
    },
    close: () => live.close(),
  };
}

/** A reader may leave while nothing comes: what waits for the next item must be ended first. */
function leavingBy<T>(leaving: AbortController, items: AsyncGenerator<T>): AsyncIterable<T> {
  const leave = (): Promise<IteratorResult<T>> => {
    leaving.abort();
    return items.return(undefined);
  };
  return { [Symbol.asyncIterator]: () => ({ next: () => items.next(), return: leave }) };
}

/** The items, and 'idle' after each 30 s without one. */
async function* withIdle<T>(items: AsyncIterator<T>, clock: Clock): AsyncGenerator<T | 'idle'> {
  try {
    let next = items.next();
    while (true) {
      const idle = Promise.withResolvers<'idle'>();
      const cancel = clock.after(idleMs, () => idle.resolve('idle'));
      const result = await Promise.race([next, idle.promise]);
      cancel();
      if (result === 'idle') yield 'idle';
      else if (result.done === true) return;
      else {
        yield result.value;
        next = items.next();
      }
    }
  } finally {
    await items.return?.();
  }
}
