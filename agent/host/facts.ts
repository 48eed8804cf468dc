import { readFile, statfs } from 'node:fs/promises';
import os from 'node:os';
import type { Condition, NodeCapacity, NodeFacts, NodeName, PoolFacts, RuntimeFacts } from '#shared/model.ts';

/** Controllers that limits and their reading back need. */
const neededControllers = ['cpu', 'memory', 'pids'] as const;
/** Below this share of free room the node takes no new instances. */
const diskPressureShare = 0.05;
const mib = 1024 * 1024;

/** The kernel's own boot id: another one after every boot. */
export const readBootId = async (procDir = '/proc'): Promise<string> =>
  (await readFile(`${procDir}/sys/kernel/random/boot_id`, 'utf8')).trim();

export interface Cgroups {
  readonly kind: 'v1' | 'hybrid' | 'v2';
  /** Controllers that the kernel has bound to v1 but nobody has mounted, and needed ones that are nowhere. */
  readonly missing: readonly string[];
}

/**
 * How control groups are mounted, from the texts of /proc/cgroups, /proc/mounts and the root's
 * cgroup.controllers.
 */
export function readCgroups(cgroups: string, mounts: string, v2Controllers: string): Cgroups {
  const mounted = mounts.split('\n').map((line) => line.split(' '));
  const v1Options = mounted
    .filter(([, , type]) => type === 'cgroup')
    .flatMap((words) => words[3]?.split(',') ?? []);
  const v2 = mounted.some(([, , type]) => type === 'cgroup2');
  const bound = cgroups
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(/\s+/))
    .filter(([, hierarchy, , enabled]) => enabled === '1' && hierarchy !== '0')
    .map(([controller]) => controller ?? '');
  const unmounted = bound.filter((controller) => !v1Options.includes(controller));
  const onV2 = v2Controllers.split(/\s+/);
  const nowhere = neededControllers.filter((one) => !v1Options.includes(one) && !onV2.includes(one));
  const kind = v1Options.length === 0 ? 'v2' : v2 ? 'hybrid' : 'v1';
  return { kind, missing: [...new Set([...unmounted, ...nowhere])].toSorted() };
}

/** What the node is; reads files and spawns nothing. */
export async function readFacts(node: {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly agentVersion: string;
  readonly stateDir: string;
  /** "yes", or why not. */
  readonly idmappedMounts: string;
  readonly runtimes: readonly RuntimeFacts[];
  readonly pools: readonly PoolFacts[];
  /** What the network has, for people. */
  readonly network: Readonly<Record<string, string>>;
  readonly allowedDevices: readonly string[];
  readonly allowsPrivileged: boolean;
}): Promise<NodeFacts> {
  const { name, labels, agentVersion, runtimes, pools, allowedDevices, allowsPrivileged } = node;
  const disk = await statfs(node.stateDir);
  return {
    name: name as NodeName,
    labels,
    agentVersion,
    runtimes,
    pools,
    allowedDevices,
    allowsPrivileged,
    architecture: os.arch() === 'x64' ? 'amd64' : os.arch(),
    os: 'linux',
    kernel: os.release(),
    cgroups: (await findCgroups()).kind,
    cpuCount: os.cpus().length,
    memoryMib: Math.floor(os.totalmem() / mib),
    diskMib: Math.floor((disk.blocks * disk.bsize) / mib),
    extra: {
      ...node.network,
      seccomp: (await readText('/proc/sys/kernel/seccomp/actions_avail')).trim() || 'none',
      'idmapped-mounts': node.idmappedMounts,
      'user-namespaces': (await readText('/proc/sys/user/max_user_namespaces')).trim() || '0',
    },
  };
}

/** What is in use. CPU is measured from one call to the next. */
export function createCapacityReader(
  stateDir: string,
): (instances: number, pools: NodeCapacity['pools']) => Promise<NodeCapacity> {
  let last = cpuTimes();
  return async (instances, pools) => {
    const disk = await statfs(stateDir);
    const meminfo = await readText('/proc/meminfo');
    const availableKib = Number(/^MemAvailable:\s+(\d+)/m.exec(meminfo)?.[1] ?? 0);
    const now = cpuTimes();
    const total = Math.max(1, now.total - last.total);
    const busyShare = (now.busy - last.busy) / total;
    last = now;
    return {
      instances,
      pools,
      memoryAvailableMib: Math.floor(availableKib / 1024),
      diskFreeMib: Math.floor((disk.bavail * disk.bsize) / mib),
      cpuUsedMillicores: Math.max(0, Math.round(busyShare * os.cpus().length * 1000)),
    };
  };
}

/** Every condition that the agent knows of, whether it holds or not. `sinceMs` is the caller's to keep. */
export async function readConditions(
  facts: NodeFacts,
  capacity: NodeCapacity,
): Promise<Omit<Condition, 'sinceMs'>[]> {
  const { missing } = await findCgroups();
  return [
    runtimeCondition(facts.runtimes),
    {
      type: 'CgroupsIncomplete',
      holds: missing.length > 0,
      reason: missing.length > 0 ? 'ControllersMissing' : '',
      message:
        missing.length > 0
          ? `cgroup controllers not mounted: ${missing.join(', ')}; mount them below /sys/fs/cgroup`
          : '',
    },
    diskCondition(facts, capacity),
    ...poolConditions(facts, capacity),
  ];
}

function runtimeCondition(runtimes: readonly RuntimeFacts[]): Omit<Condition, 'sinceMs'> {
  const broken = runtimes.filter(({ healthy }) => !healthy);
  const holds = broken.length > 0 && broken.length === runtimes.length;
  return {
    type: 'RuntimeUnavailable',
    holds,
    reason: holds ? 'NoRuntime' : '',
    message: holds ? broken.map(({ name, detail }) => `${name}: ${detail}`).join('; ') : '',
  };
}

function diskCondition(facts: NodeFacts, capacity: NodeCapacity): Omit<Condition, 'sinceMs'> {
  const holds = capacity.diskFreeMib < facts.diskMib * diskPressureShare;
  return {
    type: 'DiskPressure',
    holds,
    reason: holds ? 'LittleRoom' : '',
    message: holds ? `${capacity.diskFreeMib} MiB of ${facts.diskMib} MiB free under the agent's state` : '',
  };
}

/** One for each pool that has it, with the pool's name for a reason: the others go on. */
function poolConditions(facts: NodeFacts, { pools }: NodeCapacity): Omit<Condition, 'sinceMs'>[] {
  const freeOf = (name: string): number => pools.find((pool) => pool.name === name)?.freeMib ?? 0;
  const broken = facts.pools.filter(({ healthy }) => !healthy);
  const full = facts.pools.filter(
    ({ name, healthy, sizeMib }) => healthy && freeOf(name) < sizeMib * diskPressureShare,
  );
  const room = ({ name, sizeMib }: PoolFacts): string =>
    `${name}: ${freeOf(name)} MiB of ${sizeMib} MiB free`;
  return [
    ...conditionOf('PoolUnavailable', broken, ({ name, detail }) => `${name}: ${detail}`),
    ...conditionOf('PoolFull', full, room),
  ];
}

function conditionOf(type: string, pools: readonly PoolFacts[], say: (pool: PoolFacts) => string) {
  if (pools.length === 0) return [{ type, holds: false, reason: '', message: '' }];
  return pools.map((pool) => ({ type, holds: true, reason: pool.name, message: say(pool) }));
}

async function findCgroups(): Promise<Cgroups> {
  const v2 = await Promise.all(
    ['/sys/fs/cgroup/cgroup.controllers', '/sys/fs/cgroup/unified/cgroup.controllers'].map(readText),
  );
  return readCgroups(await readText('/proc/cgroups'), await readText('/proc/mounts'), v2.join(' '));
}

function cpuTimes(): { busy: number; total: number } {
  let busy = 0;
  let total = 0;
  for (const { times } of os.cpus()) {
    const all = times.user + times.nice + times.sys + times.idle + times.irq;
    total += all;
    busy += all - times.idle;
  }
  return { busy, total };
}

/** Empty where there is no such file: kernels differ in what they show. */
const readText = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '');
