/** One thing after another for each key; different keys at the same time. */
export interface Turns<Key> {
  alone<Result>(key: Key, act: () => Promise<Result>): Promise<Result>;
  isBusy(): boolean;
}

export function createTurns<Key>(): Turns<Key> {
  const ends = new Map<Key, Promise<unknown>>();
  return {
    alone(key, act) {
      const before = ends.get(key) ?? Promise.resolve();
      const mine = before.then(act, act);
      const end = mine.catch(() => undefined);
      ends.set(key, end);
      void end.then(() => {
        if (ends.get(key) === end) ends.delete(key);
      });
      return mine;
    },
    isBusy: () => ends.size > 0,
  };
}
