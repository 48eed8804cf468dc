import { DroverError } from '#shared/errors.ts';
import { command } from '../command.ts';

export const consoleCommand = command({
  name: 'console',
  summary: "Look at an instance's own terminal and type into it; Ctrl-] leaves it",
  arguments: [{ name: '<instance>', help: 'its name or id', completes: 'instance' }],
  examples: ['console db-x7k2p'],
  async run({ args: [instance = ''] }, context) {
    if (!context.terminal.inIsTty) {
      throw new DroverError('invalid-argument', 'a console wants a terminal, and standard input is none', {
        nextStep: 'drover logs shows what it wrote; drover exec runs a command without a terminal',
      });
    }
    const { runInside } = await import('../run-inside.ts');
    context.terminal.note(`the terminal of ${instance}; Ctrl-] leaves it`);
    const { project } = context.global;
    const start = {
      instance,
      command: [],
      stdin: true,
      tty: true,
      env: {},
      user: '',
      workingDir: '',
      project,
    };
    return { exitCode: await runInside(start, context, 'console') };
  },
});
