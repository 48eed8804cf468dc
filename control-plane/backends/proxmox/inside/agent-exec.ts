import type { Clock } from '#shared/clock.ts';
import { DroverError, isKind } from '#shared/errors.ts';
import type { ExitStatus } from '#shared/model.ts';
import type { ExecInput, ExecOutput, ExecStart } from '#shared/streams.ts';
import type { ExecChannel } from '../../backend.ts';
import type { ClusterApi } from '../cluster-api.ts';
import type { GuestPlace } from '../guests/guest-kind.ts';
import { isOn, numberOf } from '../guests/properties.ts';

export interface AgentExecTools {
  readonly api: Pick<ClusterApi, 'call'>;
  readonly clock: Clock;
  /** Where the guest is now: it may move while the command runs. */
  place(): GuestPlace;
  /** Whether that is the guest still, once its input has been waited for. */
  check?(signal: AbortSignal): Promise<unknown>;
  /** A name for it, for people. */
  readonly execId: string;
}

/** What the API takes. */
const inputMaxBytes = 65_536;
const firstPollMs = 100;
const lastPollMs = 2000;
/** Questions in a row without an answer, before nobody is asked any more. */
const lostMax = 60;

/**
 * Runs a command through the guest agent of a virtual machine. Its input is handed over at once, so it begins
 * when the input has ended; its output comes when the command has. The command is run literally, by the user
 * that the agent runs as. What the agent cannot is unimplemented, by name; failed-precondition: there is no
 * agent to ask, with what to do. Ending the channel leaves the command to itself: nothing there can end it.
 */
export async function agentExec(
  tools: AgentExecTools,
  start: ExecStart,
  signal: AbortSignal,
): Promise<ExecChannel> {
  refuseWhatItCannot(start);
  const ended = new AbortController();
  const all = AbortSignal.any([signal, ended.signal]);
  const input = start.stdin ? gatherInput() : undefined;
  // Before a person types: whether there is anybody to hand it to.
  if (input !== undefined) await tools.api.call(ping, tools.place(), { signal: all });
  const early = input === undefined ? await begin(tools, start, undefined, all) : undefined;

  async function* run(): AsyncGenerator<ExecOutput> {
    try {
      const data = await input?.whole(all);
      if (input !== undefined) await tools.check?.(all);
      const pid = early ?? (await begin(tools, start, data, all));
      yield { kind: 'started', execId: tools.execId };
      yield* resultOf(tools, pid, all);
    } finally {
      ended.abort();
    }
  }
  return {
    output: run(),
    send: async (item) => {
      if (ended.signal.aborted) throw hasEnded();
      if (item.kind === 'signal') throw cannot('signals to a command');
      input?.take(item);
    },
    close: () => ended.abort(),
  };
}

const ping = 'POST /nodes/{node}/qemu/{vmid}/agent/ping';

const hasEnded = (): DroverError => new DroverError('failed-precondition', 'the command has ended');

const cannot = (what: string): DroverError =>
  new DroverError('unimplemented', `the guest agent of a virtual machine has no ${what}`, {
    nextStep: 'log in over its network, or use its console: drover console',
  });

function refuseWhatItCannot(start: ExecStart): void {
  if (start.tty) throw cannot('terminal (tty)');
  if (start.user !== '') throw cannot('choice of a user');
  if (start.workingDir !== '') throw cannot('choice of a directory (workingDir)');
  if (Object.keys(start.env).length > 0) throw cannot('environment (env)');
}

/** The pid inside. A lost answer is not asked for again: the command may run. */
async function begin(
  { api, place }: AgentExecTools,
  { command }: ExecStart,
  input: Buffer | undefined,
  signal: AbortSignal,
): Promise<number> {
  const answer = await api.call(
    'POST /nodes/{node}/qemu/{vmid}/agent/exec',
    {
      ...place(),
      command: [...command],
      // One character for each byte: the cluster makes bytes of them again.
      ...(input !== undefined && { 'input-data': input.toString('latin1') }),
    },
    { signal },
  );
  const pid = numberOf((answer as { readonly pid?: unknown } | null)?.pid);
  if (pid > 0) return pid;
  throw new DroverError('internal', 'the guest agent was asked to run a command, and named no process');
}

interface Ended {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exit: ExitStatus;
  /** For people; empty: all of it came. */
  readonly missing: string;
}

async function* resultOf(
  tools: AgentExecTools,
  pid: number,
  signal: AbortSignal,
): AsyncGenerator<ExecOutput> {
  const { stdout, stderr, exit, missing } = await untilEnded(tools, pid, signal);
  if (stdout.length > 0) yield { kind: 'stdout', data: stdout };
  if (stderr.length > 0) yield { kind: 'stderr', data: stderr };
  if (missing !== '') yield { kind: 'stderr', data: Buffer.from(`drover: ${missing}\n`) };
  yield { kind: 'exit', exit };
}

/** A question whose answer is lost is asked again, though the agent forgets a result once it has told it. */
async function untilEnded(tools: AgentExecTools, pid: number, signal: AbortSignal): Promise<Ended> {
  const { api, clock, place } = tools;
  let lost = 0;
  for (let pauseMs = firstPollMs; ; pauseMs = Math.min(lastPollMs, pauseMs * 1.5)) {
    await clock.sleep(pauseMs, signal);
    try {
      const method = 'GET /nodes/{node}/qemu/{vmid}/agent/exec-status';
      const status = statusOf(await api.call(method, { ...place(), pid }, { signal }));
      if (isOn(status.exited)) return endedOf(status, clock.nowMs());
      lost = 0;
    } catch (error) {
      if (signal.aborted) throw error;
      if (lost > 0 && isForgotten(error)) return lostEnd(clock.nowMs());
      // It moves, or the cluster is away for a while: the command runs on.
      const mayPass = isKind(error, 'unavailable', 'deadline-exceeded', 'aborted', 'not-found');
      lost += 1;
      if (!mayPass || lost > lostMax) throw error;
    }
  }
}

const isForgotten = (error: unknown): boolean => /PID \S+ does not exist/i.test(String(error));

interface ExecStatus {
  readonly exited?: unknown;
  readonly exitcode?: unknown;
  readonly signal?: unknown;
  readonly 'out-data'?: unknown;
  readonly 'err-data'?: unknown;
  readonly 'out-truncated'?: unknown;
  readonly 'err-truncated'?: unknown;
}

const statusOf = (answer: unknown): ExecStatus =>
  typeof answer === 'object' && answer !== null ? answer : {};

function endedOf(status: ExecStatus, atMs: number): Ended {
  const bySignal = numberOf(status.signal);
  const code = bySignal > 0 ? 128 + bySignal : numberOf(status.exitcode, -1);
  const short = [
    ...(isOn(status['out-truncated']) ? ['output'] : []),
    ...(isOn(status['err-truncated']) ? ['messages'] : []),
  ];
  return {
    stdout: bytesOf(status['out-data']),
    stderr: bytesOf(status['err-data']),
    exit: { code: Math.max(0, code), unknown: code < 0, outOfMemory: false, atMs },
    missing:
      short.length === 0 ? '' : `the guest agent kept only the beginning of its ${short.join(' and ')}`,
  };
}

const lostEnd = (atMs: number): Ended => ({
  stdout: Buffer.alloc(0),
  stderr: Buffer.alloc(0),
  exit: { code: 0, unknown: true, outOfMemory: false, atMs },
  missing: 'it has ended, and the answer that told how was lost',
});

/** Bytes come as one character each, unless somebody on the way took them for UTF-8 already. */
function bytesOf(value: unknown): Buffer {
  if (typeof value !== 'string') return Buffer.alloc(0);
  const bytes = Buffer.from(value, 'latin1');
  return bytes.toString('latin1') === value ? bytes : Buffer.from(value);
}

/** All of an input, once it has ended. */
function gatherInput() {
  const parts: Uint8Array[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  // Whoever asks for it is told; nobody asks where the channel is closed first.
  promise.catch(() => undefined);
  let bytes = 0;
  return {
    take(item: ExecInput): void {
      if (item.kind === 'stdin-end') resolve(Buffer.concat(parts));
      if (item.kind !== 'stdin') return;
      bytes += item.data.length;
      if (bytes > inputMaxBytes) {
        const message = `the guest agent takes ${inputMaxBytes} bytes of input; there are more`;
        const tooMuch = new DroverError('resource-exhausted', message);
        reject(tooMuch);
        throw tooMuch;
      }
      parts.push(item.data);
    },
    whole(signal: AbortSignal): Promise<Buffer> {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      if (signal.aborted) reject(signal.reason as Error);
      return promise;
    },
  };
}
