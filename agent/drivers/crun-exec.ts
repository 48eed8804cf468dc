import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { ExitStatus, InstanceId } from '#shared/model.ts';
import type { ExecInput, ExecOutput, ExecStart, TerminalSize } from '#shared/streams.ts';
import { openAttachBridge, type AttachBridge } from './attach-bridge.ts';
import { defaultCapabilities } from './capabilities.ts';
import { execUnderMonitor, type ExecMonitor } from './conmon.ts';
import type { DriverContext, ExecSession } from './driver.ts';
import {
  changedAtMs,
  isMonitor,
  killQuietly,
  namesIn,
  processesOf,
  readNumberIfThere,
} from './guest-files.ts';
import { checkGuestId } from './guest-id.ts';
import { readGuestState, requireRecord, type HostView } from './guest-state.ts';
import { resolveUser } from './guest-user.ts';
import { tellMonitor } from './logs.ts';
import { ociProcess } from './oci-config.ts';

export interface Execs {
  exec(id: InstanceId, start: ExecStart, signal: AbortSignal): Promise<ExecSession>;
  execExit(execId: string): Promise<ExitStatus | undefined>;
}

const keptMs = 24 * 3_600_000;
const pruneEveryMs = 600_000;

/**
 * Commands inside guests. Each has a monitor and a directory of its own, so that its end is written down
 * without us.
 */
export function crunExecs(context: DriverContext, host: HostView, runtime: string): Execs {
  const { commands, clock, random } = context;
  const live = new Set<string>();
  let prunedAtMs = Number.NEGATIVE_INFINITY;
  const directoryOf = (execId: string): string => {
    checkGuestId(execId);
    return path.join(host.paths.execs, execId);
  };

  async function prune(): Promise<void> {
    if (clock.monotonicMs() - prunedAtMs < pruneEveryMs) return;
    prunedAtMs = clock.monotonicMs();
    for (const name of namesIn(host.paths.execs)) {
      const directory = directoryOf(name);
      const old = clock.nowMs() - (changedAtMs(directory) ?? 0) > keptMs;
      if (old && !live.has(name) && !monitorOf(directory))
        await rm(directory, { recursive: true, force: true });
    }
  }

  async function begin(id: InstanceId, start: ExecStart, execId: string, signal: AbortSignal) {
    const directory = directoryOf(execId);
    const processFile = path.join(directory, 'process.json');
    await mkdir(path.join(directory, 'exits'), { recursive: true, mode: 0o700 });
    await writeFile(processFile, JSON.stringify(await processSpec(host, id, start)), { mode: 0o600 });
    let bridge: AttachBridge | undefined;
    try {
      const monitor = await execUnderMonitor(
        { commands, clock },
        {
          runtime,
          id,
          crunRoot: host.paths.crunRoot,
          bundle: directory,
          pidFile: path.join(directory, 'pid'),
          monitorPidFile: path.join(directory, 'conmon.pid'),
          exitDirectory: path.join(directory, 'exits'),
          processFile,
          terminal: start.tty,
          extra: [],
        },
        async () => void (bridge = await openAttachBridge(commands, directory, signal)),
        signal,
      );
      if (bridge === undefined) throw new DroverError('internal', 'an exec without its bridge');
      return { monitor, bridge };
    } catch (error) {
      bridge?.close();
      throw error;
    } finally {
      // It holds the command's environment, which may be secret.
      await rm(processFile, { force: true });
    }
  }

  return {
    async exec(id, start, signal) {
      const { phase } = readGuestState(host, id);
      if (phase !== 'running') throw notRunning(id, phase);
      checkTexts(start);
      await prune();
      const execId = random.uuidV7();
      live.add(execId);
      try {
        const { monitor, bridge } = await begin(id, start, execId, signal);
        const readExit = (): ExitStatus | undefined => exitOf(directoryOf(execId), id);
        const over = (): void => void live.delete(execId);
        return openSession(
          { execId, directory: directoryOf(execId), start, monitor, bridge, readExit, over, clock },
          host,
          id,
        );
      } catch (error) {
        live.delete(execId);
        // Where the outcome is unknown, its monitor and a hanging crun may be at work still.
        for (const pid of processesOf(directoryOf(execId))) killQuietly(pid);
        await rm(directoryOf(execId), { recursive: true, force: true });
        throw error;
      }
    },
    async execExit(execId) {
      const directory = directoryOf(execId);
      if (!existsSync(directory)) throw new DroverError('not-found', `no exec ${execId}`);
      const found = exitOf(directory);
      if (found !== undefined) return found;
      if (live.has(execId) || monitorOf(directory)) return undefined;
      return exitOf(directory) ?? lostExit(directory);
    },
  };
}

const monitorOf = (directory: string): boolean =>
  isMonitor(readNumberIfThere(path.join(directory, 'conmon.pid')), directory);

const lostExit = (directory: string): ExitStatus => ({
  code: 0,
  unknown: true,
  outOfMemory: false,
  atMs: Math.round(changedAtMs(directory) ?? 0),
});

/** conmon names the file after the container. */
function exitOf(directory: string, id?: InstanceId): ExitStatus | undefined {
  const exits = path.join(directory, 'exits');
  const name = id ?? namesIn(exits)[0];
  const file = path.join(exits, name ?? 'none');
  const code = readNumberIfThere(file);
  if (code === undefined) return undefined;
  return { code, unknown: false, outOfMemory: false, atMs: Math.round(changedAtMs(file) ?? 0) };
}

async function processSpec(host: HostView, id: InstanceId, start: ExecStart): Promise<object> {
  const record = requireRecord(host, id);
  return ociProcess({
    args: start.command,
    env: { ...record.env, ...start.env },
    cwd: start.workingDir === '' ? record.workingDir : start.workingDir,
    capabilities: record.capabilities ?? defaultCapabilities,
    user: await resolveUser(start.user === '' ? record.user : start.user, record.rootfs),
    terminal: start.tty ? start.size : undefined,
  });
}

function checkTexts({ command, env, workingDir, user }: ExecStart): void {
  const texts = [...command, ...Object.entries(env).flat(), workingDir, user];
  if (texts.some((text) => text.includes('\0')))
    throw new DroverError('invalid-argument', 'a text holds a NUL');
  if (Object.keys(env).some((name) => name === '' || name.includes('='))) {
    throw new DroverError('invalid-argument', 'a name of an environment variable is empty or holds "="');
  }
  if (command.length === 0 || command[0] === '')
    throw new DroverError('invalid-argument', 'no command to run');
  if (workingDir !== '' && !workingDir.startsWith('/')) {
    throw new DroverError(
      'invalid-argument',
      `working directory ${JSON.stringify(workingDir)} is not absolute`,
    );
  }
}

interface Session {
  readonly execId: string;
  readonly directory: string;
  readonly start: ExecStart;
  readonly monitor: ExecMonitor;
  readonly bridge: AttachBridge;
  readExit(): ExitStatus | undefined;
  over(): void;
  readonly clock: Clock;
}

function openSession(session: Session, host: HostView, id: InstanceId): ExecSession {
  const { execId, directory, start, monitor, bridge, readExit, over, clock } = session;
  let ended = false;
  const control = path.join(directory, 'ctl');
  const exit = monitor.exitCode.then((code): ExitStatus => {
    ended = true;
    over();
    const { atMs } = lostExit(directory);
    if (code === undefined) return readExit() ?? lostExit(directory);
    return readExit() ?? { code, unknown: false, outOfMemory: false, atMs };
  });
  exit.catch(() => undefined);
  const endInput = (): void => {
    // A terminal has no half that could be closed: its end of input is a character.
    if (start.tty) void bridge.write(Uint8Array.of(4)).catch(() => undefined);
    else bridge.endInput();
  };
  const signalCommand = (signalNumber: number): void => {
    const known = host.cgroups.processes(id).includes(monitor.pid);
    if (known) killQuietly(monitor.pid, signalNumber);
  };
  if (!start.stdin && !start.tty) endInput();
  const resizer = createResizer(clock, control);
  const left = Promise.withResolvers<undefined>();

  return {
    execId,
    output: outputOf(bridge, Promise.race([exit, left.promise]), start.tty),
    async send(input: ExecInput) {
      if (ended) throw new DroverError('failed-precondition', `exec ${execId} has ended`);
      if (input.kind === 'stdin') await bridge.write(input.data);
      if (input.kind === 'stdin-end') endInput();
      if (input.kind === 'resize') resizer(input.size);
      if (input.kind === 'signal') signalCommand(checkSignal(input.signal));
    },
    close() {
      if (!ended && start.tty) signalCommand(1);
      bridge.close();
      // The command may run on; nobody waits for it here any more.
      left.resolve(undefined);
    },
  };
}

const resizeEveryMs = 50;

/** conmon 2.1 forgets the second of two sizes that come together: the last one is written after a pause. */
function createResizer(clock: Clock, control: string): (size: TerminalSize) => void {
  let wanted: TerminalSize | undefined;
  let busy = false;
  async function write(): Promise<void> {
    busy = true;
    for (let size = wanted; size !== undefined; size = wanted) {
      wanted = undefined;
      await tellMonitor(control, `1 ${Math.trunc(size.rows)} ${Math.trunc(size.columns)}\n`);
      await clock.sleep(resizeEveryMs);
    }
    busy = false;
  }
  return (size) => {
    wanted = size;
    // The terminal may be gone by now, and then nobody misses its size.
    if (!busy) void write().catch(() => undefined);
  };
}

async function* outputOf(
  bridge: AttachBridge,
  exit: Promise<ExitStatus | undefined>,
  tty: boolean,
): AsyncIterable<ExecOutput> {
  for await (const packet of bridge.packets) {
    if (packet.length < 2) continue;
    const kind = packet[0] === 3 && !tty ? 'stderr' : 'stdout';
    yield { kind, data: Uint8Array.from(packet.subarray(1)) };
  }
  const status = await exit;
  bridge.close();
  if (status !== undefined) yield { kind: 'exit', exit: status };
}

/** From 1 to 64; zero only asks and would look like success. */
export function checkSignal(signalNumber: number): number {
  if (Number.isInteger(signalNumber) && signalNumber >= 1 && signalNumber <= 64) return signalNumber;
  throw new DroverError('invalid-argument', `signal ${signalNumber}: wanted a number from 1 to 64`);
}

export const notRunning = (id: InstanceId, phase: string): DroverError =>
  new DroverError('failed-precondition', `${id} does not run: it is ${phase}`, { subject: { instance: id } });
