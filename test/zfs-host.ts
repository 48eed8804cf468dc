/**
 * A ZFS host of its own: a zfs-fuse daemon in a mount namespace with a private /run and /var/lib/zfs, and a
 * pool on a file. Its mounts show here as well, below `mounts`, because that directory is shared with it.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '#shared/clock.ts';
import { systemRandom } from '#shared/random.ts';
import { createHostCommands, type HostCommands } from '../agent/host/command.ts';
import { until } from './until.ts';

const runFile = promisify(execFile);
const insideTools = new Set(['zfs', 'zpool']);

export interface ZfsHost extends AsyncDisposable {
  readonly pool: string;
  /** Shared with the daemon's mount namespace; others can pass. */
  readonly directory: string;
  /** As on the host itself: zfs and zpool are run beside the daemon. */
  readonly run: HostCommands['run'];
  readonly start: HostCommands['start'];
  /** Of a process in the daemon's mount namespace. */
  readonly pid: () => number;
  /** zfs, as a person would call it there; its output. */
  zfs(...args: readonly string[]): Promise<string>;
  zpool(...args: readonly string[]): Promise<string>;
  /** kill -9, and nothing more. */
  killDaemon(): Promise<void>;
  startDaemon(): Promise<void>;
  signalDaemon(signal: 'SIGSTOP' | 'SIGCONT'): void;
}

export interface ZfsHostOptions {
  readonly sizeMib?: number;
  /** The pool's file lies on a disk of so many MiB. */
  readonly diskMib?: number;
}

export async function openZfsHost(options: ZfsHostOptions = {}): Promise<ZfsHost> {
  const { sizeMib = 512, diskMib } = options;
  const folder = mkdtempSync(path.join(tmpdir(), 'drover-zfs-'));
  chmodSync(folder, 0o711);
  const directory = path.join(folder, 'mounts');
  for (const name of ['run/zfs', 'run/lock', 'cache', 'disk', 'mounts'])
    mkdirSync(path.join(folder, name), { recursive: true, mode: 0o711 });
  execFileSync('mount', ['--bind', directory, directory]);
  execFileSync('mount', ['--make-private', directory]);
  execFileSync('mount', ['--make-shared', directory]);
  const pool = `drover-${systemRandom.uuidV4().slice(0, 8)}`;
  const disk = path.join(folder, 'disk');
  if (diskMib !== undefined)
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${diskMib}M`, 'drover-zfs', disk]);
  const file = path.join(disk, 'pool');
  writeFileSync(file, '');
  truncateSync(file, sizeMib * 1024 * 1024);
  let holder = 0;
  let pid = 0;

  const inside = (tool: string, args: readonly string[]): [string, ...string[]] => [
    'nsenter',
    `--mount=/proc/${holder}/ns/mnt`,
    '--',
    tool,
    ...args,
  ];
  async function ask(tool: string, args: readonly string[]): Promise<string> {
    const [command, ...rest] = inside(tool, args);
    return (await runFile(command, rest)).stdout;
  }

  /** The namespace outlives its daemon, as a host does. */
  async function holdNamespace(): Promise<number> {
    const script = path.join(folder, 'hold.sh');
    const parts = [
      'mount --make-private /',
      `mount --bind ${folder}/run /run`,
      `mount --bind ${folder}/cache /var/lib/zfs`,
      `touch ${folder}/held`,
      'exec sleep infinity',
    ];
    writeFileSync(script, `set -e\n${parts.join('\n')}\n`);
    const args = ['-m', '--propagation', 'unchanged', 'sh', script];
    const child = spawn('unshare', args, { stdio: 'ignore', detached: true });
    child.unref();
    await until(() => existsSync(path.join(folder, 'held')), { what: 'a mount namespace' });
    return child.pid ?? 0;
  }

  async function startDaemon(): Promise<void> {
    rmSync(path.join(folder, 'run/zfs'), { recursive: true, force: true });
    mkdirSync(path.join(folder, 'run/zfs'));
    const log = openSync(path.join(folder, 'daemon.log'), 'a');
    const [command, ...args] = inside('zfs-fuse', ['-n', '--no-kstat-mount']);
    const child = spawn(command, args, { stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    child.unref();
    pid = child.pid ?? 0;
    const answer = (): Promise<string | undefined> =>
      ask('zpool', ['list', '-H', '-o', 'name']).catch(() => undefined);
    const what = `zfs-fuse to answer (apt-get install zfs-fuse); ${folder}/daemon.log`;
    await until(async () => (await answer()) !== undefined, { what });
  }

  async function kill(ended: number): Promise<void> {
    if (ended === 0) return;
    try {
      process.kill(ended, 'SIGKILL');
    } catch {}
    await until(() => isGone(ended), { what: `process ${ended} to end` });
  }

  async function killDaemon(): Promise<void> {
    await kill(pid);
    pid = 0;
  }

  async function dispose(): Promise<void> {
    if (pid !== 0) process.kill(pid, 'SIGCONT');
    await killDaemon();
    await kill(holder);
    await until(() => unmountBelow(folder), {
      what: `nothing to be mounted below ${folder}`,
      deadlineMs: 30_000,
    });
    rmSync(folder, { recursive: true, force: true });
  }

  const commands = createHostCommands({ clock: systemClock });
  const host: ZfsHost = {
    pool,
    directory,
    pid: () => holder,
    zfs: (...args) => ask('zfs', args),
    zpool: (...args) => ask('zpool', args),
    run(tool, args, runOptions) {
      if (!insideTools.has(tool)) return commands.run(tool, args, runOptions);
      const [command, ...rest] = inside(tool, args);
      return commands.run(command, rest, runOptions);
    },
    start(tool, args, startOptions) {
      if (!insideTools.has(tool)) return commands.start(tool, args, startOptions);
      const [command, ...rest] = inside(tool, args);
      return commands.start(command, rest, startOptions);
    },
    killDaemon,
    startDaemon,
    signalDaemon: (signal) => void process.kill(pid, signal),
    [Symbol.asyncDispose]: dispose,
  };
  try {
    holder = await holdNamespace();
    await startDaemon();
    // Forgetting a private /var/lib/zfs would make a second daemon take everyone's pools.
    const there = (await host.zpool('list', '-H', '-o', 'name')).trim();
    if (!['', 'no pools available'].includes(there)) throw new Error(`a new daemon knows pools: ${there}`);
    await host.zpool('create', '-m', 'none', '-o', 'ashift=12', pool, file);
    return host;
  } catch (error) {
    await dispose();
    throw error;
  }
}

function isGone(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return true;
  }
}

/** True when there is nothing left. */
function unmountBelow(folder: string): boolean {
  const targets = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => target.startsWith(`${folder}/`));
  for (const target of targets.toReversed()) {
    try {
      execFileSync('umount', ['-l', target], { stdio: 'ignore' });
    } catch {}
  }
  return targets.length === 0;
}
