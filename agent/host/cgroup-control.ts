import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import {
  cpuPeriodUs,
  readNumber,
  readText,
  readValue,
  tryWrite,
  tryWriteNow,
  writing,
  type CgroupLimits,
  type CgroupTree,
} from './cgroup-files.ts';
import { visitGroups } from './cgroup-tree.ts';

/** What lives in a group, as the kernel counts it. */
export interface CgroupUsage {
  /** Since the group was made. */
  readonly cpuUs: number;
  /** File caches left out: the kernel drops them before it kills. */
  readonly memoryBytes: number;
  /** Threads, as the limit counts them. */
  readonly pids: number;
}

/** The part of Cgroups that changes a group in which something lives. */
export interface CgroupControl {
  /**
   * Stands all of it still; succeeds when it does already. failed-precondition: there is no such group.
   * deadline-exceeded: something cannot be frozen, and all of it goes on.
   */
  freeze(name: string): Promise<void>;
  /** Lets it go on. Succeeds when it does, or when there is no such group. */
  thaw(name: string): Promise<void>;
  /** Whether it was told to stand still. False when there is no such group. */
  isFrozen(name: string): boolean;
  /**
   * Zero means no limit. failed-precondition: there is no such group, or it uses more memory than that,
   * and then nothing is changed. internal: the kernel reads back something else.
   */
  setLimits(name: string, limits: CgroupLimits): Promise<void>;
  /** Undefined when there is no such group. */
  usage(name: string): CgroupUsage | undefined;
}

const freezeTimeoutMs = 5000;
const mib = 1024 * 1024;
/** The kernel takes no smaller quota. */
const minQuotaUs = 1000;

/** CPU time in each period, for both versions of cgroups. */
export const quotaUsOf = (cpuMillicores: number): number =>
  Math.max(minQuotaUs, Math.round((cpuMillicores * cpuPeriodUs) / 1000));

/** Weight against neighbours, in the words of version 1. */
export const sharesOf = (cpuMillicores: number): number =>
  Math.max(2, Math.min(262_144, Math.round((cpuMillicores * 1024) / 1000)));

export function createCgroupControl(clock: Clock, tree: CgroupTree): CgroupControl {
  return tree.unified ? version2(clock, tree) : version1(clock, tree);
}

function version1(clock: Clock, { groupOf }: CgroupTree): CgroupControl {
  const file = (controller: string, name: string, key: string): string =>
    path.join(groupOf(controller, name), `${controller}.${key}`);
  const state = (name: string): string | undefined => readText(file('freezer', name, 'state'))?.trim();
  const thaw = async (name: string): Promise<void> =>
    void (await tryWrite(file('freezer', name, 'state'), 'THAWED'));
  const usage = (name: string): CgroupUsage | undefined => {
    const pids = readNumber(file('pids', name, 'current'));
    if (pids === undefined) return undefined;
    const caches = ['total_inactive_file', 'total_active_file'];
    const used = readNumber(file('memory', name, 'usage_in_bytes')) ?? 0;
    const cpuNs = readNumber(file('cpuacct', name, 'usage')) ?? 0;
    const memoryBytes = withoutCaches(used, file('memory', name, 'stat'), caches);
    return { pids, memoryBytes, cpuUs: Math.floor(cpuNs / 1000) };
  };

  /** The kernel holds memory and memory with swap to "first ≤ second" after every single write. */
  async function setMemory(name: string, bytes: number): Promise<void> {
    const text = bytes === 0 ? '-1' : `${bytes}`;
    const [own, withSwap] = [
      file('memory', name, 'limit_in_bytes'),
      file('memory', name, 'memsw.limit_in_bytes'),
    ];
    const [ownBefore, withSwapBefore] = [readText(own)?.trim(), readText(withSwap)?.trim()];
    if (withSwapBefore === undefined) return write(own, text);
    const isRaised = bytes === 0 || bytes >= Number(withSwapBefore);
    const [first, second] = isRaised ? [withSwap, own] : [own, withSwap];
    await write(first, text);
    try {
      await write(second, text);
    } catch (error) {
      await write(first, (isRaised ? withSwapBefore : ownBefore) ?? '-1');
      throw error;
    }
  }

  return {
    freeze: async (name) => {
      const request = (): Promise<boolean> => tryWrite(file('freezer', name, 'state'), 'FROZEN');
      await untilFrozen(clock, name, { request, isDone: () => state(name) === 'FROZEN', thaw });
    },
    thaw,
    // Also while it is on its way: what was told to freeze is not to be taken for running.
    isFrozen: (name) => ['FROZEN', 'FREEZING'].includes(state(name) ?? ''),
    usage,
    async setLimits(name, limits) {
      checkMemory(name, usage(name), limits.memoryMib);
      await settingMemory(name, limits, usage, () => setMemory(name, limits.memoryMib * mib));
      const { cpuMillicores, pids } = limits;
      await tryWrite(file('cpu', name, 'cfs_period_us'), `${cpuPeriodUs}`);
      await write(
        file('cpu', name, 'cfs_quota_us'),
        `${cpuMillicores === 0 ? -1 : quotaUsOf(cpuMillicores)}`,
      );
      await write(file('cpu', name, 'shares'), `${cpuMillicores === 0 ? 1024 : sharesOf(cpuMillicores)}`);
      await write(file('pids', name, 'max'), pids === 0 ? 'max' : `${pids}`);
    },
  };
}

function version2(clock: Clock, { groupOf }: CgroupTree): CgroupControl {
  const file = (name: string, key: string): string => path.join(groupOf('', name), key);
  const thaw = async (name: string): Promise<void> => void (await tryWrite(file(name, 'cgroup.freeze'), '0'));
  const usage = (name: string): CgroupUsage | undefined => {
    const pids = readNumber(file(name, 'pids.current'));
    if (pids === undefined) return undefined;
    const used = readNumber(file(name, 'memory.current')) ?? 0;
    const memoryBytes = withoutCaches(used, file(name, 'memory.stat'), ['inactive_file', 'active_file']);
    return { pids, memoryBytes, cpuUs: readValue(file(name, 'cpu.stat'), 'usage_usec') };
  };
  return {
    freeze: async (name) => {
      const request = (): Promise<boolean> => tryWrite(file(name, 'cgroup.freeze'), '1');
      const isDone = (): boolean => readValue(file(name, 'cgroup.events'), 'frozen') === 1;
      await untilFrozen(clock, name, { request, isDone, thaw });
    },
    thaw,
    isFrozen: (name) => readNumber(file(name, 'cgroup.freeze')) === 1,
    usage,
    async setLimits(name, limits) {
      checkMemory(name, usage(name), limits.memoryMib);
      const { cpuMillicores, memoryMib, pids } = limits;
      await settingMemory(name, limits, usage, async () => {
        await write(file(name, 'memory.max'), memoryMib === 0 ? 'max' : `${memoryMib * mib}`);
        // Not there on a kernel without swap accounting.
        await tryWrite(file(name, 'memory.swap.max'), memoryMib === 0 ? 'max' : '0');
      });
      const quota = cpuMillicores === 0 ? 'max' : `${quotaUsOf(cpuMillicores)}`;
      await write(file(name, 'cpu.max'), `${quota} ${cpuPeriodUs}`);
      const weight = 1 + Math.floor(((sharesOf(cpuMillicores) - 2) * 9999) / 262_142);
      await tryWrite(file(name, 'cpu.weight'), `${cpuMillicores === 0 ? 100 : weight}`);
      await write(file(name, 'pids.max'), pids === 0 ? 'max' : `${pids}`);
    },
  };
}

/**
 * Version 1 lets SIGKILL wait until a frozen process is thawed, also one that the guest froze itself in a
 * group of its own.
 */
export function thawWithin(tree: CgroupTree, name: string): void {
  const [controller, key, text] = tree.unified
    ? ['', 'cgroup.freeze', '0']
    : ['freezer', 'freezer.state', 'THAWED'];
  visitGroups(tree.groupOf(controller, name), (place) => void tryWriteNow(path.join(place, key), text));
}

async function untilFrozen(
  clock: Clock,
  name: string,
  freezer: {
    request(): Promise<boolean>;
    isDone(): boolean;
    thaw(name: string): Promise<void>;
  },
): Promise<void> {
  const subject = { cgroup: name };
  const endMs = clock.monotonicMs() + freezeTimeoutMs;
  for (let waitMs = 1; ; waitMs = Math.min(20, waitMs * 2)) {
    // Said again each time: version 1 forgets processes that were just being made.
    if (!(await freezer.request()))
      throw new DroverError('failed-precondition', `nothing lives in ${name}`, { subject });
    if (freezer.isDone()) return;
    if (clock.monotonicMs() > endMs) break;
    await clock.sleep(waitMs);
  }
  await freezer.thaw(name);
  const why = 'as when a process waits for a disk';
  const message = `${name} could not be frozen within ${freezeTimeoutMs} ms, ${why}`;
  throw new DroverError('deadline-exceeded', message, { subject });
}

function withoutCaches(usedBytes: number, statFile: string, keys: readonly string[]): number {
  const caches = keys.reduce((sum, key) => sum + readValue(statFile, key), 0);
  return Math.max(0, usedBytes - caches);
}

/** Version 2 would kill processes to come below the new limit. */
function checkMemory(name: string, usage: CgroupUsage | undefined, memoryMib: number): void {
  if (usage === undefined) {
    throw new DroverError('failed-precondition', `nothing lives in ${name}`, { subject: { cgroup: name } });
  }
  if (memoryMib > 0 && usage.memoryBytes > memoryMib * mib) throw tooSmall(name, usage, memoryMib);
}

async function settingMemory(
  name: string,
  { memoryMib }: CgroupLimits,
  usage: (name: string) => CgroupUsage | undefined,
  set: () => Promise<void>,
): Promise<void> {
  try {
    await set();
  } catch (error) {
    const used = usage(name);
    const isBusy = (error as { readonly cause?: NodeJS.ErrnoException }).cause?.code === 'EBUSY';
    if (isBusy && used !== undefined) throw tooSmall(name, used, memoryMib);
    throw error;
  }
}

function tooSmall(name: string, { memoryBytes }: CgroupUsage, memoryMib: number): DroverError {
  const used = Math.ceil(memoryBytes / mib);
  const message = `wanted a limit of ${memoryMib} MiB of memory, ${used} MiB are in use`;
  return new DroverError('failed-precondition', message, { subject: { cgroup: name } });
}

async function write(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: writing });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const place = path.basename(file);
    if (code === 'ENOENT' || code === 'ENODEV') {
      throw new DroverError('failed-precondition', `its cgroup has no ${place} (any more)`, { cause });
    }
    throw new DroverError('internal', `${place} does not take ${text}: ${code}`, { cause });
  }
}
