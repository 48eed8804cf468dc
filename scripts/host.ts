/**
 * Prepares this host for containers and takes it back: reversible, shown, and shared by everything that runs
 * here.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

const shared = '/run/drover-host-preparation';

/**
 * Mounts the v1 cgroup hierarchies that the kernel has bound and nobody has mounted: crun refuses a hybrid
 * host without them. The answer undoes it, once the last user on this host is done. `say` hears of every
 * change.
 */
export function prepareHost(say: (line: string) => void): () => void {
  const users = path.join(shared, 'users');
  const mine = path.join(users, `${process.pid}`);
  alone(() => {
    mkdirSync(users, { recursive: true, mode: 0o700 });
    writeFileSync(mine, '');
    for (const controller of unmountedHierarchies()) {
      const target = `/sys/fs/cgroup/${controller}`;
      say(`mounting the cgroup hierarchy ${controller} at ${target} (undone at the end)`);
      const made = !existsSync(target);
      mkdirSync(target, { recursive: true });
      execFileSync('mount', ['-t', 'cgroup', '-o', controller, 'cgroup', target]);
      writeFileSync(path.join(shared, `mount-${controller}`), made ? 'made' : 'found');
    }
  });
  let undone = false;
  return () => {
    if (undone) return;
    undone = true;
    alone(() => {
      rmSync(mine, { force: true });
      if (othersAreUsing(users)) return;
      for (const file of readdirSync(shared).filter((name) => name.startsWith('mount-')))
        undoMount(file, say);
      rmSync(shared, { recursive: true });
    });
  };
}

/** One process at a time: nobody may come to use what another is about to take away. */
function alone(act: () => void): void {
  const lock = `${shared}.lock`;
  const mine = `${lock}.${process.pid}`;
  writeFileSync(mine, `${process.pid}`);
  try {
    while (!linked(mine, lock)) {
      if (!existsSync(`/proc/${readFileOr(lock, 'self')}`)) rmSync(lock, { force: true });
      pause();
    }
    try {
      act();
    } finally {
      rmSync(lock);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function undoMount(file: string, say: (line: string) => void): void {
  const target = `/sys/fs/cgroup/${file.slice('mount-'.length)}`;
  say(`unmounting ${target}`);
  unmount(target);
  if (readFileSync(path.join(shared, file), 'utf8') === 'made') rmdirSync(target);
}

/** Busy for as long as anybody looks into it. */
function unmount(target: string): void {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return void execFileSync('umount', [target], { stdio: ['ignore', 'ignore', 'pipe'] });
    } catch (error) {
      if (attempt === 50 || !String(error).includes('busy')) throw error;
      pause();
    }
  }
}

const pause = (): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);

/**
 * Hierarchies to mount, each as mount wants it: "hugetlb" or "cpu,cpuacct". None on a host with cgroup v2
 * alone.
 */
function unmountedHierarchies(): string[] {
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) return [];
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const mounted = new Set(
    mounts
      .filter((line) => line.includes(' - cgroup '))
      .flatMap((line) => line.split(' ').at(-1)?.split(',') ?? []),
  );
  const bound = new Map<string, string[]>();
  for (const row of readFileSync('/proc/cgroups', 'utf8').trim().split('\n').slice(1)) {
    const [name = '', hierarchy = '0'] = row.split('\t');
    if (hierarchy !== '0') bound.set(hierarchy, [...(bound.get(hierarchy) ?? []), name]);
  }
  // What v2 still holds beside v1 makes crun refuse the host: it has to be mounted as v1 too.
  const onUnified = readFileOr('/sys/fs/cgroup/unified/cgroup.controllers', '').split(/\s+/).filter(Boolean);
  const wanted = [...bound.values(), ...onUnified.map((name) => [name])];
  return wanted.filter((names) => !names.some((name) => mounted.has(name))).map((names) => names.join(','));
}

function readFileOr(file: string, otherwise: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return otherwise;
  }
}

/** Users that died without a word count no longer. */
function othersAreUsing(users: string): boolean {
  for (const pid of readdirSync(users)) {
    if (existsSync(`/proc/${pid}`)) return true;
    rmSync(path.join(users, pid), { force: true });
  }
  return false;
}
