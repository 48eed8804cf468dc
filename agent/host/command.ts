import { execa } from 'execa';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import { createGate, createSpawnLane, type Gate } from './gate.ts';
import { gateOfTool, packageOfTool } from './known-tools.ts';
import {
  createSpawner,
  type SpawnedTool,
  type Spawner,
  type SpawnOutcome,
  type SpawnRequest,
  spawnerScript,
} from './spawner.ts';

/** What a host tool said. A non-zero exit is an answer for the driver to read, not an exception. */
export interface CommandResult {
  /** 128 + n where signal n ended it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** 60,000 where it is left out. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** In addition to PATH, LC_ALL, HOME. */
  readonly env?: Readonly<Record<string, string>>;
  /** Its standard input, without NULs. No secrets: it passes through an unnamed file in /tmp. */
  readonly input?: string;
  /** For each of standard output and error; 4 MiB where it is left out. */
  readonly maxOutputBytes?: number;
}

export type AskOptions = Pick<RunOptions, 'timeoutMs' | 'signal' | 'env'>;

/** `line` is undefined when the tool ended without one. */
export type FirstLine = { readonly line: string } | { readonly line: undefined; readonly exitCode: number };

/** 'read': a pipe that we read; 'write': one that we write. */
export type PipeUse = 'ignore' | 'read' | 'write';

export interface StartOptions {
  /** By descriptor, from 0. */
  readonly pipes: readonly PipeUse[];
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** A tool that runs beside us; it is not ended with us. */
export interface StartedCommand {
  readonly pid: number;
  /** By descriptor; throws for one that is not such a pipe. */
  readable(descriptor: number): Readable;
  writable(descriptor: number): Writable;
  /** 128 + n where signal n ended it. */
  readonly exitCode: Promise<number>;
  /** SIGKILL for its process group. */
  kill(): void;
  /** Destroys our ends of the pipes. */
  close(): void;
  /** Whether our process lives as long as it; true in the beginning. */
  keepAlive(wanted: boolean): void;
}

/**
 * HostCommands is the one door to other programs: no shell, an environment of three variables, a process
 * group of its own that is killed on timeout, bounded output.
 *
 * unavailable: the tool is not installed. deadline-exceeded: timed out or the caller gave up, so whether it
 * acted is unknown: look again. internal: more output than was allowed. invalid-argument: a NUL in an
 * argument. What only gives its output is spawned by a small process in our place (spawner.ts); of the others
 * one per turn of the event loop, because each blocks it for some milliseconds. A gate per tool.
 */
export interface HostCommands {
  /** `tool` is looked for in the search path unless it is an absolute path. */
  run(tool: string, args: readonly string[], options?: RunOptions): Promise<CommandResult>;
  /**
   * Starts a tool that runs beside us, and resolves with the first line that it writes to descriptor 3. Given
   * up, it is killed as far as it is in its own process group still.
   */
  ask(tool: string, args: readonly string[], options?: AskOptions): Promise<FirstLine>;
  /** Nothing ends it but itself or kill(). */
  start(tool: string, args: readonly string[], options: StartOptions): Promise<StartedCommand>;
  /** How often each tool was spawned so far, by its name without directory. */
  readonly spawns: ReadonlyMap<string, number>;
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export function createHostCommands(options: {
  readonly clock: Clock;
  /** Where tools are looked for. */
  readonly searchPath?: string;
}): HostCommands {
  const { clock, searchPath = defaultPath } = options;
  const spawns = new Map<string, number>();
  const gates = new Map<string, Gate>();
  const lane = createSpawnLane(clock);
  const baseEnv = { PATH: searchPath, LC_ALL: 'C', HOME: '/root' };

  const gateOf = (tool: string): Gate => {
    const name = path.basename(tool);
    const found = gates.get(name) ?? createGate(gateOfTool[name] ?? 8);
    gates.set(name, found);
    return found;
  };
  let opening: Promise<Spawner> | undefined;

  /** Anew when it has died: what it was about to do is then unknown to those who asked, and to them alone. */
  function openSpawner(): Promise<Spawner> {
    const pipes = ['write', 'read', 'ignore'] as const;
    const perl = startBeside('perl', ['-e', spawnerScript], pipes, { ...baseEnv, PATH: defaultPath });
    const opened = perl.then((started) =>
      createSpawner(started, () => {
        opening = undefined;
      }),
    );
    opened.catch(() => {
      opening = undefined;
    });
    return opened;
  }
  const begin = (tool: string, texts: readonly string[], signal: AbortSignal | undefined): void => {
    if (texts.some((text) => text.includes('\0'))) {
      throw new DroverError('invalid-argument', `an argument for ${tool} holds a NUL`);
    }
    if (signal?.aborted) throw gaveUp(tool, signal, 'it was not started');
    const name = path.basename(tool);
    spawns.set(name, (spawns.get(name) ?? 0) + 1);
  };
  const spawnAndWait = (
    mode: SpawnRequest['mode'],
    tool: string,
    args: readonly string[],
    given: RunOptions,
  ) =>
    gateOf(tool).pass(async () => {
      const { timeoutMs = 60_000, signal, env, input = '', maxOutputBytes = 4 * 1024 * 1024 } = given;
      opening ??= openSpawner();
      const spawner = await opening;
      begin(tool, [...args, input], signal);
      const request = { mode, tool, args, env: { ...baseEnv, ...env }, input, maxOutputBytes };
      const outcome = await outcomeOf(spawner.spawn(request), tool, clock.timeout(timeoutMs, signal));
      if (outcome.kind === 'fault') throw spawnError(tool, outcome);
      if (outcome.kind !== 'flood') return outcome;
      throw new DroverError('internal', `${tool} printed more than ${maxOutputBytes} bytes`);
    });

  return {
    spawns,
    async run(tool, args, runOptions = {}) {
      const outcome = await spawnAndWait('run', tool, args, runOptions);
      if (outcome.kind === 'exit') {
        const { exitCode, stdout, stderr } = outcome;
        return { exitCode, stdout, stderr };
      }
      throw new DroverError('internal', `${tool} was asked for a line`);
    },
    async ask(tool, args, askOptions = {}) {
      const outcome = await spawnAndWait('ask', tool, args, askOptions);
      if (outcome.kind === 'line') return outcome;
      return { line: undefined, exitCode: outcome.exitCode };
    },
    async start(tool, args, { pipes, env, signal }) {
      await lane.turn();
      begin(tool, args, signal);
      return startBeside(tool, args, pipes, { ...baseEnv, ...env });
    },
  };
}

/** A tool in uninterruptible sleep cannot be killed: it is left behind, not awaited. */
async function outcomeOf(spawned: SpawnedTool, tool: string, ended: AbortSignal): Promise<SpawnOutcome> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => {
    spawned.kill();
    aborted.reject(gaveUp(tool, ended, 'whether it acted is unknown'));
  };
  ended.addEventListener('abort', abort, { once: true });
  if (ended.aborted) abort();
  try {
    return await Promise.race([spawned.outcome, aborted.promise]);
  } finally {
    ended.removeEventListener('abort', abort);
  }
}

const strictly = {
  extendEnv: false,
  shell: false,
  cwd: '/',
  detached: true,
  cleanup: false,
  reject: false,
} as const;

async function startBeside(
  tool: string,
  args: readonly string[],
  pipes: readonly PipeUse[],
  env: Readonly<Record<string, string>>,
): Promise<StartedCommand> {
  const stdio = pipes.map((use) => (use === 'ignore' ? 'ignore' : 'pipe'));
  // Execa wants to know three streams at compile time; how many there are is known only here.
  const child = execa(tool, args, { ...strictly, env, buffer: false, stdio: stdio as never });
  const subprocess = child.nodeChildProcess;
  const streams = subprocess.stdio as readonly (Readable | Writable | null | undefined)[];
  // A peer that is gone shows as an end or as a rejected write; an unhandled 'error' would end the agent.
  for (const stream of streams) stream?.on('error', () => undefined);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  // Not the end of its pipes: a grandchild may hold them for as long as it likes.
  subprocess.once('exit', (code, signal) =>
    resolve(exitCodeOf({ exitCode: code ?? undefined, signal: signal ?? undefined })),
  );
  void child.then((result) => {
    if (result.exitCode === undefined && result.signal === undefined) reject(spawnError(tool, result));
  });
  promise.catch(() => undefined);
  const { pid } = subprocess;
  if (pid === undefined) {
    await promise;
    throw new DroverError('internal', `${tool} has no pid`);
  }
  const pipe = (descriptor: number, use: PipeUse): Readable & Writable => {
    const stream = streams[descriptor];
    if (pipes[descriptor] !== use || !stream) throw new Error(`descriptor ${descriptor} is no ${use} pipe`);
    return stream as Readable & Writable;
  };
  return {
    pid,
    readable: (descriptor) => pipe(descriptor, 'read'),
    writable: (descriptor) => pipe(descriptor, 'write'),
    exitCode: promise,
    kill: () => killGroup(pid),
    close: () => {
      for (const stream of streams) stream?.destroy();
    },
    keepAlive: (wanted) => {
      for (const each of [subprocess, ...streams] as readonly (Partial<Keeping> | null | undefined)[]) {
        if (wanted) each?.ref?.();
        else each?.unref?.();
      }
    },
  };
}

interface Keeping {
  ref(): void;
  unref(): void;
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function gaveUp(tool: string, signal: AbortSignal, outcome: string): DroverError {
  const timedOut = signal.reason instanceof Error && signal.reason.name === 'TimeoutError';
  const message = `${tool} ${timedOut ? 'did not end in time' : 'was given up'}; ${outcome}`;
  return new DroverError('deadline-exceeded', message, { cause: signal.reason, subject: { tool } });
}

function spawnError(
  tool: string,
  result: { readonly code?: string | undefined; readonly shortMessage?: string | undefined },
): DroverError {
  if (result.code === 'ENOENT' || result.code === 'EACCES') {
    const nextStep = `apt-get install ${packageOfTool[path.basename(tool)] ?? tool}`;
    return new DroverError('unavailable', `${tool} is not installed`, { nextStep, subject: { tool } });
  }
  const message = `${tool} could not be started: ${result.shortMessage ?? result.code ?? 'no reason given'}`;
  return new DroverError(result.code === 'EAGAIN' ? 'resource-exhausted' : 'internal', message, {
    cause: result,
  });
}

const signalNumbers: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };

const exitCodeOf = (result: {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
}): number => result.exitCode ?? 128 + (signalNumbers[result.signal ?? ''] ?? 0);
