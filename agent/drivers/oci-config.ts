import type { NetworkMode, Resources } from '#shared/model.ts';
import type { IdRange } from '../images/image-source.ts';
import { quotaUsOf, sharesOf } from '../host/cgroup-control.ts';
import { cpuPeriodUs } from '../host/cgroup-files.ts';
import type { GuestMount } from './driver.ts';
import type { HostDevice } from './guest-devices.ts';
import type { GuestUser } from './guest-user.ts';
import type { SeccompProfile } from './seccomp.ts';

const maskedPaths = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
  '/sys/fs/selinux',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

export interface ProcessOptions {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly user: GuestUser;
  readonly capabilities: readonly string[];
  readonly terminal?: { readonly columns: number; readonly rows: number } | undefined;
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * `process` of the OCI runtime configuration, the same for the first process and for an exec: crun forgets
 * no_new_privs for an exec unless it is said again.
 */
export function ociProcess({ args, env, cwd, user, capabilities, terminal }: ProcessOptions): object {
  const isRoot = user.uid === 0;
  const full = { PATH: defaultPath, HOME: user.home, ...(terminal ? { TERM: 'xterm' } : {}), ...env };
  return {
    terminal: terminal !== undefined,
    ...(terminal ? { consoleSize: { width: terminal.columns, height: terminal.rows } } : {}),
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids, umask: 0o022 },
    args,
    env: Object.entries(full).map(([name, value]) => `${name}=${value}`),
    cwd: cwd === '' ? '/' : cwd,
    noNewPrivileges: true,
    capabilities: {
      bounding: capabilities,
      effective: isRoot ? capabilities : [],
      permitted: isRoot ? capabilities : [],
      inheritable: [],
      ambient: [],
    },
  };
}

export interface ConfigOptions {
  readonly process: ProcessOptions;
  readonly rootfs: string;
  readonly hostname: string;
  readonly cgroupPath: string;
  readonly range: IdRange;
  readonly resources: Resources;
  readonly network: NetworkMode;
  readonly seccomp: { readonly profile: SeccompProfile; readonly compiled: string | undefined };
  readonly limitsSwap: boolean;
  /** Targets without links, the outer ones first. */
  readonly volumes: readonly GuestMount[];
  /** Host files that the guest reads in place of its own, such as /etc/resolv.conf. */
  readonly files: readonly { readonly source: string; readonly target: string }[];
  /** Each with the file that stands for it. */
  readonly devices: readonly (HostDevice & { readonly source: string })[];
}

/**
 * The OCI runtime configuration of one guest. The schema of the specification holds it to its shape in the
 * tests.
 */
export function ociConfig(options: ConfigOptions): object {
  const { rootfs, hostname, cgroupPath, range, network, seccomp } = options;
  // The node allows it to have the host's own ids.
  const isPrivileged = range.base === 0;
  const mapping = [{ containerID: 0, hostID: range.base, size: range.size }];
  const namespaces = [
    'pid',
    'ipc',
    'uts',
    'mount',
    ...(isPrivileged ? [] : ['user']),
    'cgroup',
    ...(network === 'host' ? [] : ['network']),
  ];
  return {
    ociVersion: '1.0.2',
    root: { path: rootfs },
    hostname,
    process: ociProcess(options.process),
    mounts: mounts(options),
    ...(seccomp.compiled === undefined
      ? {}
      : { annotations: { 'run.oci.seccomp_bpf_data': seccomp.compiled } }),
    linux: {
      cgroupsPath: cgroupPath,
      namespaces: namespaces.map((type) => ({ type })),
      ...(isPrivileged ? {} : { uidMappings: mapping, gidMappings: mapping }),
      resources: resourceLimits(options),
      seccomp: seccomp.profile,
      maskedPaths,
      readonlyPaths,
    },
  };
}

function mounts({ network, volumes, files, devices }: ConfigOptions): object[] {
  const mount = (destination: string, type: string, source: string, ...options: string[]): object => ({
    destination,
    type,
    source,
    options,
  });
  const quiet = ['nosuid', 'noexec', 'nodev'];
  // crun 1.8 forgets the plain ones for a bind that may be written, and keeps those with the r.
  const harmless = ['nosuid', 'nodev', 'rnosuid', 'rnodev'];
  return [
    mount('/proc', 'proc', 'proc', ...quiet),
    // A tmpfs of its own, always: crun before 1.30 follows /dev/console or /dev/null of an image to the host.
    mount('/dev', 'tmpfs', 'tmpfs', 'nosuid', 'strictatime', 'mode=755', 'size=65536k'),
    mount(
      '/dev/pts',
      'devpts',
      'devpts',
      'nosuid',
      'noexec',
      'newinstance',
      'ptmxmode=0666',
      'mode=0620',
      'gid=5',
    ),
    mount('/dev/shm', 'tmpfs', 'shm', ...quiet, 'mode=1777', 'size=65536k'),
    mount('/dev/mqueue', 'mqueue', 'mqueue', ...quiet),
    // On the host's network crun would silently bind the host's /sys writable in place of a sysfs.
    network === 'host'
      ? mount('/sys', 'bind', '/sys', 'rbind', ...quiet, 'ro')
      : mount('/sys', 'sysfs', 'sysfs', ...quiet, 'ro'),
    ...volumes.map(({ source, target, readOnly }) =>
      mount(target, 'bind', source, 'bind', ...harmless, readOnly ? 'ro' : 'rw'),
    ),
    ...files.map(({ source, target }) => mount(target, 'bind', source, 'rbind', ...quiet, 'ro')),
    ...devices.map(({ source, path }) => mount(path, 'bind', source, 'bind', 'nosuid', 'noexec')),
  ];
}

function resourceLimits({ resources, limitsSwap, devices }: ConfigOptions): object {
  const { cpuMillicores, memoryMib, pids } = resources;
  const memoryBytes = memoryMib * 1024 * 1024;
  return {
    devices: [
      { allow: false, access: 'rwm' },
      ...devices.map(({ type, major, minor }) => ({ allow: true, type, major, minor, access: 'rw' })),
    ],
    pids: { limit: pids },
    ...(memoryMib === 0
      ? {}
      : { memory: { limit: memoryBytes, ...(limitsSwap ? { swap: memoryBytes } : {}) } }),
    ...(cpuMillicores === 0
      ? {}
      : { cpu: { quota: quotaUsOf(cpuMillicores), period: cpuPeriodUs, shares: sharesOf(cpuMillicores) } }),
  };
}
