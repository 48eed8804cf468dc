import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface BenchProcess<Answer> {
  ask(question: unknown): Promise<Answer>;
  /** Lets it end by itself. */
  end(): Promise<void>;
}

const longestMs = 120_000;

/**
 * One question at a time; the process ends when it is let go of. `enter` leads into its namespaces:
 * "nsenter -t PID -m --".
 */
export function openProcess<Answer>(
  module: string,
  argument: string,
  enter: readonly string[] = [],
): BenchProcess<Answer> {
  const program = fileURLToPath(new URL(module, import.meta.url));
  const [command, ...args] = [...enter, process.execPath, program, argument];
  const child = spawn(command, args, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] });
  const gone = once(child, 'exit');
  const killLater = (): NodeJS.Timeout => setTimeout(() => child.kill('SIGKILL'), longestMs);
  return {
    async ask(question) {
      child.send(question as object);
      const answer = once(child, 'message');
      const late = killLater();
      const first = await Promise.race([answer, gone.then(() => undefined)]);
      clearTimeout(late);
      if (first === undefined) throw new Error(`${module} has ended`);
      const value = first[0] as { failure?: string };
      if (value.failure !== undefined) throw new Error(value.failure);
      return value as Answer;
    },
    async end() {
      if (child.connected) child.disconnect();
      const late = killLater();
      await gone;
      clearTimeout(late);
    },
  };
}
