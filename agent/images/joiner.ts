import { unlessAborted } from '#shared/unless-aborted.ts';

/** Several callers, one piece of work. */
export interface Joiner<Result, Progress> {
  /**
   * Starts the work, or joins the one under way for the key. A caller that gives up leaves alone; the work
   * is aborted when nobody is left. Work that is being aborted is waited for, then begun anew.
   */
  join(
    key: string,
    caller: {
      readonly signal: AbortSignal;
      readonly onProgress?: ((progress: Progress) => void) | undefined;
    },
    start: (signal: AbortSignal, report: (progress: Progress) => void) => Promise<Result>,
  ): Promise<Result>;
}

interface Work<Result, Progress> {
  readonly result: Promise<Result>;
  readonly controller: AbortController;
  readonly listeners: Set<(progress: Progress) => void>;
  callers: number;
}

export function createJoiner<Result, Progress>(): Joiner<Result, Progress> {
  const underWay = new Map<string, Work<Result, Progress>>();

  function begin(
    key: string,
    start: (signal: AbortSignal, report: (progress: Progress) => void) => Promise<Result>,
  ): Work<Result, Progress> {
    const controller = new AbortController();
    const listeners = new Set<(progress: Progress) => void>();
    const report = (progress: Progress): void => {
      for (const listener of listeners) listener(progress);
    };
    const result = start(controller.signal, report).finally(() => underWay.delete(key));
    // Those who wait are told; when all of them have left, the end of aborted work is nobody's.
    result.catch(() => undefined);
    const work = { result, controller, listeners, callers: 0 };
    underWay.set(key, work);
    return work;
  }

  async function join(...args: Parameters<Joiner<Result, Progress>['join']>): Promise<Result> {
    const [key, { signal, onProgress }, start] = args;
    signal.throwIfAborted();
    for (let dying = underWay.get(key); dying?.controller.signal.aborted; dying = underWay.get(key)) {
      await unlessAborted(
        dying.result.catch(() => undefined),
        signal,
      );
    }
    const work = underWay.get(key) ?? begin(key, start);
    const listener = onProgress === undefined ? undefined : (progress: Progress) => onProgress(progress);
    work.callers += 1;
    if (listener !== undefined) work.listeners.add(listener);
    try {
      return await unlessAborted(work.result, signal);
    } finally {
      work.callers -= 1;
      if (listener !== undefined) work.listeners.delete(listener);
      if (work.callers === 0) work.controller.abort(signal.reason);
    }
  }

  return { join };
}
