import { lstat } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import { defaultCapabilities } from './capabilities.ts';
import type { DriverContext, GuestMount, GuestSpec } from './driver.ts';
import { findDevices, type HostDevice } from './guest-devices.ts';
import { placeMounts, resolveInRoot } from './guest-mounts.ts';
import { checkRights, grantedCapabilities } from './guest-rights.ts';
import { resolveUser } from './guest-user.ts';

/** What this driver announces; what a spec asks for besides is refused by name. */
export const crunCapabilities: readonly string[] = [
  'devices',
  'exec',
  'logs',
  'mounts',
  'network-bridged',
  'network-host',
  'network-none',
  'outlives-monitor',
  'pause',
  'privileged',
  'separate-output',
  'stats',
  'update',
];

/** A guest that has been checked: nothing of it can be refused any more but by crun. */
export interface GuestPlan {
  readonly guest: GuestSpec;
  /** What its processes may have at most. */
  readonly capabilities: readonly string[];
  /** Targets without links, the outer ones first. */
  readonly mounts: readonly GuestMount[];
  /** Where its name servers are to be written; undefined where the root's own file counts. */
  readonly resolvConfTarget: string | undefined;
  readonly devices: readonly HostDevice[];
}

/** Everything that can be refused before the host is touched, with the kinds of RuntimeDriver.create. */
export async function planCrunGuest(
  { allowedDevices, allowsPrivileged }: DriverContext,
  guest: GuestSpec,
): Promise<GuestPlan> {
  const { spec, rootfs } = guest;
  checkRights(guest, { driver: 'crun', capabilities: crunCapabilities, allowedDevices, allowsPrivileged });
  const capabilities = grantedCapabilities(defaultCapabilities, spec.security);
  await checkGuestSpec(guest);
  const mounts = await placeMounts(rootfs, guest.mounts);
  const devices = await findDevices(spec.devices);
  const resolvConfTarget = guest.resolvConf === undefined ? undefined : await placeOfNames(guest, mounts);
  return { guest, capabilities, mounts, resolvConfTarget, devices };
}

async function placeOfNames({ rootfs, id }: GuestSpec, mounts: readonly GuestMount[]): Promise<string> {
  const target = await resolveInRoot(rootfs, '/etc/resolv.conf', mounts);
  if (!/^\/(proc|sys|dev|)(\/|$)/.test(target)) return target;
  const message = `/etc/resolv.conf of the image leads to ${target}`;
  throw new DroverError('invalid-argument', message, { subject: { instance: id } });
}

export const guestCommand = ({ spec, image }: GuestSpec): readonly string[] =>
  spec.command.length > 0 ? spec.command : [...image.entrypoint, ...image.command];

async function checkGuestSpec(guest: GuestSpec): Promise<void> {
  const { spec, image, rootfs, id, range } = guest;
  const refuse = (message: string): DroverError =>
    new DroverError('invalid-argument', message, { subject: { instance: id } });
  const env = { ...image.env, ...spec.env };
  const texts = [...guestCommand(guest), ...Object.entries(env).flat(), spec.workingDir, image.workingDir];
  if (texts.some((text) => text.includes('\0'))) throw refuse('a text of the spec holds a NUL');
  if (Object.keys(env).some((name) => name === '' || name.includes('='))) {
    throw refuse('a name of an environment variable is empty or holds "="');
  }
  if (guestCommand(guest).length === 0) throw refuse('neither the spec nor the image names a command');
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(spec.displayName)) {
    throw refuse(`${JSON.stringify(spec.displayName)} is no host name`);
  }
  for (const directory of [spec.workingDir, image.workingDir]) {
    if (directory !== '' && !directory.startsWith('/'))
      throw refuse(`directory ${directory} is not absolute`);
  }
  await checkRoot(rootfs, refuse);
  const user = await resolveUser(spec.user === '' ? image.user : spec.user, rootfs);
  const highest = Math.max(user.uid, user.gid);
  if (highest >= range.size)
    throw refuse(`id ${highest} of the user is not below ${range.size}, the size of its range`);
}

/** CVE-2026-88264 and -88265: crun before 1.30 follows these links of an image to the host. */
async function checkRoot(rootfs: string, refuse: (message: string) => DroverError): Promise<void> {
  const root = await lstat(rootfs).catch(() => undefined);
  if (!path.isAbsolute(rootfs) || root?.isDirectory() !== true) throw refuse('the root is not a directory');
  for (const place of ['dev', 'dev/console', 'dev/null', 'proc', 'sys']) {
    const entry = await lstat(path.join(rootfs, place)).catch(() => undefined);
    if (entry?.isSymbolicLink() === true) throw refuse(`/${place} of the image is a symbolic link`);
  }
}
