import { readFileSync, readdirSync, statSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import path from 'node:path';
import type { InstanceId, NetworkMode } from '#shared/model.ts';
import { checkGuestId } from './guest-id.ts';

/** What create writes down before it touches the host; enough to find, stop and remove the guest again. */
export interface GuestRecord {
  readonly id: InstanceId;
  readonly rootfs: string;
  readonly stopSignal: number;
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
  readonly workingDir: string;
  /** Undefined in what an older agent wrote: the usual ones. */
  readonly capabilities?: readonly string[];
  readonly network?: NetworkMode;
}

/** Where the driver keeps one guest. Every path is made from a checked id. */
export interface GuestPaths {
  /** Bundle of crun and home of conmon's sockets. */
  readonly directory: string;
  readonly record: string;
  readonly config: string;
  readonly resolvConf: string;
  /** One file for each device, by number. */
  readonly devices: string;
  readonly pid: string;
  readonly monitorPid: string;
  /** Its time is when the present run began. */
  readonly started: string;
  /** Its time is when the monitor was first found dead. */
  readonly lost: string;
  readonly persist: string;
  readonly control: string;
  readonly exit: string;
  readonly logDirectory: string;
  readonly log: string;
  /** crun's own state. */
  readonly crunState: string;
  /** There from create to start. */
  readonly startFifo: string;
}

export interface DriverPaths {
  readonly guests: string;
  readonly logs: string;
  readonly execs: string;
  readonly seccomp: string;
  readonly crunRoot: string;
  readonly exits: string;
  of(id: string): GuestPaths;
}

/** stateDir outlives a reboot; runDir must not. */
export function driverPaths(stateDir: string, runDir: string): DriverPaths {
  const guests = path.join(stateDir, 'guests');
  const logs = path.join(stateDir, 'guest-logs');
  const crunRoot = path.join(runDir, 'crun');
  const exits = path.join(runDir, 'exits');
  return {
    guests,
    logs,
    execs: path.join(stateDir, 'execs'),
    seccomp: path.join(stateDir, 'seccomp'),
    crunRoot,
    exits,
    of(id) {
      checkGuestId(id);
      const directory = path.join(guests, id);
      return {
        directory,
        record: path.join(directory, 'guest.json'),
        config: path.join(directory, 'config.json'),
        resolvConf: path.join(directory, 'resolv.conf'),
        devices: path.join(directory, 'devices'),
        pid: path.join(directory, 'pid'),
        monitorPid: path.join(directory, 'conmon.pid'),
        started: path.join(directory, 'started'),
        lost: path.join(directory, 'lost'),
        persist: path.join(directory, 'persist'),
        control: path.join(directory, 'ctl'),
        exit: path.join(exits, id),
        logDirectory: path.join(logs, id),
        log: path.join(logs, id, 'current.log'),
        crunState: path.join(crunRoot, id),
        startFifo: path.join(crunRoot, id, 'exec.fifo'),
      };
    },
  };
}

const absent = ['ENOENT', 'ENOTDIR', 'ESRCH'];

/** The content, or undefined when there is no such file (or no such process, below /proc). */
export function readTextIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (absent.includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/** When the file was last written, or undefined when there is none. */
export const changedAtMs = (file: string): number | undefined =>
  statSync(file, { throwIfNoEntry: false })?.mtimeMs;

export const namesIn = (directory: string): string[] => {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (absent.includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
};

/** Succeeds when there is none. */
export async function removeFile(file: string): Promise<void> {
  await unlink(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

export function readNumberIfThere(file: string): number | undefined {
  const text = readTextIfThere(file)?.trim();
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Whether the process is alive and names this bundle: a pid alone may have been given to another since. */
export function isMonitor(pid: number | undefined, bundle: string): boolean {
  if (pid === undefined) return false;
  return commandLine(pid).includes(bundle) && processState(pid) !== 'Z';
}

/**
 * All processes that name the bundle, or a file in it, as an argument: a monitor and what it has just
 * forked.
 */
export function processesOf(bundle: string): number[] {
  const within = (arg: string): boolean => arg === bundle || arg.startsWith(`${bundle}/`);
  return namesIn('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && commandLine(pid).some(within));
}

const commandLine = (pid: number): string[] => (readTextIfThere(`/proc/${pid}/cmdline`) ?? '').split('\0');

const processState = (pid: number): string =>
  /^\d+ \(.*\) (\S)/s.exec(readTextIfThere(`/proc/${pid}/stat`) ?? '')?.[1] ?? '';

/** A process that is gone already is as good as killed. */
export function killQuietly(pid: number, signalNumber: number | 'SIGKILL' = 'SIGKILL'): void {
  try {
    process.kill(pid, signalNumber);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
