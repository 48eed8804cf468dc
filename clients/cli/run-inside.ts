import { DroverError } from '#shared/errors.ts';
import type { Duplex } from '#shared/rpc-client.ts';
import type {
  ExecInput as WireExecInput,
  ExecOutput as WireExecOutput,
} from '#shared/gen/drover/model/v1/model.ts';
import type { ExecStart, TerminalSize } from '#shared/streams.ts';
import { formatExecInput, formatExecStart, parseExecOutput } from '#shared/wire/exec.ts';
import type { CommandContext } from './command.ts';

type Channel = Duplex<WireExecInput, WireExecOutput>;

/**
 * Runs a command inside an instance with our terminal and our pipes; answers its exit code. Never begins it
 * again. With -it Ctrl-C is the guest's.
 */
export async function runInside(
  start: Omit<ExecStart, 'size'>,
  context: CommandContext,
  method: 'exec' | 'console' = 'exec',
): Promise<number> {
  const { fleet } = await context.connect();
  const leaving = new AbortController();
  // With -t alone no key goes to the guest, so Ctrl-C stays ours.
  const keysAreTheirs = start.tty && start.stdin;
  const channel = fleet[method]({ signal: keysAreTheirs ? leaving.signal : context.signal });
  await channel.send(formatExecStart({ ...start, size: sizeNow() }));
  return converse(channel, { ...start, leaving: method === 'console' ? leaving : undefined }, context);
}

interface Talk {
  readonly stdin: boolean;
  readonly tty: boolean;
  /** The leave key ends our part, and what runs inside goes on. */
  readonly leaving: AbortController | undefined;
}

async function converse(
  channel: Channel,
  { stdin, tty, leaving }: Talk,
  { terminal }: CommandContext,
): Promise<number> {
  const release = tty && stdin ? takeTerminal(channel, terminal.stdin) : () => {};
  // Ours to destroy at the end, which ends the loop that reads it: no guest listens any more.
  if (stdin) void forwardInput(channel, terminal.stdin, leaving).catch(() => {});
  try {
    for await (const message of channel.output) {
      const output = parseExecOutput(message);
      if (output?.kind === 'stdout' || output?.kind === 'stderr')
        await terminal.write(output.data, output.kind);
      if (output?.kind !== 'exit') continue;
      if (!output.exit.unknown) return output.exit.code;
      throw new DroverError('unavailable', 'the command ended and its exit code was lost with its monitor');
    }
  } catch (error) {
    if (leaving?.signal.aborted !== true) throw error;
  } finally {
    release();
    channel.end();
    // An open pipe that nobody closes would keep this process.
    if (stdin) terminal.stdin.destroy();
  }
  if (leaving?.signal.aborted === true) return 0;
  throw new DroverError('unavailable', 'the command was cut off, and how it ends is not known');
}

/** Ctrl-], as telnet has it. */
const leaveKey = 0x1d;

async function forwardInput(
  channel: Channel,
  stdin: NodeJS.ReadStream,
  leaving: AbortController | undefined,
): Promise<void> {
  for await (const chunk of stdin) {
    const bytes = new Uint8Array(chunk as Buffer);
    if (leaving !== undefined && bytes.includes(leaveKey)) return leaving.abort();
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
