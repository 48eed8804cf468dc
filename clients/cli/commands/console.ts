import { DroverError, isKind } from '#shared/errors.ts';
import { type CommandContext, type Result, command } from '../command.ts';
import { describeText } from '../output.ts';

export const consoleCommand = command({
  name: 'console',
  summary: "Look at an instance's own terminal and type into it; Ctrl-] leaves it",
  arguments: [{ name: '<instance>', help: 'its name or id', completes: 'instance' }],
  options: [
    { flags: '--url', help: "of a guest of a cluster: tell the cluster's own page of it, and its websocket" },
  ],
  examples: ['console db-x7k2p', 'console shop-x7k2p --url'],
  async run({ args: [instance = ''], options }, context) {
    if (options['url'] === true) return whereItIs(instance, context);
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
    try {
      return { exitCode: await runInside(start, context, 'console') };
    } catch (error) {
      if (!isKind(error, 'unimplemented')) throw error;
      // Its runtime shows none through us; its cluster does.
      return await whereItIs(instance, context).catch(() => {
        throw error;
      });
    }
  },
});

async function whereItIs(instance: string, context: CommandContext): Promise<Result> {
  const { clusters, clusterMessages } = await context.connect();
  const { project } = context.global;
  const found = await clusters.getConsoleTicket({ project, instance }, { deadlineMs: 30_000 });
  return {
    data: clusterMessages.GetConsoleTicketResponse.toJSON(found),
    names: [found.url],
    text: () =>
      describeText([
        ['URL', found.url],
        ['Kind', found.kind],
        ['Websocket', found.websocketUrl],
        ['User', found.user],
        ['Ticket', `${found.ticket} (good for some seconds, with that user's own credential)`],
      ]),
  };
}
