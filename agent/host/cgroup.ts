import { existsSync, readdirSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import { createCgroupControl, quotaUsOf, thawWithin, type CgroupControl } from './cgroup-control.ts';
import {
  childrenOf,
  cpuPeriodUs,
  readNumber,
  readText,
  tryWrite,
  type CgroupLimits,
} from './cgroup-files.ts';
import { processesBelow } from './cgroup-members.ts';
import { removeGroups } from './cgroup-tree.ts';

export type { CgroupLimits } from './cgroup-files.ts';

/**
 * The cgroups of our guests, each `PREFIX/NAME`: the truth about what lives. Version 1, 2 and hybrid hosts.
 * Reads are synchronous: the kernel answers from memory, and an inspect must not queue behind disk work.
 */
export interface Cgroups extends CgroupControl {
  /** As OCI writes it: from the root of each hierarchy. */
  path(name: string): string;
  /** Empty when nothing lives, or there is no such group. */
  processes(name: string): number[];
  /** As read back; zero where there is no limit. Undefined when there is no such group. */
  limits(name: string): CgroupLimits | undefined;
  /** Whether the kernel ever killed something in it for want of memory. */
  outOfMemory(name: string): boolean;
  /**
   * Kills until nothing lives. deadline-exceeded: something survives, as a process in uninterruptible sleep
   * does.
   */
  kill(name: string, timeoutMs: number): Promise<void>;
  /** Removes the empty group from every hierarchy. Succeeds when there is none. */
  remove(name: string): Promise<void>;
  /** Whether any hierarchy has the group, with or without processes. */
  exists(name: string): boolean;
  /** Names of the groups below the prefix. */
  list(): string[];
  /** Removes the groups of the prefix themselves, as far as nothing is left in them. */
  leave(): Promise<void>;
  /** Whether swap can be limited together with memory. */
  readonly limitsSwap: boolean;
  /** What keeps this host from running guests, for people; empty when all is well. */
  fault(): string;
}

const mib = 1024 * 1024;

export function createCgroups(options: {
  readonly clock: Clock;
  /** Ours alone, such as "/drover-1a2b3c4d". */
  readonly prefix: string;
  readonly root?: string;
}): Cgroups {
  const { clock, prefix, root = '/sys/fs/cgroup' } = options;
  if (!/^\/drover-[a-z0-9-]+$/.test(prefix)) throw new Error(`cgroup prefix ${prefix} is not "/drover-…"`);
  const unified = existsSync(path.join(root, 'cgroup.controllers'));
  const known = new Set<string>();
  const isHierarchy = (directory: string): boolean => {
    if (known.has(directory)) return true;
    if (!existsSync(path.join(directory, 'cgroup.procs'))) return false;
    known.add(directory);
    return true;
  };
  const hierarchies = (): string[] => {
    if (unified) return [root];
    // Some may be mounted while we run.
    return readdirSync(root)
      .map((name) => path.join(root, name))
      .filter(isHierarchy);
  };
  // The same controller may be mounted as "cpu", "cpu,cpuacct" and a link from one to the other.
  const groupOf = (controller: string, name: string): string =>
    unified ? path.join(root, prefix, checkName(name)) : path.join(root, controller, prefix, checkName(name));
  const control = createCgroupControl(clock, { unified, groupOf });
  const groups = (name: string): string[] => hierarchies().map((top) => path.join(top, prefix, name));

  const placeOf = (name: string): string => `${prefix}/${checkName(name)}`;
  const processes = (name: string): number[] => processesBelow(groupOf('pids', name), placeOf(name));

  async function killOnce(name: string): Promise<number> {
    const own = groups(name).filter((group) => existsSync(group));
    if (own.length === 0) return 0;
    if (unified && (await tryWrite(path.join(groupOf('', name), 'cgroup.kill'), '1'))) {
      return processes(name).length;
    }
    const living = (): Set<number> => new Set(own.flatMap((group) => processesBelow(group, placeOf(name))));
    if (living().size === 0) return 0;
    const freezer = path.join(groupOf('freezer', name), unified ? 'cgroup.freeze' : 'freezer.state');
    // Frozen, so that nothing forks between the look and the signal.
    await tryWrite(freezer, unified ? '1' : 'FROZEN');
    const pids = living();
    for (const pid of pids) killProcess(pid);
    thawWithin({ unified, groupOf }, name);
    return pids.size;
  }

  const limits = (name: string): CgroupLimits | undefined => {
    checkName(name);
    const read = (controller: string, file: string) => readNumber(path.join(groupOf(controller, name), file));
    const pids = read('pids', 'pids.max');
    if (pids === undefined) return undefined;
    const memory = read('memory', unified ? 'memory.max' : 'memory.limit_in_bytes') ?? 0;
    const cpu = unified
      ? millicoresOfMax(readText(path.join(groupOf('', name), 'cpu.max')))
      : millicores(read('cpu', 'cpu.cfs_quota_us') ?? 0, read('cpu', 'cpu.cfs_period_us') ?? cpuPeriodUs);
    return { pids, memoryMib: Math.floor(memory / mib), cpuMillicores: cpu };
  };

  return {
    ...control,
    path: placeOf,
    processes,
    limitsSwap: unified || existsSync(path.join(root, 'memory', 'memory.memsw.limit_in_bytes')),
    limits,
    async setLimits(name, wanted) {
      await control.setLimits(checkName(name), wanted);
      const found = limits(name);
      const cpuMillicores =
        wanted.cpuMillicores === 0 ? 0 : millicores(quotaUsOf(wanted.cpuMillicores), cpuPeriodUs);
      if (
        found?.memoryMib === wanted.memoryMib &&
        found.pids === wanted.pids &&
        found.cpuMillicores === cpuMillicores
      )
        return;
      const message = `wanted the limits ${JSON.stringify(wanted)}, the kernel says ${JSON.stringify(found)}`;
      throw new DroverError('internal', message, { subject: { cgroup: name } });
    },
    outOfMemory: (name) => {
      const file = unified ? 'memory.events' : 'memory.oom_control';
      const text = readText(path.join(groupOf('memory', checkName(name)), file)) ?? '';
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0) > 0;
    },
    async kill(name, timeoutMs) {
      checkName(name);
      const endMs = clock.monotonicMs() + timeoutMs;
      for (let waitMs = 1; (await killOnce(name)) > 0; waitMs = Math.min(50, waitMs * 2)) {
        if (clock.monotonicMs() > endMs) {
          const pids = processes(name).join(', ');
          const message = `processes ${pids} of ${name} survive SIGKILL for ${timeoutMs} ms`;
          throw new DroverError('deadline-exceeded', message, { subject: { cgroup: name } });
        }
        await clock.sleep(waitMs);
      }
    },
    async remove(name) {
      await Promise.all(groups(checkName(name)).map((group) => removeTree(group, clock)));
    },
    exists: (name) => groups(checkName(name)).some((group) => existsSync(group)),
    list: () => [...new Set(hierarchies().flatMap((top) => childrenOf(path.join(top, prefix))))].sort(),
    async leave() {
      // A group that still holds guests is busy and stays.
      for (const top of hierarchies()) await rmdir(path.join(top, prefix)).catch(() => {});
    },
    fault: () => (unified ? '' : hybridFault(root)),
  };
}

/**
 * crun makes plain directories, and limits nothing, where a controller is bound but not mounted in its
 * place.
 */
function hybridFault(root: string): string {
  const bound = (readText('/proc/self/cgroup') ?? '')
    .split('\n')
    .flatMap((line) => line.split(':')[1]?.split(',') ?? [])
    .filter((controller) => controller !== '' && !controller.startsWith('name='));
  const missing = bound.filter((controller) => !existsSync(path.join(root, controller, 'cgroup.procs')));
  if (missing.length > 0) {
    const place = path.join(root, missing[0] ?? '');
    const command = `mkdir -p ${place} && mount -t cgroup -o ${missing[0]} cgroup ${place}`;
    return `cgroup controllers are bound but not mounted: ${missing.join(', ')}; run: ${command}`;
  }
  const left = (readText(path.join(root, 'unified', 'cgroup.controllers')) ?? '').trim();
  if (left === '') return '';
  const place = path.join(root, left.split(' ')[0] ?? '');
  const command = `mkdir -p ${place} && mount -t cgroup -o ${path.basename(place)} cgroup ${place}`;
  return `crun refuses hybrid cgroups while version 2 holds controllers (${left}); run: ${command}`;
}

function checkName(name: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,40}$/.test(name)) {
    throw new DroverError('invalid-argument', `${JSON.stringify(name)} is no name of a cgroup of ours`);
  }
  return name;
}

/** The kernel lets go of a group some moments after its last process: EBUSY passes. */
async function removeTree(group: string, clock: Clock): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await rmdir(group);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY' || attempt > 20) {
        throw new DroverError('unavailable', `cgroup ${group} cannot be removed: ${code}`, { cause: error });
      }
    }
    // Busy by what is in it, or by what was.
    let left = removeGroups(group);
    for (; left === 'more'; left = removeGroups(group)) await clock.turn();
    if (left === 'gone') return;
    await clock.sleep(10);
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

const millicores = (quotaUs: number, periodUs: number): number =>
  quotaUs > 0 ? Math.round((quotaUs * 1000) / periodUs) : 0;

function millicoresOfMax(text: string | undefined): number {
  const [quota, period] = (text ?? 'max').trim().split(' ');
  return quota === 'max' ? 0 : millicores(Number(quota), Number(period ?? cpuPeriodUs));
}
