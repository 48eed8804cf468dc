import { parseInterfaceAddress } from '#shared/addresses.ts';
import { DroverError } from '#shared/errors.ts';
import type { Attachment, InstanceId, NetworkMode, Resources } from '#shared/model.ts';
import { quotaUsOf, sharesOf } from '../host/cgroup-control.ts';
import { defaultGateways, hostInterfaceName } from '../host/guest-interface.ts';
import type { IdRange } from '../images/image-source.ts';
import type { GuestMount } from './driver.ts';
import type { HostDevice } from './guest-devices.ts';
import type { GuestUser } from './guest-user.ts';
import { checkLxcKeys } from './lxc-keys.ts';

/** What a guest's configuration depends on besides the guest. */
export interface LxcHost {
  /** Version 1 stands for hybrid hosts, too: their controllers are in its hierarchies. */
  readonly cgroupVersion: 1 | 2;
  readonly limitsSwap: boolean;
  readonly hasAppArmor: boolean;
  /** Undefined: the host has none. */
  readonly seccompProfile: string | undefined;
}

export interface LxcConfigOptions {
  readonly id: InstanceId;
  readonly rootfs: string;
  readonly hostname: string;
  readonly range: IdRange;
  readonly resources: Resources;
  readonly env: Readonly<Record<string, string>>;
  readonly user: GuestUser;
  readonly workingDir: string;
  readonly stopSignal: number;
  /** "CAP_CHOWN". */
  readonly capabilities: readonly string[];
  readonly nesting: boolean;
  readonly network: NetworkMode;
  readonly attachments: readonly Attachment[];
  /** Targets without links, which are there already. */
  readonly mounts: readonly GuestMount[];
  /** `source` is a file of the host with the guest's ids. */
  readonly devices: readonly (HostDevice & { readonly source: string })[];
  /** Undefined: the root's own counts. */
  readonly resolvConf: { readonly source: string; readonly target: string } | undefined;
  readonly lxcKeys: Readonly<Record<string, string>>;
  /** "drover-1a2b-lxc/ID": without a slash before. */
  readonly payloadCgroup: string;
  readonly monitorCgroup: string;
  readonly monitorLog: string;
  readonly outputLog: string;
  readonly maxOutputBytes: number;
  /** A command of the host, run when the guest has ended and its cgroup is still there. */
  readonly stopHook: string | undefined;
  /** A command of the host, run when all is mounted, and before anything of the guest runs. */
  readonly mountHook: string | undefined;
  readonly host: LxcHost;
}

/** Below its limits the guest has a group of its own, or root inside could lift them. */
export const innerCgroup = 'guest';

/**
 * All that root of a system container works with; what is about the whole machine is left out: modules,
 * clock, raw input and output, mandatory access control, the kernel's log.
 */
export const systemCapabilities: readonly string[] = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE ' +
  'NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_CHROOT SYS_PTRACE SYS_PACCT ' +
  'SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

type Line = readonly [key: string, value: string];

/**
 * The two configurations of one guest: of its start, and of the commands inside, which have an environment of
 * their own. A line feed in a value would be a line of its own, and hooks run as root of the host
 * (CVE-2026-23953), so invalid-argument for every control character. Source: lxc.container.conf(5).
 */
export function lxcConfig(options: LxcConfigOptions): { readonly start: string; readonly attach: string } {
  const { host, id } = options;
  const basis: Line[] = [
    ['lxc.uts.name', options.hostname],
    ['lxc.rootfs.path', `dir:${options.rootfs}`],
    ...idMaps(options.range),
    ['lxc.cap.keep', options.capabilities.map((name) => name.slice(4).toLowerCase()).join(' ')],
    ['lxc.apparmor.profile', host.hasAppArmor ? 'generated' : 'unconfined'],
    ...(options.nesting && host.hasAppArmor ? [['lxc.apparmor.allow_nesting', '1'] as const] : []),
    ...(host.seccompProfile === undefined ? [] : [['lxc.seccomp.profile', host.seccompProfile] as const]),
    ...cgroups(options),
    ...limits(options.resources, host),
    ...deviceRules(options.devices, host),
    ...mounts(options),
    ['lxc.autodev', '1'],
    ['lxc.pty.max', '1024'],
    ['lxc.tty.max', '0'],
    ...network(id, options),
    ['lxc.signal.halt', `${options.stopSignal}`],
    ...checkLxcKeys(options.lxcKeys, options.network),
  ];
  const start: Line[] = [
    ...basis,
    ...process(options),
    ['lxc.monitor.signal.pdeath', '0'],
    ['lxc.log.file', options.monitorLog],
    // How it ended is said at this level and nowhere else.
    ['lxc.log.level', 'DEBUG'],
    ['lxc.console.logfile', options.outputLog],
    ['lxc.console.size', `${options.maxOutputBytes}`],
    ['lxc.console.rotate', '1'],
    ['lxc.hook.version', '1'],
    ...(options.stopHook === undefined ? [] : [['lxc.hook.stop', options.stopHook] as const]),
    ...(options.mountHook === undefined ? [] : [['lxc.hook.mount', options.mountHook] as const]),
    ...environment(options.env),
  ];
  return { start: format(start), attach: format(basis) };
}

export const environment = (env: Readonly<Record<string, string>>): Line[] =>
  // Without the quotes LXC would take spaces from its end, and without "=" the value from the host.
  Object.entries(env).map(([name, value]) => ['lxc.environment', `"${name}=${value}"`]);

export const format = (lines: readonly Line[]): string =>
  lines.map(([key, value]) => `${key} = ${checkValue(key, value)}\n`).join('');

function checkValue(key: string, value: string): string {
  if (!/\p{Cc}/u.test(value)) return value;
  const nextStep = 'where a program has to have it, write it to a file in the image or in a volume';
  throw new DroverError('invalid-argument', `a control character in ${key}; LXC takes none`, {
    subject: { key },
    nextStep,
  });
}

const idMaps = ({ base, size }: IdRange): Line[] =>
  base === 0
    ? []
    : [
        ['lxc.idmap', `u 0 ${base} ${size}`],
        ['lxc.idmap', `g 0 ${base} ${size}`],
      ];

const process = ({ user, workingDir }: LxcConfigOptions): Line[] => [
  ['lxc.init.uid', `${user.uid}`],
  ['lxc.init.gid', `${user.gid}`],
  ...(user.additionalGids.length === 0 ? [] : [['lxc.init.groups', user.additionalGids.join(',')] as const]),
  ['lxc.init.cwd', `"${workingDir}"`],
];

const cgroups = ({ payloadCgroup, monitorCgroup }: LxcConfigOptions): Line[] => [
  ['lxc.cgroup.dir.container', payloadCgroup],
  ['lxc.cgroup.dir.container.inner', innerCgroup],
  ['lxc.cgroup.dir.monitor', monitorCgroup],
];

const mib = 1024 * 1024;

function limits({ cpuMillicores, memoryMib, pids }: Resources, host: LxcHost): Line[] {
  const bytes = `${memoryMib * mib}`;
  const [quota, shares] = [quotaUsOf(cpuMillicores), sharesOf(cpuMillicores)];
  if (host.cgroupVersion === 2) {
    const weight = 1 + Math.floor(((shares - 2) * 9999) / 262_142);
    return [
      ...lines(memoryMib > 0, ['lxc.cgroup2.memory.max', bytes], ['lxc.cgroup2.memory.swap.max', '0']),
      ...lines(
        cpuMillicores > 0,
        ['lxc.cgroup2.cpu.max', `${quota} 100000`],
        ['lxc.cgroup2.cpu.weight', `${weight}`],
      ),
      ...lines(pids > 0, ['lxc.cgroup2.pids.max', `${pids}`]),
    ];
  }
  return [
    ...lines(memoryMib > 0, ['lxc.cgroup.memory.limit_in_bytes', bytes]),
    ...lines(memoryMib > 0 && host.limitsSwap, ['lxc.cgroup.memory.memsw.limit_in_bytes', bytes]),
    ...lines(
      cpuMillicores > 0,
      ['lxc.cgroup.cpu.cfs_period_us', '100000'],
      ['lxc.cgroup.cpu.cfs_quota_us', `${quota}`],
      ['lxc.cgroup.cpu.shares', `${shares}`],
    ),
    ...lines(pids > 0, ['lxc.cgroup.pids.max', `${pids}`]),
  ];
}

const lines = (wanted: boolean, ...these: readonly Line[]): readonly Line[] => (wanted ? these : []);

/** null, zero, full, random, urandom, tty, console, ptmx, terminals; mknod of anything, which opens none. */
const usualDevices = ['c *:* m', 'b *:* m', ...[3, 5, 7, 8, 9].map((minor) => `c 1:${minor} rwm`)].concat(
  ['5:0', '5:1', '5:2', '136:*'].map((device) => `c ${device} rwm`),
);

function deviceRules(devices: readonly HostDevice[], { cgroupVersion }: LxcHost): Line[] {
  const key = cgroupVersion === 2 ? 'lxc.cgroup2.devices' : 'lxc.cgroup.devices';
  const own = devices.map(({ type, major, minor }) => `${type} ${major}:${minor} rwm`);
  return [[`${key}.deny`, 'a'], ...[...usualDevices, ...own].map((rule): Line => [`${key}.allow`, rule])];
}

/** A line of fstab(5), where a space ends a field. */
const mountEntry = (source: string, target: string, options: string): Line => {
  const escape = (text: string): string =>
    text.replaceAll(/[\s\\#"']/g, (sign) => `\\${sign.charCodeAt(0).toString(8).padStart(3, '0')}`);
  return ['lxc.mount.entry', `${escape(source)} ${escape(target.slice(1))} none ${options} 0 0`];
};

function mounts(options: LxcConfigOptions): Line[] {
  const { network: mode, nesting, resolvConf } = options;
  const sys = nesting ? 'proc:rw sys:rw' : 'proc:mixed sys:mixed';
  const mayMountSys = mode !== 'host' || options.range.base === 0;
  return [
    // A sysfs belongs to a network namespace, and only its owner may mount one.
    ...(mayMountSys
      ? ([['lxc.mount.auto', `${sys} cgroup:mixed`]] as const)
      : ([
          ['lxc.mount.auto', `${nesting ? 'proc:rw' : 'proc:mixed'} cgroup:mixed`],
          mountEntry('/sys', '/sys', 'rbind,ro,nosuid,nodev,noexec'),
          ['lxc.mount.entry', 'tmpfs sys/fs/cgroup tmpfs nosuid,nodev,noexec,mode=755 0 0'],
        ] as const)),
    ...options.devices.map(({ path, source }) => mountEntry(source, path, 'bind,create=file')),
    // Made by us: LXC's own create= would follow links of the guest out of its root.
    ...options.mounts.map(({ source, target, readOnly }) =>
      mountEntry(source, target, `bind,nodev,nosuid${readOnly ? ',ro' : ''}`),
    ),
    ...(resolvConf === undefined
      ? []
      : [mountEntry(resolvConf.source, resolvConf.target, 'bind,ro,nodev,nosuid,noexec')]),
  ];
}

/**
 * LXC 5.0 leaves nodev and nosuid out of a bind that may be written to; this says them again. In perl,
 * because nothing else of Debian's base calls mount(2) without a /proc of its own. Every target goes as hex
 * digits.
 */
export function mountHookScript(mounts: readonly GuestMount[]): string | undefined {
  const targets = mounts.filter(({ readOnly }) => !readOnly).map(({ target }) => target);
  if (targets.length === 0) return undefined;
  const words = targets.map((target) => Buffer.from(target).toString('hex')).join(' ');
  return `use strict; use POSIX ();
my $mount = (POSIX::uname())[4] eq "x86_64" ? 165 : 40;
for my $word (qw(${words})) {
  my $place = $ENV{LXC_ROOTFS_MOUNT} . pack("H*", $word);
  # MS_REMOUNT, MS_BIND, MS_NOSUID, MS_NODEV
  syscall($mount, my $none = "none", $place, 0, 32 | 4096 | 2 | 4, 0) == 0 or die "$place: $!\n";
}
`;
}

function network(id: InstanceId, { network: mode, attachments }: LxcConfigOptions): Line[] {
  if (mode === 'host') return [['lxc.net.0.type', 'none']];
  if (mode === 'none' || attachments.length === 0) {
    return [
      ['lxc.net.0.type', 'empty'],
      ['lxc.net.0.flags', 'up'],
    ];
  }
  return attachments.flatMap((attachment, place) =>
    // LXC fails where a second one says where the rest of the world is.
    interfaceLines(id, { ...attachment, gateways: defaultGateways(attachments, attachment) }, place),
  );
}

function interfaceLines(id: InstanceId, attachment: Attachment, place: number): Line[] {
  const key = (name: string): string => `lxc.net.${place}.${name}`;
  const { bridge, mac, mtu, vlan, addresses, gateways } = attachment;
  return [
    [key('type'), 'veth'],
    [key('link'), bridge],
    [key('flags'), 'up'],
    [key('name'), attachment.interface],
    [key('hwaddr'), mac],
    [key('veth.pair'), hostInterfaceName(id, place)],
    ...lines(mtu > 0, [key('mtu'), `${mtu}`]),
    ...lines(vlan > 0, [key('veth.vlan.id'), `${vlan}`]),
    ...addresses.map((address): Line => {
      const isVersion6 = address.includes(':');
      return isVersion6
        ? [key('ipv6.address'), address]
        : [key('ipv4.address'), `${address} ${broadcastOf(address)}`];
    }),
    ...gateways.map(
      (gateway): Line => [key(gateway.includes(':') ? 'ipv6.gateway' : 'ipv4.gateway'), gateway],
    ),
  ];
}

/** Left to itself, LXC says 0.0.0.255. */
function broadcastOf(address: string): string {
  const parsed = parseInterfaceAddress(address);
  if (parsed === undefined) throw new DroverError('invalid-argument', `${address} is no address`);
  const [, prefix = '32'] = address.split('/');
  const value = Number(parsed.value);
  const hosts = 2 ** (32 - Number(prefix));
  const last = value - (value % hosts) + hosts - 1;
  return [24, 16, 8, 0].map((shift) => Math.floor(last / 2 ** shift) % 256).join('.');
}
