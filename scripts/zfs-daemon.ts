/**
 * A zfs-fuse daemon in a mount namespace that has a /run and a /var/lib/zfs of its own: without the second it
 * would take every pool that any other daemon on this machine knows.
 */
import { execFile, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { until } from '../test/until.ts';

const runFile = promisify(execFile);
const exportMs = 10_000;

export interface ZfsDaemon {
  /** Zero while none runs. */
  pid(): number;
  /** Resolves when it answers; pools that it had are there again. */
  start(): Promise<void>;
  /** kill -9, and nothing more. */
  kill(): Promise<void>;
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
  /** As a person would call it beside the daemon; its output. */
  ask(tool: 'zfs' | 'zpool', ...args: readonly string[]): Promise<string>;
  /** The first pool of a new daemon, in a sparse file. Refuses a daemon that knows others. */
  createPool(pool: string, file: string, sizeMib: number): Promise<void>;
  /** Gives the pool back if nobody uses it, and ends. */
  close(): Promise<void>;
}

/** False as well where the host has a ZFS of its own, whose pools are nobody's to try things on. */
export const hasZfsFuse = (): boolean => existsSync('/usr/sbin/zfs-fuse');

export function zfsDaemon(options: {
  /** Leads into the namespace: "nsenter -t PID -m --". */
  readonly enter: () => readonly string[];
  /** What is /run there. */
  readonly runDirectory: string;
  readonly logFile: string;
}): ZfsDaemon {
  const { enter, runDirectory, logFile } = options;
  let pid = 0;
  let made: string | undefined;

  async function ask(tool: string, args: readonly string[], timeout = 0): Promise<string> {
    const [command = '', ...rest] = [...enter(), tool, ...args];
    return (await runFile(command, rest, { timeout, killSignal: 'SIGKILL' })).stdout;
  }

  async function start(): Promise<void> {
    // The socket of one that was killed would be taken for its own.
    rmSync(path.join(runDirectory, 'zfs'), { recursive: true, force: true });
    for (const name of ['zfs', 'lock']) mkdirSync(path.join(runDirectory, name), { recursive: true });
    const log = openSync(logFile, 'a');
    const [command, ...rest] = [...enter(), 'zfs-fuse', '-n', '--no-kstat-mount'];
    const child = spawn(command, rest, { stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    child.unref();
    pid = child.pid ?? 0;
    const answer = (): Promise<string | undefined> =>
      ask('zpool', ['list', '-H', '-o', 'name']).catch(() => undefined);
    const what = `zfs-fuse to answer (apt-get install zfs-fuse); its log is ${logFile}`;
    await until(async () => (await answer()) !== undefined, { what });
  }

  async function kill(): Promise<void> {
    await killAndWait(pid);
    pid = 0;
  }

  return {
    pid: () => pid,
    start,
    kill,
    signal: (signal) => void process.kill(pid, signal),
    ask: (tool, ...args) => ask(tool, args),
    async createPool(pool, file, sizeMib) {
      const there = (await ask('zpool', ['list', '-H', '-o', 'name'])).trim();
      if (!['', 'no pools available'].includes(there)) throw new Error(`a new daemon knows pools: ${there}`);
      writeFileSync(file, '');
      truncateSync(file, sizeMib * 1024 * 1024);
      await ask('zpool', ['create', '-m', 'none', '-o', 'ashift=12', pool, file]);
      made = pool;
    },
    async close() {
      if (pid === 0) return;
      send(pid, 'SIGCONT');
      // What is not given back goes with the file.
      if (made !== undefined) await ask('zpool', ['export', made], exportMs).catch(() => '');
      await kill();
    },
  };
}

/** Succeeds for what has ended. */
export async function killAndWait(pid: number): Promise<void> {
  if (pid === 0) return;
  send(pid, 'SIGKILL');
  await until(() => isGone(pid), { what: `process ${pid} to end`, deadlineMs: 30_000 });
}

/** To what may have ended meanwhile. */
function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {}
}

function isGone(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return true;
  }
}
