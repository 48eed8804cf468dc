/** Where a piece of work weighs: on a node and its storages, or a storage that files are brought to. */
export type WorkPlace =
  | {
      readonly node: string;
      /** Left out, or none: it moves no data. */
      readonly storages?: readonly string[];
    }
  /** Bringing takes long and waits for others' networks: it keeps no guest waiting. */
  | { readonly filesOf: string }
  /** A guest that is locked until its copy is there: the next one waits for that. */
  | { readonly copyOf: number };

/**
 * How much goes on at once. Proxmox serializes what it must with locks that time out after ten seconds: what
 * would wait there waits here, where it is fair and can be given up.
 */
export interface Limits {
  /**
   * Runs the work when node and storage have room; in the order of asking where they are contended for. Work
   * elsewhere does not wait for it. The signal ends the waiting, with its reason, not the work.
   */
  run<T>(place: WorkPlace, signal: AbortSignal, work: () => Promise<T>): Promise<T>;
}

interface Waiting {
  readonly keys: readonly string[];
  readonly start: () => void;
}

export function createLimits(limits: {
  readonly perNode: number;
  readonly perStorage: number;
  readonly filesPerStorage: number;
}): Limits {
  const busy = new Map<string, number>();
  const waiting = new Set<Waiting>();

  const limitOf = (key: string): number =>
    key.startsWith('node ')
      ? limits.perNode
      : key.startsWith('files ')
        ? limits.filesPerStorage
        : key.startsWith('copy ')
          ? 1
          : limits.perStorage;
  const hasRoom = (key: string): boolean => (busy.get(key) ?? 0) < limitOf(key);
  const add = (key: string, count: 1 | -1): void => {
    const now = (busy.get(key) ?? 0) + count;
    if (now === 0) busy.delete(key);
    else busy.set(key, now);
  };

  /** Whoever waits holds nothing; but those behind it may not take what it waits for. */
  function startWhatCan(): void {
    const promised = new Set<string>();
    for (const one of waiting) {
      const ready = one.keys.every((key) => hasRoom(key) && !promised.has(key));
      if (!ready) {
        for (const key of one.keys) promised.add(key);
        continue;
      }
      waiting.delete(one);
      for (const key of one.keys) add(key, 1);
      one.start();
    }
  }

  const turn = (keys: readonly string[], signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const giveUp = (): void => {
        waiting.delete(one);
        reject(signal.reason as Error);
        startWhatCan();
      };
      const start = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const one = { keys, start };
      waiting.add(one);
      signal.addEventListener('abort', giveUp, { once: true });
      startWhatCan();
    });

  return {
    async run(place, signal, work) {
      const keys = keysOf(place);
      await turn(keys, signal);
      try {
        return await work();
      } finally {
        for (const key of keys) add(key, -1);
        startWhatCan();
      }
    },
  };
}

/** A storage of the same name is another one on each node, unless it is shared: the caller knows. */
function keysOf(place: WorkPlace): string[] {
  if ('filesOf' in place) return [`files ${place.filesOf}`];
  if ('copyOf' in place) return [`copy ${place.copyOf}`];
  const { node, storages = [] } = place;
  return [`node ${node}`, ...storages.map((storage) => `storage ${storage}`)];
}
