import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdtemp, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { DriverContext, RuntimeDriver } from '../agent/drivers/driver.ts';
import { lxcDriver, type LxcOptions } from '../agent/drivers/lxc.ts';
import { createCgroups, type Cgroups } from '../agent/host/cgroup.ts';
import { createHostCommands } from '../agent/host/command.ts';
import { systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import type { DriverWorld, NodePolicy } from './conformance/runtime-driver-world.ts';
import { makeBusyboxRoot } from './crun-host.ts';
import { newGuestSpec } from './guest-specs.ts';
import { until } from './until.ts';

export interface LxcWorld extends DriverWorld {
  readonly directory: string;
  readonly context: DriverContext;
  readonly rootfs: string;
  readonly payload: Cgroups;
  readonly monitors: Cgroups;
  guestDirectory(id: InstanceId): string;
}

/**
 * A directory, a cgroup prefix and an LXC driver of its own. Disposing fails when anything is left on the
 * host.
 */
export async function setUpLxc(options: LxcOptions & NodePolicy = {}): Promise<LxcWorld> {
  const directory = await mkdtemp(path.join(tmpdir(), 'drover-lxc-'));
  await chmod(directory, 0o711);
  const context: DriverContext = {
    commands: createHostCommands({ clock: systemClock }),
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    stateDir: path.join(directory, 'state'),
    runDir: path.join(directory, 'run'),
    cgroupPrefix: `/drover-test-${systemRandom.uuidV4().slice(0, 8)}`,
    allowedDevices: options.allowedDevices ?? [],
    allowsPrivileged: options.allowsPrivileged ?? false,
  };
  const drivers: RuntimeDriver[] = [];
  const open = (): RuntimeDriver => {
    const driver = lxcDriver(context, options);
    drivers.push(driver);
    return driver;
  };
  const groups = (name: string): Cgroups =>
    createCgroups({ clock: systemClock, prefix: `${context.cgroupPrefix}-${name}` });
  const rootfs = await makeBusyboxRoot(path.join(directory, 'root'));
  const monitors = groups('lxc-monitor');
  return {
    driver: open(),
    directory,
    context,
    rootfs,
    payload: groups('lxc'),
    monitors,
    guestDirectory: (id) => path.join(context.stateDir, 'lxc/guests', id),
    reopen: open,
    newGuest: async (command, changes, parts) =>
      newGuestSpec({
        id: systemRandom.uuidV7() as InstanceId,
        rootfs,
        command,
        changes: { runtime: 'lxc', ...changes },
        parts,
      }),
    async loseMonitor(id) {
      for (const pid of monitors.processes(id)) process.kill(pid, 'SIGKILL');
      await until(() => monitors.processes(id).length === 0, { what: 'the monitor died' });
    },
    async [Symbol.asyncDispose]() {
      const driver = drivers.at(-1) ?? open();
      for (const { id } of await driver.list(new AbortController().signal))
        await driver.remove(id, new AbortController().signal);
      for (const each of drivers) await each.close();
      await assertNothingLeft(context, directory);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function assertNothingLeft({ cgroupPrefix, stateDir, runDir }: DriverContext, directory: string) {
  const look = (): string[] => [
    ...groupsBelow(`${cgroupPrefix}-lxc`),
    ...groupsBelow(`${cgroupPrefix}-lxc-monitor`),
    ...processesNaming(directory),
    ...namesIn(path.join(stateDir, 'lxc/guests')),
    ...namesIn(path.join(stateDir, 'lxc/shared')),
    ...namesIn(path.join(stateDir, 'lxc/output')),
    ...namesIn(path.join(runDir, 'lxc/monitors')),
    ...namesIn('/sys/class/net').filter((name) => /^drv[0-9a-f]{10}\d$/.test(name)),
    ...readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(directory)),
    ...(existsSync(path.join('/run/lxc/lock', directory)) ? ['locks of LXC'] : []),
    ...(statSync('/dev/null').uid === 0 ? [] : ["/dev/null is not the host's any more"]),
  ];
  await until(() => look().length === 0, { what: `nothing left of ${directory}`, deadlineMs: 5000 }).catch(
    () => {
      throw new Error(`left on the host: ${look().join(', ')}`);
    },
  );
  for (const hierarchy of hierarchies())
    for (const prefix of [`${cgroupPrefix}-lxc`, `${cgroupPrefix}-lxc-monitor`])
      if (existsSync(path.join(hierarchy, prefix))) await rmdir(path.join(hierarchy, prefix));
}

const namesIn = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory) : []);

const hierarchies = (): string[] => [
  '/sys/fs/cgroup',
  ...readdirSync('/sys/fs/cgroup').map((name) => path.join('/sys/fs/cgroup', name)),
];

const groupsBelow = (prefix: string): string[] =>
  hierarchies().flatMap((hierarchy) => {
    const group = path.join(hierarchy, prefix);
    return namesIn(group).filter((name) => statSync(path.join(group, name)).isDirectory());
  });

/** LXC's monitors name the path of guests in their title, everything else has it in an argument. */
const processesNaming = (text: string): string[] =>
  namesIn('/proc').filter((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8')
        .split('\0')
        .some((arg) => arg.startsWith(text) || arg.startsWith(`[lxc monitor] ${text}`));
    } catch {
      return false;
    }
  });
