/**
 * Removes what a fleet under a folder left on this machine: its processes, cgroups and mounts, and nobody
 * else's.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmdirSync } from 'node:fs';
import path from 'node:path';

const cgroupRoot = '/sys/fs/cgroup';

/**
 * What was found and removed, as text for people. Empty where everything had been cleaned up as it should be.
 */
export function sweep(folder: string, stateDirs: readonly string[]): readonly string[] {
  const found: string[] = [];
  for (const stateDir of stateDirs) found.push(...sweepCgroups(stateDir));
  for (const pid of monitorsOf(folder)) {
    found.push(`process ${pid}`);
    kill(pid);
  }
  for (const target of mountsUnder(folder)) {
    found.push(`mount ${target}`);
    execFileSync('umount', ['-l', target]);
  }
  return found;
}

function sweepCgroups(stateDir: string): string[] {
  const file = path.join(stateDir, 'incarnation');
  if (!existsSync(file)) return [];
  const name = `drover-${readFileSync(file, 'utf8').trim().slice(0, 8)}`;
  const hierarchies = existsSync(path.join(cgroupRoot, 'cgroup.procs')) ? ['.'] : readdirSync(cgroupRoot);
  return hierarchies.flatMap((hierarchy) => {
    const top = path.join(cgroupRoot, hierarchy, name);
    if (!existsSync(top)) return [];
    const groups = readdirSync(top, { withFileTypes: true }).filter((one) => one.isDirectory());
    for (const group of groups) removeGroup(path.join(top, group.name));
    removeGroup(top);
    return groups.map((group) => `cgroup ${path.join(top, group.name)}`);
  });
}

/** Its processes die first, then the groups below it, then it. */
function removeGroup(group: string): void {
  for (let attempt = 0; attempt < 50 && existsSync(group); attempt += 1) {
    const pids = readFileSync(path.join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean);
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

function monitorsOf(folder: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter(
      (pid) =>
        /^\S*conmon\0/.test(readOr(`/proc/${pid}/cmdline`)) &&
        readOr(`/proc/${pid}/cmdline`).includes(folder),
    )
    .map(Number);
}

function mountsUnder(folder: string): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const targets = lines
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => target.startsWith(`${folder}/`));
  return targets.sort((one, other) => other.length - one.length);
}

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
