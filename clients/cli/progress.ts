import type { CommandContext } from './command.ts';

/** One thing that is waited for. It says how far it is as often as it likes. */
export interface Waiting {
  readonly title: string;
  readonly follow: (say: (line: string) => void) => Promise<void>;
}

/** Whether a person sees lines that change; everybody else gets one for each that is said. */
export function isLive({ terminal, global }: CommandContext): boolean {
  // A terminal that does not say how wide it is gets plain lines.
  const wide = (process.stderr.columns ?? 0) > 0;
  return terminal.errIsTty && wide && !global.quiet && global.output !== 'json' && global.output !== 'yaml';
}

/**
 * Waits for all at once: live lines for a person at a terminal, one line a change for everybody else, both on
 * standard error. Throws the first failure when all have ended.
 */
export async function showProgress(waiting: readonly Waiting[], context: CommandContext): Promise<void> {
  const { terminal } = context;
  if (isLive(context)) return showLive(waiting);
  const outcomes = await Promise.allSettled(
    waiting.map(({ follow }) => follow((line) => terminal.note(line))),
  );
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

async function showLive(waiting: readonly Waiting[]): Promise<void> {
  const { Listr, ListrLogger, ProcessOutput } = await import('listr2');
  const logger = new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) });
  const failures: unknown[] = [];
  const tasks = waiting.map(({ title, follow }) => ({
    title,
    task: async (_: unknown, task: { title?: string }) => {
      const say = (line: string): void => {
        task.title = line;
      };
      await follow(say).catch((error: unknown) => {
        failures.push(error);
        throw error;
      });
    },
  }));
  const rendererOptions = { logger, showErrorMessage: false, collapseErrors: false };
  await new Listr(tasks, { concurrent: true, exitOnError: false, rendererOptions }).run();
  if (failures.length > 0) throw failures[0];
}
