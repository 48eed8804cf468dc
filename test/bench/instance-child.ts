import { fork } from 'node:child_process';
import { once } from 'node:events';

export interface BenchProcess<Answer> {
  ask(question: unknown): Promise<Answer>;
  /** Lets it end by itself. */
  end(): Promise<void>;
}

/** One question at a time; the process ends when it is let go of. */
export function openProcess<Answer>(module: string, argument: string): BenchProcess<Answer> {
  const child = fork(new URL(module, import.meta.url), [argument]);
  const gone = once(child, 'exit');
  return {
    async ask(question) {
      child.send(question as object);
      const answer = once(child, 'message');
      const first = await Promise.race([answer, gone.then(() => undefined)]);
      if (first === undefined) throw new Error(`${module} has ended`);
      const value = first[0] as { failure?: string };
      if (value.failure !== undefined) throw new Error(value.failure);
      return value as Answer;
    },
    async end() {
      if (child.connected) child.disconnect();
      await gone;
    },
  };
}
