import type { Clock } from '#shared/clock.ts';

/** Lets at most so many works run at once; the others wait in order. */
export interface Gate {
  pass<T>(work: () => Promise<T>): Promise<T>;
}

export function createGate(limit: number): Gate {
  let free = limit;
  const waiting: (() => void)[] = [];
  return {
    async pass(work) {
      if (free > 0) free -= 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      try {
        return await work();
      } finally {
        const next = waiting.shift();
        if (next === undefined) free += 1;
        else next();
      }
    },
  };
}

/** Gives each caller a turn of the event loop of its own, in order. */
export function createSpawnLane(clock: Clock): { turn(): Promise<void> } {
  let last: Promise<void> = Promise.resolve();
  return {
    turn() {
      last = last.then(() => clock.turn());
      return last;
    },
  };
}
