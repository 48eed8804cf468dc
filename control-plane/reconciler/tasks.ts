/** What is being done now: one thing for each key, and bounds, so that what hangs holds up only itself. */
export interface Tasks {
  /**
   * Starts it, unless its key is busy or a bound is reached: then it is false, and a later pass asks again.
   */
  start(task: Task): boolean;
  readonly running: number;
  /** Resolves when nothing runs. */
  drained(): Promise<void>;
}

interface Task {
  readonly key: string;
  /** What it shares a bound with: the others of its node, and of its workload. */
  readonly groups: readonly Group[];
  run(): Promise<void>;
}

export interface Group {
  readonly name: string;
  readonly limit: number;
}

export function createTasks(limit: number): Tasks {
  const running = new Map<string, Promise<void>>();
  const counts = new Map<string, number>();

  function count(groups: readonly Group[], by: number): void {
    for (const { name } of groups) {
      const next = (counts.get(name) ?? 0) + by;
      if (next === 0) counts.delete(name);
      else counts.set(name, next);
    }
  }

  return {
    get running() {
      return running.size;
    },
    start({ key, groups, run }) {
      if (running.has(key) || running.size >= limit) return false;
      if (groups.some((group) => (counts.get(group.name) ?? 0) >= group.limit)) return false;
      count(groups, 1);
      const done = run().finally(() => {
        running.delete(key);
        count(groups, -1);
      });
      running.set(key, done);
      return true;
    },
    async drained() {
      while (running.size > 0) await Promise.allSettled(running.values());
    },
  };
}
