import { DroverError } from '#shared/errors.ts';
import {
  type ExecInput as WireExecInput,
  type ExecOutput as WireExecOutput,
  type ExecStart as WireExecStart,
  type LogLine as WireLogLine,
  type LogOptions as WireLogOptions,
  LogStream,
  type TerminalSize as WireTerminalSize,
} from '#shared/gen/drover/model/v1/model.ts';
import type { ExecInput, ExecOutput, ExecStart, LogLine, LogOptions, TerminalSize } from '#shared/streams.ts';
import {
  type Faults,
  checkCommand,
  checkCount,
  checkEnv,
  checkLine,
  checkProject,
  checkRange,
  checkUser,
  checkWorkingDir,
  collectFaults,
} from '#shared/wire/checks.ts';
import { formatExitStatus, parseExitStatus } from '#shared/wire/instance.ts';

const messageBytesMax = 64 * 1024;
const defaultSize: TerminalSize = { columns: 80, rows: 24 };

function checkSize(message: WireTerminalSize | undefined, field: string, faults: Faults): TerminalSize {
  if (message === undefined) return defaultSize;
  return {
    columns: checkRange(message.columns, [1, 10_000], `${field}.columns`, faults),
    rows: checkRange(message.rows, [1, 10_000], `${field}.rows`, faults),
  };
}

/** The first message of an exec must be a start. invalid-argument with every fault. */
export function parseExecStart(message: WireExecInput | undefined): ExecStart {
  return parseStart(message, (command, faults) => {
    if (command.length === 0) faults.add('command', 'is empty; wanted a program and its arguments');
  });
}

/** The first message of a console, which has no command. invalid-argument. */
export function parseConsoleStart(message: WireExecInput | undefined): ExecStart {
  return parseStart(message, (command, faults) => {
    if (command.length > 0) faults.add('command', 'is not empty; a console runs no command');
  });
}

function parseStart(
  message: WireExecInput | undefined,
  checkWords: (command: readonly string[], faults: Faults) => void,
): ExecStart {
  if (message?.input?.$case !== 'start') {
    throw new DroverError('invalid-argument', 'the first message of an exec must be its start');
  }
  const start = message.input.value;
  const faults = collectFaults();
  checkWords(start.command, faults);
  const parsed: ExecStart = {
    instance: checkLine(start.instance, 64, 'instance', faults),
    command: checkCommand(start.command, 'command', faults),
    stdin: start.stdin,
    tty: start.tty,
    size: checkSize(start.size, 'size', faults),
    env: checkEnv(start.env, 'env', faults),
    user: checkUser(start.user, 'user', faults),
    workingDir: checkWorkingDir(start.workingDir, 'workingDir', faults),
    project: checkProject(start.project, 'project', faults),
  };
  faults.throwIfAny('exec');
  return parsed;
}

export function formatExecStart(start: ExecStart): WireExecInput {
  const value: WireExecStart = {
    ...start,
    command: [...start.command],
    env: { ...start.env },
    size: { ...start.size },
  };
  return { input: { $case: 'start', value } };
}

/** What follows the start. invalid-argument; a member that we do not know is undefined and skipped. */
export function parseExecInput({ input }: WireExecInput): ExecInput | undefined {
  const faults = collectFaults();
  const parsed = execInput(input, faults);
  faults.throwIfAny('exec');
  return parsed;
}

function execInput(input: WireExecInput['input'], faults: Faults): ExecInput | undefined {
  switch (input?.$case) {
    case 'stdin':
      checkRange(input.value.length, [0, messageBytesMax], 'stdin', faults);
      return { kind: 'stdin', data: input.value };
    case 'stdinEnd':
      return { kind: 'stdin-end' };
    case 'resize':
      return { kind: 'resize', size: checkSize(input.value, 'resize', faults) };
    case 'signal':
      return { kind: 'signal', signal: checkRange(input.value, [1, 64], 'signal', faults) };
    case 'start':
      faults.add('start', 'an exec is started once');
      return undefined;
    default:
      return undefined;
  }
}

export function formatExecInput(input: ExecInput): WireExecInput {
  switch (input.kind) {
    case 'stdin':
      return { input: { $case: 'stdin', value: input.data } };
    case 'stdin-end':
      return { input: { $case: 'stdinEnd', value: true } };
    case 'resize':
      return { input: { $case: 'resize', value: { ...input.size } } };
    case 'signal':
      return { input: { $case: 'signal', value: input.signal } };
  }
}

/** A member that we do not know is undefined and skipped. */
export function parseExecOutput({ output }: WireExecOutput): ExecOutput | undefined {
  switch (output?.$case) {
    case 'started':
      return { kind: 'started', execId: output.value.execId };
    case 'stdout':
      return { kind: 'stdout', data: output.value };
    case 'stderr':
      return { kind: 'stderr', data: output.value };
    case 'exit':
      return { kind: 'exit', exit: parseExitStatus(output.value) };
    default:
      return undefined;
  }
}

export function formatExecOutput(output: ExecOutput): WireExecOutput {
  switch (output.kind) {
    case 'started':
      return { output: { $case: 'started', value: { execId: output.execId } } };
    case 'stdout':
      return { output: { $case: 'stdout', value: output.data } };
    case 'stderr':
      return { output: { $case: 'stderr', value: output.data } };
    case 'exit':
      return { output: { $case: 'exit', value: formatExitStatus(output.exit) } };
  }
}

const streams = { stdout: LogStream.LOG_STREAM_STDOUT, stderr: LogStream.LOG_STREAM_STDERR } as const;

/** invalid-argument. */
export function parseLogOptions(message: WireLogOptions | undefined): LogOptions {
  const faults = collectFaults();
  const { follow = false, stream = LogStream.LOG_STREAM_UNSPECIFIED } = message ?? {};
  if (![0, streams.stdout, streams.stderr].includes(stream))
    faults.add('stream', `stream ${stream} is not known here`);
  const options: LogOptions = {
    tail: message?.tail,
    sinceMs: checkCount(message?.sinceMs ?? 0n, 'sinceMs', faults),
    follow,
    stream: stream === streams.stdout ? 'stdout' : stream === streams.stderr ? 'stderr' : undefined,
  };
  faults.throwIfAny('logs');
  return options;
}

export const formatLogOptions = ({ tail, sinceMs, follow, stream }: LogOptions): WireLogOptions => ({
  tail,
  sinceMs: BigInt(sinceMs),
  follow,
  stream: stream === undefined ? LogStream.LOG_STREAM_UNSPECIFIED : streams[stream],
});

export const parseLogLine = (message: WireLogLine): LogLine => ({
  atNs: message.atNs,
  stream: message.stream === LogStream.LOG_STREAM_STDERR ? 'stderr' : 'stdout',
  content: message.content,
  partial: message.partial,
});

export const formatLogLine = (line: LogLine, instance = ''): WireLogLine => ({
  ...line,
  stream: streams[line.stream],
  instance,
});
