import { DroverError } from '#shared/errors.ts';
import { type OptionValues, command, manyOption, textOption } from '../command.ts';

export const exec = command({
  name: 'exec',
  summary: 'Run a command inside a running instance; its exit code is ours',
  arguments: [
    { name: '<instance>', help: 'its name or id', completes: 'instance' },
    { name: '<command...>', help: 'program and arguments; put -- before them' },
  ],
  options: [
    { flags: '-i, --stdin', help: 'pass standard input; what a pipe does by itself' },
    { flags: '-t, --tty', help: 'with a terminal' },
    { flags: '-e, --env <name=value>', help: 'added to its environment', many: true },
    { flags: '-u, --user <user>', help: 'as this user' },
    { flags: '--workdir <path>', help: 'in this directory' },
  ],
  examples: ['exec web-x7k2p -- /bin/ps', 'exec -it web-x7k2p /bin/sh', 'exec web-x7k2p -- /bin/cat < file'],
  async run({ args: [instance = '', ...words], options }, context) {
    const { terminal } = context;
    const tty = options['tty'] === true;
    if (tty && !terminal.inIsTty) {
      throw new DroverError('invalid-argument', '-t wants a terminal, and standard input is none', {
        nextStep: 'leave -t out in a script',
      });
    }
    const stdin = options['stdin'] === true || !terminal.inIsTty;
    const start = {
      instance,
      command: words,
      stdin,
      tty,
      env: environmentOf(options),
      user: textOption(options, 'user') ?? '',
      workingDir: textOption(options, 'workdir') ?? '',
      project: context.global.project,
    };
    const { runInside } = await import('../run-inside.ts');
    return { exitCode: await runInside(start, context) };
  },
});

function environmentOf(options: OptionValues): Record<string, string> {
  return Object.fromEntries(
    manyOption(options, 'env').map((pair) => {
      const place = pair.indexOf('=');
      if (place < 1) throw new DroverError('invalid-argument', `"${pair}" is not NAME=VALUE`);
      return [pair.slice(0, place), pair.slice(place + 1)];
    }),
  );
}
