import { DroverError } from '#shared/errors.ts';
import type { Security } from '#shared/model.ts';
import type { GuestSpec } from './driver.ts';

/** What a driver can do and what its node lets guests have. */
export interface RightsPolicy {
  readonly driver: string;
  /** As announced in RuntimeFacts. */
  readonly capabilities: readonly string[];
  readonly allowedDevices: readonly string[];
  readonly allowsPrivileged: boolean;
}

/**
 * Refuses what a spec asks for and cannot get: unimplemented where the driver cannot, by name;
 * permission-denied where the node does not allow it; invalid-argument where the range and the spec do not
 * agree on a privileged guest.
 */
export function checkRights(guest: GuestSpec, policy: RightsPolicy): void {
  const { spec, range, mounts, id } = guest;
  const { privileged, nesting } = spec.security;
  const subject = { instance: id };
  const asks: readonly (readonly [asked: boolean, capability: string, what: string])[] = [
    [true, `network-${spec.network}`, `network "${spec.network}"`],
    [spec.devices.length > 0, 'devices', 'devices'],
    [nesting, 'nesting', 'nesting'],
    [privileged, 'privileged', 'privileged guests'],
    [Object.keys(spec.lxcKeys).length > 0, 'lxc-keys', 'keys of LXC'],
    [mounts.length > 0, 'mounts', 'mounted volumes'],
    [spec.vm !== undefined, 'vm-options', 'virtual machine for "vm" to be about'],
    [spec.cluster !== undefined, 'cluster-options', 'cluster for "cluster" to be about'],
  ];
  for (const [asked, capability, what] of asks) {
    if (!asked || policy.capabilities.includes(capability)) continue;
    throw new DroverError('unimplemented', `the driver ${policy.driver} has no ${what}`, { subject });
  }
  const denied = (message: string, nextStep: string): DroverError =>
    new DroverError('permission-denied', message, { subject, nextStep });
  for (const device of spec.devices) {
    if (policy.allowedDevices.includes(device)) continue;
    const nextStep = 'name it in allowedDevices of the agent where guests may have it';
    throw denied(`this node allows no device ${device}`, nextStep);
  }
  if (privileged && !policy.allowsPrivileged) {
    const nextStep = 'set allowsPrivileged in the configuration of the agent where guests may be';
    throw denied('this node allows no privileged guests', nextStep);
  }
  if (privileged !== (range.base === 0)) {
    const found = `privileged is ${privileged}, the range of ids begins at ${range.base}`;
    throw new DroverError('invalid-argument', `${found}; 0 is for privileged guests alone`, { subject });
  }
}

/** All of Linux 6, by number. */
const linuxCapabilities = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE ' +
  'NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT ' +
  'SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE ' +
  'AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ ' +
  'PERFMON BPF CHECKPOINT_RESTORE'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

/** They are about the whole machine, and open system calls that no user namespace narrows. */
const ofTheMachine = new Set(
  (
    'SYS_MODULE SYS_RAWIO SYS_BOOT SYS_TIME MAC_OVERRIDE MAC_ADMIN SYSLOG AUDIT_CONTROL AUDIT_READ PERFMON ' +
    'BPF WAKE_ALARM BLOCK_SUSPEND'
  )
    .split(' ')
    .map((name) => `CAP_${name}`),
);

/**
 * What processes inside may have at most; adding counts in the guest's own user namespace only.
 * invalid-argument: there is no such capability. permission-denied: it may not be added.
 */
export function grantedCapabilities(usual: readonly string[], security: Security): string[] {
  const { addCapabilities: added, dropCapabilities: dropped, privileged } = security;
  for (const name of [...added, ...dropped]) {
    if (linuxCapabilities.includes(name)) continue;
    throw new DroverError('invalid-argument', `there is no capability ${JSON.stringify(name)}`);
  }
  const tooMuch = added.find((name) => ofTheMachine.has(name));
  if (tooMuch !== undefined)
    throw new DroverError('permission-denied', `${tooMuch} is about the whole machine; no guest gets it`);
  const extra = added.filter((name) => !usual.includes(name));
  if (privileged && extra.length > 0)
    throw new DroverError('permission-denied', `a privileged guest is given no ${extra.join(', ')} as well`);
  const all = new Set([...usual, ...extra]);
  return [...all].filter((name) => !dropped.includes(name)).toSorted();
}

/** As /proc/PID/status writes it. */
export const capabilityMask = (names: readonly string[]): string =>
  names
    .reduce((mask, name) => mask | (1n << BigInt(linuxCapabilities.indexOf(name))), 0n)
    .toString(16)
    .padStart(16, '0');
