import type { NetworkMode, Resources } from '#shared/model.ts';
import type { IdRange } from '../images/image-source.ts';
import type { SeccompProfile } from './seccomp.ts';
import type { GuestUser } from './guest-user.ts';

/** What a process inside gets: docker's default set. Never more, whatever the image says. */
export const defaultCapabilities: readonly string[] = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
];

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
  readonly terminal?: { readonly columns: number; readonly rows: number } | undefined;
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * `process` of the OCI runtime configuration, the same for the first process and for an exec: crun forgets
 * no_new_privs for an exec unless it is said again.
 */
export function ociProcess({ args, env, cwd, user, terminal }: ProcessOptions): object {
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
      bounding: defaultCapabilities,
      effective: isRoot ? defaultCapabilities : [],
      permitted: isRoot ? defaultCapabilities : [],
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
  /** Host files that a guest on the host's network reads, such as /etc/resolv.conf; those that are there. */
  readonly hostFiles: readonly string[];
}

/**
 * The OCI runtime configuration of one guest. The schema of the specification holds it to its shape in the
 * tests.
 */
export function ociConfig(options: ConfigOptions): object {
  const { rootfs, hostname, cgroupPath, range, network, seccomp } = options;
  const mapping = [{ containerID: 0, hostID: range.base, size: range.size }];
  const namespaces = [
    'pid',
    'ipc',
    'uts',
    'mount',
    'user',
    'cgroup',
    ...(network === 'none' ? ['network'] : []),
  ];
  return {
    ociVersion: '1.0.2',
    root: { path: rootfs },
    hostname,
    process: ociProcess(options.process),
    mounts: mounts(network, options.hostFiles),
    ...(seccomp.compiled === undefined
      ? {}
      : { annotations: { 'run.oci.seccomp_bpf_data': seccomp.compiled } }),
    linux: {
      cgroupsPath: cgroupPath,
      namespaces: namespaces.map((type) => ({ type })),
      uidMappings: mapping,
      gidMappings: mapping,
      resources: resourceLimits(options.resources, options.limitsSwap),
      seccomp: seccomp.profile,
      maskedPaths,
      readonlyPaths,
    },
  };
}

function mounts(network: NetworkMode, hostFiles: readonly string[]): object[] {
  const mount = (destination: string, type: string, source: string, ...options: string[]): object => ({
    destination,
    type,
    source,
    options,
  });
  const quiet = ['nosuid', 'noexec', 'nodev'];
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
    network === 'none'
      ? mount('/sys', 'sysfs', 'sysfs', ...quiet, 'ro')
      : mount('/sys', 'bind', '/sys', 'rbind', ...quiet, 'ro'),
    ...hostFiles.map((file) => mount(file, 'bind', file, 'rbind', ...quiet, 'ro')),
  ];
}

const cpuPeriodUs = 100_000;
/** The kernel takes no smaller quota. */
const minQuotaUs = 1000;

function resourceLimits({ cpuMillicores, memoryMib, pids }: Resources, limitsSwap: boolean): object {
  const memoryBytes = memoryMib * 1024 * 1024;
  return {
    devices: [{ allow: false, access: 'rwm' }],
    pids: { limit: pids },
    ...(memoryMib === 0
      ? {}
      : { memory: { limit: memoryBytes, ...(limitsSwap ? { swap: memoryBytes } : {}) } }),
    ...(cpuMillicores === 0
      ? {}
      : {
          cpu: {
            quota: Math.max(minQuotaUs, (cpuMillicores * cpuPeriodUs) / 1000),
            period: cpuPeriodUs,
            shares: Math.max(2, Math.round((cpuMillicores * 1024) / 1000)),
          },
        }),
  };
}
