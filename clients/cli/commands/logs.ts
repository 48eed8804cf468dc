import { DroverError } from '#shared/errors.ts';
import type { LogLine, LogStream } from '#shared/gen/drover/model/v1/model.ts';
import { formatTime, parseDurationMs } from '#shared/units.ts';
import { type CommandContext, type OptionValues, command, textOption } from '../command.ts';
import { jsonText } from '../output.ts';
import { escapeControls } from '../terminal.ts';

export const logOptionSpecs = [
  { flags: '-f, --follow', help: 'go on with new lines, through restarts' },
  { flags: '--tail <lines>', help: 'only the last lines' },
  { flags: '--since <duration>', help: 'only the last 10m, 2h, …' },
  { flags: '--stream <name>', help: 'stdout or stderr' },
  { flags: '-t, --timestamps', help: 'each line with its time' },
  { flags: '--raw', help: 'control characters as they are' },
] as const;

export const logs = command({
  name: 'logs',
  summary: 'Output of an instance, or of all instances of a workload',
  arguments: [{ name: '<target>', help: 'an instance or a workload', completes: 'instance' }],
  options: logOptionSpecs,
  examples: ['logs web-x7k2p', 'logs -f web --tail 10', 'logs web-x7k2p --since 10m -o json'],
  async run({ args: [target = ''], options }, context) {
    const { fleet } = await context.connect();
    const request = { project: context.global.project, target, options: logOptions(options, context) };
    const show = lineWriter(options, context, target);
    for await (const line of fleet.streamLogs(request, { signal: context.signal })) await show(line);
    return { exitCode: 0 };
  },
});

/** Literals: the generated code is loaded with the connection only. */
const bothStreams: LogStream.LOG_STREAM_UNSPECIFIED = 0;
const stdoutStream: LogStream.LOG_STREAM_STDOUT = 1;
const stderrStream: LogStream.LOG_STREAM_STDERR = 2;

/** As the contract's JSON, but the content is text, not base64. */
const lineObject = ({ atNs, stream, partial, instance }: LogLine, content: string): object => ({
  atNs: `${atNs}`,
  stream: stream === stderrStream ? 'stderr' : 'stdout',
  content,
  ...(partial ? { partial } : {}),
  instance,
});

export function logOptions(options: OptionValues, { clock }: CommandContext) {
  const follow = options['follow'] === true;
  const tail = textOption(options, 'tail');
  if (tail !== undefined && !/^\d{1,9}$/.test(tail)) {
    throw new DroverError('invalid-argument', `"${tail}" is not a number of lines`);
  }
  const since = textOption(options, 'since');
  const stream = textOption(options, 'stream');
  if (stream !== undefined && stream !== 'stdout' && stream !== 'stderr') {
    throw new DroverError('invalid-argument', `"${stream}" is not a stream; wanted stdout or stderr`);
  }
  return {
    tail: tail === undefined ? undefined : Number(tail),
    sinceMs: BigInt(since === undefined ? 0 : clock.nowMs() - parseDurationMs(since)),
    follow,
    stream: stream === undefined ? bothStreams : stream === 'stdout' ? stdoutStream : stderrStream,
  };
}

export function lineWriter(options: OptionValues, { global, terminal }: CommandContext, target: string) {
  return async (line: LogLine): Promise<void> => {
    const text = Buffer.from(line.content).toString('utf8');
    if (global.output === 'json' || global.output === 'yaml') {
      return terminal.print(jsonText(lineObject(line, text)));
    }
    const time = options['timestamps'] === true ? `${formatTime(Number(line.atNs / 1_000_000n))} ` : '';
    const from = line.instance !== '' && line.instance !== target ? `${line.instance}: ` : '';
    const end = line.partial ? '' : '\n';
    const to = line.stream === stderrStream ? 'stderr' : 'stdout';
    const shown = options['raw'] === true ? line.content : Buffer.from(escapeControls(text));
    await terminal.write(Buffer.concat([Buffer.from(`${time}${from}`), shown, Buffer.from(end)]), to);
  };
}
