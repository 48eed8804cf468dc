import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, rmdir, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { crunDriver, type CrunOptions } from '../agent/drivers/crun.ts';
import type { DriverContext, RuntimeDriver } from '../agent/drivers/driver.ts';
import { createCgroups } from '../agent/host/cgroup.ts';
import { createHostCommands } from '../agent/host/command.ts';
import { systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import type { DriverWorld, NodePolicy } from './conformance/runtime-driver.ts';
import { newGuestSpec, testRange } from './guest-specs.ts';
import { until } from './until.ts';

export interface CrunWorld extends DriverWorld {
  readonly directory: string;
  readonly context: DriverContext;
  readonly cgroupPrefix: string;
  guestDirectory(id: InstanceId): string;
  /** What lives in the guest's cgroup. */
  processes(id: InstanceId): number[];
}

/**
 * A directory, a cgroup prefix and a crun driver of its own. Disposing fails when anything is left on the
 * host.
 */
export async function setUpCrun(
  options: CrunOptions & NodePolicy & { readonly searchPath?: string } = {},
): Promise<CrunWorld> {
  const directory = await mkdtemp(path.join(tmpdir(), 'drover-crun-'));
  await chmod(directory, 0o711);
  const random = systemRandom.uuidV4().slice(0, 8);
  const { searchPath } = options;
  const context: DriverContext = {
    commands: createHostCommands({ clock: systemClock, ...(searchPath === undefined ? {} : { searchPath }) }),
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    stateDir: path.join(directory, 'state'),
    runDir: path.join(directory, 'run'),
    cgroupPrefix: `/drover-test-${random}`,
    allowedDevices: options.allowedDevices ?? [],
    allowsPrivileged: options.allowsPrivileged ?? false,
  };
  const drivers: RuntimeDriver[] = [];
  const open = (): RuntimeDriver => {
    const driver = crunDriver(context, options);
    drivers.push(driver);
    return driver;
  };
  const rootfs = await makeBusyboxRoot(path.join(directory, 'root'));
  const guestDirectory = (id: InstanceId): string => path.join(context.stateDir, 'guests', id);
  return {
    driver: open(),
    directory,
    context,
    cgroupPrefix: context.cgroupPrefix,
    guestDirectory,
    processes: (id) => createCgroups({ clock: systemClock, prefix: context.cgroupPrefix }).processes(id),
    reopen: open,
    newGuest: async (command, changes, parts) =>
      newGuestSpec({ id: systemRandom.uuidV7() as InstanceId, rootfs, command, changes, parts }),
    async loseMonitor(id) {
      const pid = Number(readFileSync(path.join(guestDirectory(id), 'conmon.pid'), 'utf8'));
      process.kill(pid, 'SIGKILL');
      await until(
        () => !existsSync(`/proc/${pid}/cmdline`) || readFileSync(`/proc/${pid}/cmdline`).length === 0,
        {
          what: 'the monitor died',
        },
      );
    },
    async [Symbol.asyncDispose]() {
      const driver = drivers.at(-1) ?? open();
      for (const { id } of await driver.list(new AbortController().signal)) {
        await driver.remove(id, new AbortController().signal);
      }
      for (const each of drivers) await each.close();
      await assertNothingLeft(context, directory);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function assertNothingLeft({ cgroupPrefix, stateDir, runDir }: DriverContext, directory: string) {
  const look = (): string[] => [
    ...groupsBelow(cgroupPrefix),
    ...processesNaming(directory),
    ...namesIn(path.join(stateDir, 'guests')),
    ...namesIn(path.join(stateDir, 'guest-logs')),
    ...namesIn(path.join(runDir, 'crun')),
    ...namesIn(path.join(runDir, 'exits')),
    ...readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(directory)),
    ...(statSync('/dev/null').uid === 0 ? [] : ["/dev/null is not the host's any more"]),
  ];
  await until(() => look().length === 0, { what: `nothing left of ${directory}`, deadlineMs: 5000 }).catch(
    () => {
      throw new Error(`left on the host: ${look().join(', ')}`);
    },
  );
  for (const hierarchy of hierarchies()) {
    const group = path.join(hierarchy, cgroupPrefix);
    if (existsSync(group)) await rmdir(group);
  }
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

const processesNaming = (text: string): string[] =>
  namesIn('/proc').filter((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8')
        .split('\0')
        .some((arg) => arg.startsWith(text));
    } catch {
      return false;
    }
  });

const applets = ['sh', 'sleep', 'cat', 'echo', 'stty', 'id', 'ls', 'grep', 'head', 'dd', 'true', 'ping'];

/** A root with nothing but busybox in it, owned by the range's root. */
export async function makeBusyboxRoot(rootfs: string): Promise<string> {
  const own = async (place: string): Promise<void> => chown(place, testRange.base, testRange.base);
  for (const directory of ['', 'bin', 'dev', 'etc', 'proc', 'sys', 'tmp']) {
    await mkdir(path.join(rootfs, directory), { mode: 0o755 });
    await own(path.join(rootfs, directory));
  }
  const busybox = ['/bin/busybox', '/usr/bin/busybox'].find((file) => existsSync(file));
  if (busybox === undefined) throw new Error('busybox is not installed: apt-get install busybox-static');
  await copyFile(busybox, path.join(rootfs, 'bin/busybox'));
  await own(path.join(rootfs, 'bin/busybox'));
  for (const applet of applets) await symlink('busybox', path.join(rootfs, 'bin', applet));
  return rootfs;
}
