/**
 * A host of its own on this machine: its own network namespace, /run, /sys, boot and ZFS, and the real
 * cgroups. Its loopback reaches chosen servers of this machine through unix sockets, so that nothing but
 * loopback is ever listened on.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { hasZfsFuse, type ZfsDaemon, zfsDaemon } from './zfs-daemon.ts';

const node = path.resolve(import.meta.dirname, '../node_modules/.bin/node');
const relay = path.join(import.meta.dirname, 'relay.ts');

export interface SimulatedHost {
  readonly name: string;
  readonly folder: string;
  /** Of a process in its namespaces. */
  readonly pid: number;
  /** Its own daemon, with the one pool "tank". Undefined where zfs-fuse is not installed. */
  readonly zfs: ZfsDaemon | undefined;
  /** From now on it is another boot. */
  renewBootId(): void;
  /** Starts a program on the host. */
  spawn(
    command: readonly string[],
    options?: { readonly stdio?: 'ignore' | 'inherit' | 'pipe' },
  ): ChildProcess;
  /** Cuts every connection between the host and this machine, and lets none through until mended. */
  cut(): void;
  mend(): void;
  /** Ends the host. What still runs on it must be ended before. */
  close(): Promise<void>;
}

interface Link {
  readonly cut: () => void;
  readonly mend: () => void;
  readonly close: () => void;
}

/**
 * `ports` are this machine's loopback ports that the host finds on its own loopback under the same numbers.
 */
export async function startSimulatedHost(options: {
  readonly name: string;
  readonly folder: string;
  readonly ports: readonly number[];
  readonly poolMib?: number;
}): Promise<SimulatedHost> {
  const { name, folder, ports, poolMib = 512 } = options;
  for (const sub of ['run', 'cgroup', 'links', 'zfs', 'proc'])
    mkdirSync(path.join(folder, sub), { recursive: true, mode: 0o711 });
  const renewBootId = (): void => writeFileSync(path.join(folder, 'boot-id'), `${randomUUID()}\n`);
  renewBootId();
  const links = await Promise.all(ports.map((port) => openLink(path.join(folder, 'links', `${port}`), port)));
  execFileSync('ip', ['netns', 'add', name]);
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  const holder = spawn('nsenter', holderArgs(name, folder, ports), {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  await new Promise<void>((resolve, reject) => {
    holder.stdout.once('data', () => resolve());
    holder.once('exit', (code) =>
      reject(new Error(`the simulated host ${name} did not start: exit ${code}`)),
    );
  });
  const inside = ['-t', `${holder.pid}`, '-m', '-n', '--'];
  const zfs = hasZfsFuse() ? openZfs(folder, ['nsenter', ...inside]) : undefined;
  const host: SimulatedHost = {
    name,
    folder,
    pid: holder.pid ?? 0,
    zfs,
    renewBootId,
    spawn: (command, { stdio = 'inherit' } = {}) =>
      spawn('nsenter', [...inside, ...command], { stdio, detached: true }),
    cut: () => links.forEach((link) => link.cut()),
    mend: () => links.forEach((link) => link.mend()),
    close: async () => {
      await zfs?.close();
      holder.stdin.end();
      // It may have ended by a signal already, and then no second word of it comes.
      const lives = holder.exitCode === null && holder.signalCode === null;
      if (lives) await new Promise((resolve) => holder.once('exit', resolve));
      for (const link of links) link.close();
      execFileSync('ip', ['netns', 'delete', name]);
      rmSync(path.join(folder, 'links'), { recursive: true, force: true });
    },
  };
  try {
    await zfs?.start();
    await zfs?.createPool('tank', path.join(folder, 'tank'), poolMib);
    return host;
  } catch (error) {
    await host.close();
    throw error;
  }
}

const openZfs = (folder: string, enter: readonly string[]): ZfsDaemon =>
  zfsDaemon({
    enter: () => enter,
    runDirectory: path.join(folder, 'run'),
    logFile: path.join(folder, 'zfs-fuse.log'),
  });

/**
 * Own /sys first, so that it shows the namespace's network, then the real cgroups back into it, then own
 * /run.
 */
function holderArgs(name: string, folder: string, ports: readonly number[]): string[] {
  const script = [
    'mount --rbind /sys/fs/cgroup "$0/cgroup"',
    'mount -t sysfs -o nosuid,nodev,noexec sysfs /sys',
    'mount --rbind "$0/cgroup" /sys/fs/cgroup',
    'umount -l "$0/cgroup"',
    'mount --bind "$0/run" /run',
    // The kernel lets guests have a /proc of their own only where a whole one shows, and the next line covers
    // a part of the host's.
    'mount -t proc -o nosuid,nodev,noexec proc "$0/proc"',
    'mount --bind "$0/boot-id" /proc/sys/kernel/random/boot_id',
    ...(hasZfsFuse() ? ['mkdir -p /var/lib/zfs', 'mount --bind "$0/zfs" /var/lib/zfs'] : []),
    'exec "$@"',
  ].join(' && ');
  const enter = [`--net=/run/netns/${name}`, 'unshare', '-m', '--propagation', 'slave'];
  return [
    ...enter,
    'sh',
    '-c',
    script,
    folder,
    node,
    relay,
    path.join(folder, 'links'),
    ...ports.map(String),
  ];
}

async function openLink(socket: string, port: number): Promise<Link> {
  const open = new Set<net.Socket>();
  let passing = true;
  const server = net.createServer((inner) => {
    if (!passing) return void inner.destroy();
    const outer = net.connect({ host: '127.0.0.1', port });
    for (const [one, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      open.add(one);
      one.on('error', () => {});
      // What is still on its way to the other side gets there, unless this one broke.
      one.on('close', (hadError) => {
        open.delete(one);
        if (hadError) other.destroy();
        else other.end();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const cut = (): void => {
    passing = false;
    for (const one of open) one.destroy();
  };
  return { cut, mend: () => (passing = true), close: () => (cut(), server.close()) };
}
