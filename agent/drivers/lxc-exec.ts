import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DroverError, isKind } from '#shared/errors.ts';
import type { ExitStatus, InstanceId } from '#shared/model.ts';
import type { ExecInput, ExecOutput, ExecStart } from '#shared/streams.ts';
import { checkSignal, notRunning } from './crun-exec.ts';
import type { DriverContext, ExecSession } from './driver.ts';
import { changedAtMs, killQuietly, namesIn, processesOf, readTextIfThere } from './guest-files.ts';
import { checkGuestId } from './guest-id.ts';
import { resolveUser } from './guest-user.ts';
import { environment, format } from './lxc-config.ts';
import { checkTexts } from './lxc-create.ts';
import type { LxcTools } from './lxc-facts.ts';
import { lxcError } from './lxc-log.ts';
import { openLxcSession, type LxcSession, type SessionFrame } from './lxc-session.ts';
import { monitorLives, readLxcState, requireRecord, type LxcView } from './lxc-state.ts';

export interface LxcExecs {
  exec(id: InstanceId, start: ExecStart, signal: AbortSignal): Promise<ExecSession>;
  execExit(execId: string): Promise<ExitStatus | undefined>;
}

const keptMs = 24 * 3_600_000;
const pruneEveryMs = 600_000;
/** lxc-attach waits for ever for a guest that is frozen meanwhile. */
const beginTimeoutMs = 15_000;

/**
 * Commands inside guests: lxc-attach under a watcher of its own, each with a directory where its end is
 * written down without us.
 */
export function lxcExecs(context: DriverContext, view: LxcView, tools: LxcTools): LxcExecs {
  const { clock, random } = context;
  const live = new Set<string>();
  let prunedAtMs = Number.NEGATIVE_INFINITY;
  const directoryOf = (execId: string): string => {
    checkGuestId(execId);
    return path.join(view.paths.execs, execId);
  };

  async function prune(): Promise<void> {
    if (clock.monotonicMs() - prunedAtMs < pruneEveryMs) return;
    prunedAtMs = clock.monotonicMs();
    for (const name of namesIn(view.paths.execs)) {
      const directory = directoryOf(name);
      const old = clock.nowMs() - (changedAtMs(directory) ?? 0) > keptMs;
      if (old && !live.has(name) && processesOf(directory).length === 0)
        await rm(directory, { recursive: true, force: true });
    }
  }

  async function begin(id: InstanceId, start: ExecStart, directory: string, signal: AbortSignal) {
    const { args, owner } = await prepare(view, id, start, directory);
    const command = [tools.attach, '-P', view.paths.lxcPath, '-n', id, ...args];
    const size = start.tty ? start.size : undefined;
    const exitFile = path.join(directory, 'exit');
    const session = await openLxcSession(context, { kind: 'attach', owner, size, exitFile, command }, signal);
    try {
      const early = await untilBegun(session, clock.timeout(beginTimeoutMs, signal));
      const end = early.find(({ letter }) => letter === 'X')?.data.toString();
      const log =
        end === undefined || end === '0'
          ? ''
          : await readFile(path.join(directory, 'log'), 'utf8').catch(() => '');
      if (/ ERROR /.test(log)) throw lxcError('lxc-attach', log, Number(end), id);
      return { session, early };
    } catch (error) {
      await session.send('A').catch(() => undefined);
      session.close();
      throw error;
    } finally {
      // It holds the command's environment, which may be secret.
      await rm(path.join(directory, 'config'), { force: true });
    }
  }

  return {
    async exec(id, start, signal) {
      const { phase } = readLxcState(view, id);
      if (phase !== 'running') throw notRunning(id, phase);
      if (!monitorLives(view, id)) {
        const nextStep = 'restart the guest';
        throw new DroverError('unavailable', `the monitor of ${id} died, and with it the way inside`, {
          nextStep,
        });
      }
      checkStart(start);
      if (!existsSync(tools.attach))
        throw new DroverError('unavailable', `${tools.attach} is not there`, {
          nextStep: 'apt-get install lxc',
        });
      await prune();
      const execId = random.uuidV7();
      const directory = directoryOf(execId);
      await mkdir(directory, { recursive: true, mode: 0o700 });
      live.add(execId);
      try {
        const { session, early } = await begin(id, start, directory, signal);
        return openExec({ execId, directory, start, session, early, over: () => void live.delete(execId) });
      } catch (error) {
        live.delete(execId);
        for (const pid of processesOf(directory)) killQuietly(pid);
        await rm(directory, { recursive: true, force: true });
        if (isKind(error, 'failed-precondition')) throw notRunning(id, readLxcState(view, id).phase);
        throw error;
      }
    },
    async execExit(execId) {
      const directory = directoryOf(execId);
      if (!existsSync(directory)) throw new DroverError('not-found', `no exec ${execId}`);
      const found = exitOf(directory);
      if (found !== undefined) return found;
      if (live.has(execId) || processesOf(directory).length > 0) return undefined;
      return exitOf(directory) ?? lostExit(directory);
    },
  };
}

const lostExit = (directory: string): ExitStatus => ({
  code: 0,
  unknown: true,
  outOfMemory: false,
  atMs: Math.round(changedAtMs(directory) ?? 0),
});

function exitOf(directory: string): ExitStatus | undefined {
  const file = path.join(directory, 'exit');
  const text = readTextIfThere(file);
  if (text === undefined) return undefined;
  const atMs = Math.round(changedAtMs(file) ?? 0);
  return /^\d+$/.test(text)
    ? { code: Number(text), unknown: false, outOfMemory: false, atMs }
    : { ...lostExit(directory), atMs };
}

function checkStart(start: ExecStart): void {
  const { command, env, workingDir, user } = start;
  checkTexts([...command, workingDir, user], env);
  format(environment(env));
  if (command.length === 0 || command[0] === '')
    throw new DroverError('invalid-argument', 'no command to run');
  if (workingDir !== '' && !workingDir.startsWith('/')) {
    const message = `working directory ${JSON.stringify(workingDir)} is not absolute`;
    throw new DroverError('invalid-argument', message);
  }
}

/**
 * The environment goes by a file that only root reads: LXC's other two ways show it in the arguments, or make
 * it that of lxc-attach itself, a process of the host that LD_PRELOAD and its like would change.
 */
async function prepare(view: LxcView, id: InstanceId, start: ExecStart, directory: string) {
  const record = requireRecord(view, id);
  const user = await resolveUser(start.user === '' ? record.user : start.user, record.rootfs);
  const terminal: Record<string, string> = start.tty ? { TERM: 'xterm' } : {};
  const home = start.user === '' ? {} : { HOME: user.home };
  const env = { ...terminal, ...record.env, ...home, ...start.env };
  const basis = await readFile(view.paths.of(id).attachConfig, 'utf8');
  const config = path.join(directory, 'config');
  await writeFile(config, basis + format(environment(env)), { mode: 0o600 });
  const workingDir = start.workingDir === '' ? record.workingDir : start.workingDir;
  const ids = user.uid === 0 && user.gid === 0 ? [] : ['-u', `${user.uid}`, '-g', `${user.gid}`];
  const args = ['-f', config, '-o', path.join(directory, 'log'), '-l', 'ERROR', '-q', '--clear-env', ...ids];
  return {
    args: [...args, '--', ...within(workingDir, start.command)],
    owner: record.base + user.uid,
  };
}

/** lxc-attach begins in "/" and knows no other way; every root with a working directory has a shell. */
const within = (workingDir: string, command: readonly string[]): readonly string[] =>
  workingDir === '/' ? command : ['/bin/sh', '-c', 'cd -- "$0" && exec "$@"', workingDir, ...command];

/** All frames up to the one that says that the command runs, or has ended. deadline-exceeded. */
export async function untilBegun({ frames }: LxcSession, ended: AbortSignal): Promise<SessionFrame[]> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void =>
    reject(new DroverError('deadline-exceeded', 'LXC did not begin in time; whether it acted is unknown'));
  ended.addEventListener('abort', abort, { once: true });
  if (ended.aborted) abort();
  const early: SessionFrame[] = [];
  try {
    for (;;) {
      const { done, value } = await Promise.race([frames.next(), promise]);
      if (done === true) throw new DroverError('internal', 'the watcher of LXC ended without a word');
      early.push(value);
      if (value.letter === 'P' || value.letter === 'X') return early;
    }
  } finally {
    ended.removeEventListener('abort', abort);
  }
}

function openExec(opened: {
  readonly execId: string;
  readonly directory: string;
  readonly start: ExecStart;
  readonly session: LxcSession;
  readonly early: readonly SessionFrame[];
  over(): void;
}): ExecSession {
  const { execId, directory, start, session, early, over } = opened;
  let ended = early.at(-1)?.letter === 'X';
  if (!start.stdin && !start.tty) void session.send('E').catch(() => undefined);
  async function* output(): AsyncIterable<ExecOutput> {
    try {
      for await (const { letter, data } of allFrames(early, session.frames)) {
        if (letter === 'O') yield { kind: 'stdout', data: Uint8Array.from(data) };
        if (letter === 'R') yield { kind: 'stderr', data: Uint8Array.from(data) };
        if (letter !== 'X') continue;
        ended = true;
        over();
        yield { kind: 'exit', exit: exitOf(directory) ?? lostExit(directory) };
      }
    } finally {
      over();
      session.close();
    }
  }
  return {
    execId,
    output: output(),
    async send(input: ExecInput) {
      if (ended) throw new DroverError('failed-precondition', `exec ${execId} has ended`);
      if (input.kind === 'stdin') await session.send('I', input.data);
      if (input.kind === 'stdin-end') await session.send('E');
      if (input.kind === 'resize') await session.send('R', sizeText(input.size));
      if (input.kind === 'signal') await session.send('K', `${checkSignal(input.signal)}`);
    },
    close() {
      void session
        .send('H')
        .catch(() => undefined)
        .finally(() => session.close());
      over();
    },
  };
}

export const sizeText = ({ columns, rows }: ExecStart['size']): string =>
  `${Math.trunc(columns)} ${Math.trunc(rows)}`;

async function* allFrames(
  early: readonly SessionFrame[],
  rest: AsyncIterator<SessionFrame>,
): AsyncIterable<SessionFrame> {
  yield* early;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
