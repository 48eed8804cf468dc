import { finished } from 'node:stream/promises';
import type { Readable, Writable } from 'node:stream';
import { DroverError } from '#shared/errors.ts';
import type { CommandResult, HostCommands, StartedCommand } from '../host/command.ts';

type Start = HostCommands['start'];
type Explain = (result: CommandResult) => DroverError;

const maxWords = 64 * 1024;

async function readWords(readable: Readable): Promise<string> {
  let words = '';
  for await (const chunk of readable.setEncoding('utf8'))
    words = words.length < maxWords ? words + String(chunk) : words;
  return words;
}

/** Ends the tool with its caller, whatever it waits for. */
function endWith(started: StartedCommand, signal: AbortSignal): () => void {
  const kill = (): void => started.kill();
  signal.addEventListener('abort', kill, { once: true });
  if (signal.aborted) kill();
  return () => signal.removeEventListener('abort', kill);
}

/** What a tool writes to its standard output. Ends well only when the tool did; killed if nobody reads on. */
export async function* readTool(
  start: Start,
  [tool, ...args]: readonly [string, ...string[]],
  explain: Explain,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const started = await start(tool, args, { pipes: ['ignore', 'read', 'read'], signal });
  const release = endWith(started, signal);
  const words = readWords(started.readable(2)).catch(() => '');
  let isOver = false;
  try {
    for await (const chunk of started.readable(1)) yield chunk as Uint8Array;
    const exitCode = await started.exitCode;
    isOver = true;
    signal.throwIfAborted();
    if (exitCode !== 0) throw explain({ exitCode, stdout: '', stderr: await words });
  } finally {
    if (!isOver) started.kill();
    release();
    started.close();
  }
}

/**
 * Gives a tool all of the body on its standard input. Resolves when it took it all and ended well; a body
 * that throws is thrown again, whatever the tool said.
 */
export async function feedTool(
  start: Start,
  [tool, ...args]: readonly [string, ...string[]],
  body: AsyncIterable<Uint8Array>,
  explain: Explain,
  signal: AbortSignal,
): Promise<void> {
  const started = await start(tool, args, { pipes: ['write', 'ignore', 'read'], signal });
  const release = endWith(started, signal);
  const words = readWords(started.readable(2)).catch(() => '');
  let isOver = false;
  try {
    const fault = await pour(body, started.writable(0)).then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    // A stream that broke ends here, too: so the tool takes back by itself what it did.
    started.writable(0).end();
    const exitCode = await started.exitCode;
    isOver = true;
    signal.throwIfAborted();
    if (fault !== undefined && !isBrokenPipe(fault.error)) throw fault.error;
    if (exitCode !== 0) throw explain({ exitCode, stdout: '', stderr: await words });
    if (fault !== undefined) throw fault.error;
  } finally {
    if (!isOver) {
      started.kill();
      await started.exitCode.catch(() => undefined);
    }
    release();
    started.close();
  }
}

async function pour(body: AsyncIterable<Uint8Array>, target: Writable): Promise<void> {
  for await (const chunk of body) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    target.write(chunk, (error) => (error ? reject(error) : resolve()));
    await promise;
  }
  target.end();
  await finished(target);
}

const isBrokenPipe = (error: unknown): boolean =>
  ['EPIPE', 'ECONNRESET', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_PREMATURE_CLOSE'].includes(
    (error as NodeJS.ErrnoException).code ?? '',
  );
