/**
 * Finds and removes what a fleet under a folder left on this machine: processes, cgroups, mounts, datasets,
 * interfaces and packet filter rules of its hosts, and nobody else's.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmdirSync } from 'node:fs';
import path from 'node:path';

const cgroupRoot = '/sys/fs/cgroup';

/** One host of the fleet. Its interfaces, rules and mounts end with it; they are told of all the same. */
export interface SweptHost {
  readonly stateDir: string;
  /** Of a process in its namespaces. */
  readonly pid: number;
}

/**
 * What was found and removed, as text for people. Empty where everything had been cleaned up as it should be.
 */
export function sweep(folder: string, hosts: readonly SweptHost[]): readonly string[] {
  const groups = hosts.flatMap(({ stateDir }) => guestGroups(stateDir));
  // Each is there once in every hierarchy.
  const names = new Set(
    groups.map((group) => path.relative(cgroupRoot, group).split('/').slice(1).join('/')),
  );
  const found = [...names].map((name) => `cgroup ${name}`);
  for (const group of groups) removeGroup(group);
  for (const { stateDir } of hosts) for (const group of ownGroups(stateDir)) removeGroup(group);
  for (const pid of monitorsOf(folder)) {
    found.push(`process ${pid}`);
    kill(pid);
  }
  for (const { stateDir, pid } of hosts) {
    found.push(...linksOf(pid), ...rulesOf(pid));
    for (const target of mountsUnder(stateDir, pid)) {
      found.push(`mount ${target}`);
      execFileSync('nsenter', ['-t', `${pid}`, '-m', '--', 'umount', '-l', target]);
    }
  }
  return found;
}

/** The groups above those of guests: of crun, of LXC and of LXC's monitors, in every hierarchy. */
function ownGroups(stateDir: string): string[] {
  const file = path.join(stateDir, 'incarnation');
  if (!existsSync(file)) return [];
  const name = `drover-${readFileSync(file, 'utf8').trim().slice(0, 8)}`;
  const hierarchies = existsSync(path.join(cgroupRoot, 'cgroup.procs')) ? ['.'] : readdirSync(cgroupRoot);
  return hierarchies
    .flatMap((each) => ['', '-lxc', '-lxc-monitor'].map((kind) => path.join(cgroupRoot, each, name + kind)))
    .filter((group) => existsSync(group));
}

/** Cgroups of guests that a host with this state directory has, in every hierarchy. */
export const guestGroups = (stateDir: string): string[] =>
  ownGroups(stateDir).flatMap((top) =>
    readdirSync(top, { withFileTypes: true })
      .filter((one) => one.isDirectory())
      .map((one) => path.join(top, one.name)),
  );

/** Its processes die first, then the groups below it, then it. */
export function removeGroup(group: string): void {
  for (let attempt = 0; attempt < 50 && existsSync(group); attempt += 1) {
    const pids = readOr(path.join(group, 'cgroup.procs')).split('\n').filter(Boolean);
    for (const pid of pids) kill(Number(pid));
    for (const child of readdirSync(group, { withFileTypes: true })) {
      if (child.isDirectory()) removeGroup(path.join(group, child.name));
    }
    try {
      rmdirSync(group);
    } catch {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    }
  }
}

/** Of conmon and of LXC, which names the guest's directory in its title. */
export const monitorsOf = (folder: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const line = readOr(`/proc/${pid}/cmdline`);
      return /^(\S*conmon\0|\[lxc monitor\] |\S*lxc-)/.test(line) && line.includes(`${folder}/`);
    })
    .map(Number);

/** As the host sees them, the innermost first. */
export function mountsUnder(folder: string, pid: number): string[] {
  const lines = readOr(`/proc/${pid}/mountinfo`).split('\n');
  const targets = lines
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => target.startsWith(`${folder}/`));
  return targets.sort((one, other) => other.length - one.length);
}

const inNetwork = (pid: number, tool: string, ...args: readonly string[]): string =>
  execFileSync('nsenter', ['-t', `${pid}`, '-n', '--', tool, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });

/** Interfaces of the host beside its loopback. */
export const linksOf = (pid: number): string[] =>
  (JSON.parse(inNetwork(pid, 'ip', '-j', 'link', 'show')) as { ifname: string; link_type: string }[])
    .filter(({ link_type }) => link_type !== 'loopback')
    .map(({ ifname }) => `interface ${ifname}`);

/** Tables of ours and chains of the plugins; what iptables makes empty for itself is nobody's. */
export const rulesOf = (pid: number): string[] =>
  inNetwork(pid, 'nft', 'list', 'ruleset')
    .split('\n')
    .filter((line) => /^\s*(table .*drover|chain (CNI|DROVER))/i.test(line))
    .map((line) => `rules ${line.trim()}`);

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself meanwhile.
  }
}

function readOr(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
