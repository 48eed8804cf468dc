import { DroverError } from '#shared/errors.ts';
import type { Duplex } from '#shared/rpc-client.ts';
import type {
  ExecInput as WireExecInput,
  ExecOutput as WireExecOutput,
} from '#shared/gen/drover/model/v1/model.ts';
import type { TerminalSize } from '#shared/model.ts';
import { formatExecInput, formatExecStart, parseExecOutput } from '#shared/wire/exec.ts';
import { type CommandContext, type OptionValues, command, manyOption, textOption } from '../command.ts';
import { exitCode } from '../exit-code.ts';

type Channel = Duplex<WireExecInput, WireExecOutput>;

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
    const { fleet } = await context.connect();
    const channel = fleet.exec({ signal: tty ? undefined : context.signal });
    await channel.send(
      formatExecStart({
        instance,
        command: words,
        stdin,
        tty,
        size: sizeNow(),
        env: environmentOf(options),
        user: textOption(options, 'user') ?? '',
        workingDir: textOption(options, 'workdir') ?? '',
        project: context.global.project,
      }),
    );
    return { exitCode: await converse(channel, { stdin, tty }, context) };
  },
});

async function converse(
  channel: Channel,
  { stdin, tty }: { readonly stdin: boolean; readonly tty: boolean },
  { terminal }: CommandContext,
): Promise<number> {
  const release = tty ? takeTerminal(channel, terminal.stdin) : () => {};
  if (stdin) void forwardInput(channel, terminal.stdin);
  try {
    for await (const message of channel.output) {
      const output = parseExecOutput(message);
      if (output?.kind === 'stdout' || output?.kind === 'stderr')
        await terminal.write(output.data, output.kind);
      if (output?.kind !== 'exit') continue;
      if (!output.exit.unknown) return output.exit.code;
      throw new DroverError('unavailable', 'the command ended and its exit code was lost with its monitor');
    }
  } finally {
    release();
    channel.end();
    terminal.stdin.pause();
  }
  return exitCode.failed;
}

async function forwardInput(channel: Channel, stdin: NodeJS.ReadStream): Promise<void> {
  for await (const chunk of stdin) {
    const bytes = new Uint8Array(chunk as Buffer);
    for (let from = 0; from < bytes.length; from += 32_768) {
      await channel.send(formatExecInput({ kind: 'stdin', data: bytes.subarray(from, from + 32_768) }));
    }
  }
  await channel.send(formatExecInput({ kind: 'stdin-end' }));
}

/** Every key goes to the guest, and every change of size; the answer gives the terminal back. */
function takeTerminal(channel: Channel, stdin: NodeJS.ReadStream): () => void {
  const resize = (): void => void channel.send(formatExecInput({ kind: 'resize', size: sizeNow() }));
  stdin.setRawMode(true);
  process.stdout.on('resize', resize);
  return () => {
    process.stdout.off('resize', resize);
    stdin.setRawMode(false);
  };
}

const sizeNow = (): TerminalSize => ({
  columns: process.stdout.columns || 80,
  rows: process.stdout.rows || 24,
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
