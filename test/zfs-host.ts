/**
 * A ZFS host of its own: a zfs-fuse daemon in a mount namespace with a private /run and /var/lib/zfs, and a
 * pool on a file. Its mounts show here as well, below `mounts`, because that directory is shared with it.
 */
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { systemClock } from '#shared/clock.ts';
import { systemRandom } from '#shared/random.ts';
import { createHostCommands, type HostCommands } from '../agent/host/command.ts';
import { killAndWait, zfsDaemon } from '../scripts/zfs-daemon.ts';
import { until } from './until.ts';

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
  let holder = 0;

  const inside = (tool: string, args: readonly string[]): [string, ...string[]] => [
    'nsenter',
    `--mount=/proc/${holder}/ns/mnt`,
    '--',
    tool,
    ...args,
  ];

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

  const daemon = zfsDaemon({
    enter: () => ['nsenter', `--mount=/proc/${holder}/ns/mnt`, '--'],
    runDirectory: path.join(folder, 'run'),
    logFile: path.join(folder, 'daemon.log'),
  });

  async function dispose(): Promise<void> {
    await daemon.kill();
    await killAndWait(holder);
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
    zfs: (...args) => daemon.ask('zfs', ...args),
    zpool: (...args) => daemon.ask('zpool', ...args),
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
    killDaemon: daemon.kill,
    startDaemon: daemon.start,
    signalDaemon: daemon.signal,
    [Symbol.asyncDispose]: dispose,
  };
  try {
    holder = await holdNamespace();
    await daemon.start();
    await daemon.createPool(pool, path.join(disk, 'pool'), sizeMib);
    return host;
  } catch (error) {
    await dispose();
    throw error;
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
