import type { Readable } from 'node:stream';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { HostCommands, StartedCommand } from '../host/command.ts';
import { kindOfCrunMessage, messageOfCrun } from './crun-error.ts';

export interface ConmonOptions {
  /** Absolute path of crun. */
  readonly runtime: string;
  /** crun's name for the container. */
  readonly id: string;
  readonly crunRoot: string;
  /** Where its sockets, pid files and working files are. */
  readonly bundle: string;
  readonly pidFile: string;
  readonly monitorPidFile: string;
  readonly exitDirectory: string;
  /** What differs between a guest and an exec. */
  readonly extra: readonly string[];
}

/** conmon 2.1: one monitor per container and per exec. It holds the streams and writes the exit code. */
export interface Monitor {
  /** The process that it started, as the host numbers it. */
  readonly pid: number;
}

const createTimeoutMs = 30_000;
/** For descriptors 3 (answers to us), 4 (our go), 5 (attach socket is there). */
const pipes = ['ignore', 'ignore', 'ignore', 'read', 'write', 'read'] as const;
const pipeEnv = { _OCI_SYNCPIPE: '3', _OCI_STARTPIPE: '4', _OCI_ATTACHPIPE: '5' };

function conmonArgs({
  runtime,
  id,
  crunRoot,
  bundle,
  pidFile,
  monitorPidFile,
  exitDirectory,
  extra,
}: ConmonOptions) {
  return [
    '--api-version=1',
    `--cid=${id}`,
    `--cuuid=${id}`,
    `--name=${id}`,
    `--runtime=${runtime}`,
    `--runtime-arg=--root=${crunRoot}`,
    '--runtime-arg=--log-format=json',
    '--runtime-arg=--cgroup-manager=cgroupfs',
    // An argument of its own: monitors are known again by it.
    '--bundle',
    bundle,
    `--container-pidfile=${pidFile}`,
    `--conmon-pidfile=${monitorPidFile}`,
    `--exit-dir=${exitDirectory}`,
    '--full-attach',
    '--no-sync-log',
    ...extra,
  ];
}

/**
 * Makes a container under a monitor of its own. The monitor outlives us. deadline-exceeded: the outcome is
 * unknown, and monitor and runtime may both be there still.
 */
export async function createUnderMonitor(
  deps: { readonly commands: HostCommands },
  options: ConmonOptions & {
    readonly logFile: string;
    readonly persist: string;
    readonly maxLogBytes: number;
  },
  signal: AbortSignal,
): Promise<Monitor> {
  const { logFile, persist, maxLogBytes } = options;
  const extra = ['--persist-dir', persist, '-l', `k8s-file:${logFile}`, '--log-size-max', `${maxLogBytes}`];
  const args = conmonArgs({ ...options, extra: [...extra, ...options.extra] });
  const env = { _OCI_SYNCPIPE: '3' };
  const answer = await deps.commands.ask('conmon', args, { env, signal, timeoutMs: createTimeoutMs });
  if (answer.line !== undefined) return { pid: pidOf(parseAnswer(answer.line), options.id) };
  throw new DroverError('internal', `conmon ended with ${answer.exitCode} and no answer`);
}

export interface ExecMonitor extends Monitor {
  /** When the command ends; undefined when the monitor went without a word. */
  readonly exitCode: Promise<number | undefined>;
}

/**
 * Runs a command in a container under a monitor of its own. `attach` is called when the attach socket is
 * there and before the command begins, so that none of its output is missed.
 */
export async function execUnderMonitor(
  deps: { readonly commands: HostCommands; readonly clock: Clock },
  options: ConmonOptions & { readonly processFile: string; readonly terminal: boolean },
  attach: () => Promise<void>,
  signal: AbortSignal,
): Promise<ExecMonitor> {
  const extra = ['-e', '-i', '--exec-attach', '--exec-process-spec', options.processFile, '-l', 'null'];
  if (options.terminal) extra.push('-t');
  const args = conmonArgs({ ...options, extra: [...options.extra, ...extra] });
  const ended = deps.clock.timeout(createTimeoutMs, signal);
  const conmon = await deps.commands.start('conmon', args, { pipes, env: pipeEnv, signal });
  try {
    conmon.writable(4).write('go\n');
    await nextAnswer(createLineReader(conmon.readable(5)), conmon, ended);
    await attach();
    conmon.writable(4).write('go\n');
    const answers = createLineReader(conmon.readable(3));
    const pid = pidOf(await nextAnswer(answers, conmon, ended), options.id);
    const exitCode = answers()
      .then((line) => (line === undefined ? undefined : parseAnswer(line).data))
      .finally(() => conmon.close());
    return { pid, exitCode };
  } catch (error) {
    conmon.close();
    throw error;
  }
}

interface Answer {
  readonly data: number;
  readonly message?: string;
}

function parseAnswer(line: string): Answer {
  try {
    const answer = JSON.parse(line) as Partial<Answer>;
    if (Number.isInteger(answer.data)) return answer as Answer;
  } catch {
    // Said below, with the line.
  }
  throw new DroverError('internal', `conmon answered ${JSON.stringify(line.slice(0, 200))}`);
}

function pidOf({ data, message = '' }: Answer, id: string): number {
  if (data > 0) return data;
  const text = messageOfCrun(message);
  throw new DroverError(kindOfCrunMessage(text), `crun: ${text || 'gave no reason'}`, {
    subject: { instance: id },
  });
}

async function nextAnswer(
  read: () => Promise<string | undefined>,
  conmon: StartedCommand,
  ended: AbortSignal,
): Promise<Answer> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => {
    conmon.kill();
    const message = 'conmon did not answer in time; whether it acted is unknown';
    reject(new DroverError('deadline-exceeded', message, { cause: ended.reason }));
  };
  ended.addEventListener('abort', abort, { once: true });
  if (ended.aborted) abort();
  try {
    const line = await Promise.race([read(), promise]);
    if (line !== undefined) return parseAnswer(line);
    throw new DroverError('internal', `conmon ended with ${await conmon.exitCode} and no answer`);
  } finally {
    ended.removeEventListener('abort', abort);
  }
}

/** Reads line by line; undefined at the end. */
function createLineReader(stream: Readable): () => Promise<string | undefined> {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let buffered = '';
  return async () => {
    for (;;) {
      const end = buffered.indexOf('\n');
      if (end >= 0) {
        const line = buffered.slice(0, end);
        buffered = buffered.slice(end + 1);
        if (line.trim() !== '') return line;
        continue;
      }
      const { done, value } = await chunks.next().catch(() => ({ done: true, value: undefined }) as const);
      if (done === true || buffered.length > 1_000_000) return buffered.trim() === '' ? undefined : buffered;
      buffered += value.toString('utf8');
    }
  };
}
