import { unlessAborted } from '#shared/unless-aborted.ts';

/** Work that many may ask for and that is done once, whoever of them goes away. */
export interface SharedWork<Result> {
  /**
   * What is under way with that key, or begun now. The signal ends the waiting; `unwanted` is aborted when
   * nobody waits any more: whoever asks after that begins anew.
   */
  run(key: string, signal: AbortSignal, act: (unwanted: AbortSignal) => Promise<Result>): Promise<Result>;
  /** As run, of what is under way with such a key. Undefined: nothing is. */
  join(isKey: (key: string) => boolean, signal: AbortSignal): Promise<Result> | undefined;
}

interface Running<Result> {
  readonly end: Promise<Result>;
  readonly unwanted: AbortController;
  waiting: number;
}

/** `closing`: what is under way then is found again, and is not unwanted for that. */
export function createSharedWork<Result>(closing: AbortSignal): SharedWork<Result> {
  const underWay = new Map<string, Running<Result>>();

  function forget(key: string, running: Running<Result>): void {
    if (underWay.get(key) === running) underWay.delete(key);
  }

  function begin(key: string, act: (unwanted: AbortSignal) => Promise<Result>): Running<Result> {
    const unwanted = new AbortController();
    const end = act(unwanted.signal).finally(() => forget(key, running));
    const running = { end, unwanted, waiting: 0 };
    underWay.set(key, running);
    return running;
  }

  async function wait(key: string, running: Running<Result>, signal: AbortSignal): Promise<Result> {
    running.waiting += 1;
    try {
      return await unlessAborted(running.end, signal);
    } finally {
      running.waiting -= 1;
      if (running.waiting === 0 && signal.aborted && !closing.aborted) {
        forget(key, running);
        running.unwanted.abort(new DOMException('nobody waits for it any more', 'AbortError'));
      }
    }
  }

  return {
    run: (key, signal, act) => wait(key, underWay.get(key) ?? begin(key, act), signal),
    join(isKey, signal) {
      const [found] = [...underWay].filter(([key]) => isKey(key));
      return found === undefined ? undefined : wait(...found, signal);
    },
  };
}
