/** What is being done now: one thing for each key, and bounds, so that what hangs holds up only itself. */
export interface Tasks {
  /** Starts it, unless its key is busy or a bound is reached: then it is false, and a later pass asks again. */
  start(task: Task): boolean;
  readonly running: number;
  /** Resolves when nothing runs. */
  drained(): Promise<void>;
}

export interface Task {
  readonly key: string;
  /** What shares its bound with others: its node, its workload. */
  readonly groups: readonly string[];
  run(): Promise<void>;
}

export function createTasks(limits: { readonly total: number; readonly perGroup: number }): Tasks {
  const running = new Map<string, Promise<void>>();
  const perGroup = new Map<string, number>();

  function count(groups: readonly string[], by: number): void {
    for (const group of groups) {
      const next = (perGroup.get(group) ?? 0) + by;
      if (next === 0) perGroup.delete(group);
      else perGroup.set(group, next);
    }
  }

  return {
    get running() {
      return running.size;
    },
    start({ key, groups, run }) {
      if (running.has(key) || running.size >= limits.total) return false;
      if (groups.some((group) => (perGroup.get(group) ?? 0) >= limits.perGroup)) return false;
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
