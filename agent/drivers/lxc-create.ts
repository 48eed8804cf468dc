import { existsSync } from 'node:fs';
import { chown, lstat, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { DriverContext, GuestMount, GuestSpec } from './driver.ts';
import { findDevices, makeDeviceFiles, type HostDevice } from './guest-devices.ts';
import { placeMounts, resolveInRoot } from './guest-mounts.ts';
import { checkRights, grantedCapabilities } from './guest-rights.ts';
import { resolveUser, type GuestUser } from './guest-user.ts';
import { lxcConfig, mountHookScript, systemCapabilities, type LxcConfigOptions } from './lxc-config.ts';
import { lxcCapabilities } from './lxc-facts.ts';
import { checkLxcKeys, signalNumberOf } from './lxc-keys.ts';
import type { LxcRecord } from './lxc-paths.ts';
import type { LxcView } from './lxc-state.ts';

const maxOutputBytes = 16 * 1024 * 1024;
const defaultInit = '/sbin/init';
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** LXC's own, for an init that nothing is known of. */
const powerFailure = 30;

/** A guest that has been checked: nothing of it can be refused any more but by LXC. */
export interface LxcPlan {
  readonly guest: GuestSpec;
  readonly command: readonly string[];
  readonly user: GuestUser;
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly stopSignal: number;
  readonly capabilities: readonly string[];
  readonly mounts: readonly GuestMount[];
  readonly devices: readonly HostDevice[];
}

/** Everything that can be refused before the host is touched, with the kinds of RuntimeDriver.create. */
export async function planLxcGuest(
  { allowedDevices, allowsPrivileged }: DriverContext,
  view: LxcView,
  guest: GuestSpec,
): Promise<LxcPlan> {
  const { spec, image, rootfs, id, range } = guest;
  const refuse = (message: string): DroverError =>
    new DroverError('invalid-argument', message, { subject: { instance: id } });
  checkRights(guest, { driver: 'lxc', capabilities: lxcCapabilities, allowedDevices, allowsPrivileged });
  await checkRoot(rootfs, refuse);
  const command = await commandOf(guest);
  if (command === undefined) throw refuse('neither the spec nor the image names a command');
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(spec.displayName))
    throw refuse(`${JSON.stringify(spec.displayName)} is no host name`);
  const workingDir = [spec.workingDir, image.workingDir, '/'].find((each) => each !== '') ?? '/';
  if (!workingDir.startsWith('/')) throw refuse(`directory ${workingDir} is not absolute`);
  const user = await resolveUser(spec.user === '' ? image.user : spec.user, rootfs);
  const highest = Math.max(user.uid, user.gid);
  if (highest >= range.size)
    throw refuse(`id ${highest} of the user is not below ${range.size}, the size of its range`);
  const env = { PATH: defaultPath, HOME: user.home, ...image.env, ...spec.env };
  checkTexts([...command, workingDir], env);
  const plan: LxcPlan = {
    guest,
    command,
    user,
    env,
    workingDir,
    stopSignal: stopSignalOf(guest),
    capabilities: grantedCapabilities(systemCapabilities, spec.security),
    mounts: await placeMounts(rootfs, guest.mounts),
    devices: await findDevices(spec.devices),
  };
  // Whatever its lines refuse is refused here.
  lxcConfig(configOptions(view, plan, [], undefined));
  return plan;
}

/** invalid-argument. */
export function checkTexts(texts: readonly string[], env: Readonly<Record<string, string>>): void {
  if ([...texts, ...Object.entries(env).flat()].some((text) => text.includes('\0')))
    throw new DroverError('invalid-argument', 'a text holds a NUL');
  if (Object.keys(env).some((name) => name === '' || name.includes('=')))
    throw new DroverError('invalid-argument', 'a name of an environment variable is empty or holds "="');
}

async function commandOf({ spec, image, rootfs }: GuestSpec): Promise<readonly string[] | undefined> {
  const named = spec.command.length > 0 ? spec.command : [...image.entrypoint, ...image.command];
  if (named.length > 0) return named;
  const place = await resolveInRoot(rootfs, defaultInit);
  return existsSync(path.join(rootfs, place)) ? [defaultInit] : undefined;
}

function stopSignalOf({ spec, image }: GuestSpec): number {
  const named = spec.lxcKeys['lxc.signal.halt'];
  if (named !== undefined) {
    checkLxcKeys({ 'lxc.signal.halt': named }, spec.network);
    const number = signalNumberOf(named);
    if (number !== undefined && number >= 1 && number <= 64) return number;
    throw new DroverError('invalid-argument', `lxc.signal.halt: there is no signal ${named}`);
  }
  const isSystem = spec.command.length + image.entrypoint.length + image.command.length === 0;
  return isSystem && image.stopSignal === 15 ? powerFailure : image.stopSignal;
}

async function checkRoot(rootfs: string, refuse: (message: string) => DroverError): Promise<void> {
  const root = await lstat(rootfs).catch(() => undefined);
  if (!path.isAbsolute(rootfs) || root?.isDirectory() !== true) throw refuse('the root is not a directory');
  for (const place of ['dev', 'proc', 'sys']) {
    const entry = await lstat(path.join(rootfs, place)).catch(() => undefined);
    if (entry?.isSymbolicLink() === true) throw refuse(`/${place} of the image is a symbolic link`);
  }
}

function configOptions(
  view: LxcView,
  plan: LxcPlan,
  deviceFiles: readonly string[],
  resolvConf: LxcConfigOptions['resolvConf'],
): LxcConfigOptions {
  const { guest, user, env, workingDir, stopSignal, capabilities, mounts } = plan;
  const { spec, rootfs, range, id } = guest;
  const { paths, payload, monitors, host } = view;
  return {
    id,
    rootfs,
    hostname: spec.displayName,
    range,
    resources: spec.resources,
    env,
    user,
    workingDir,
    stopSignal,
    capabilities,
    nesting: spec.security.nesting,
    network: spec.network,
    attachments: spec.assigned.attachments,
    mounts,
    devices: plan.devices.map((device, place) => ({ ...device, source: deviceFiles[place] ?? '' })),
    resolvConf,
    lxcKeys: spec.lxcKeys,
    payloadCgroup: payload.path(id).slice(1),
    monitorCgroup: monitors.path(id).slice(1),
    monitorLog: paths.of(id).monitorLog,
    outputLog: view.output.fileOf(id),
    maxOutputBytes,
    mountHook: shell(mountHookScript(mounts) === undefined ? '' : paths.of(id).mountHook),
    stopHook: spec.resources.memoryMib === 0 ? undefined : view.stopHookOf(id),
    host,
  };
}

/** A shell reads it. */
function shell(script: string): string | undefined {
  if (script === '') return undefined;
  if (/^[A-Za-z0-9/._-]+$/.test(script)) return `/usr/bin/perl ${script}`;
  throw new DroverError(
    'failed-precondition',
    `the state directory of the agent has a name for no shell: ${script}`,
  );
}

/**
 * Writes down a guest; the record last, so that a crash shows. What a failure leaves is the caller's to
 * purge.
 */
export async function createLxcGuest(
  { commands }: DriverContext,
  view: LxcView,
  plan: LxcPlan,
  signal: AbortSignal,
): Promise<void> {
  const { guest, command, env, workingDir, stopSignal, mounts, devices } = plan;
  const { id, spec, rootfs, image, range } = guest;
  const paths = view.paths.of(id);
  await mkdir(paths.directory, { recursive: true, mode: 0o700 });
  await mkdir(paths.shared, { recursive: true, mode: 0o711 });
  const files = await makeDeviceFiles(commands, path.join(paths.shared, 'devices'), devices, range, signal);
  for (const [place, { target }] of mounts.entries())
    await makeDirectory(onHost(rootfs, mounts.slice(0, place), target), range.base);
  const hook = mountHookScript(mounts);
  if (hook !== undefined) await writeFile(paths.mountHook, hook, { mode: 0o644 });
  const resolvConf = await writeResolvConf(plan, paths.shared);
  const config = lxcConfig(configOptions(view, plan, files, resolvConf));
  const record: LxcRecord = {
    id,
    rootfs,
    stopSignal,
    env,
    user: spec.user === '' ? image.user : spec.user,
    workingDir,
    command,
    network: spec.network,
    base: range.base,
    limits: spec.resources,
    routes: spec.assigned.attachments.flatMap(({ interface: name, routes }) =>
      routes.map((route) => ({ interface: name, ...route })),
    ),
  };
  await writeFile(paths.config, config.start, { mode: 0o600 });
  await writeFile(paths.attachConfig, config.attach, { mode: 0o600 });
  await writeFile(paths.record, JSON.stringify(record), { mode: 0o600 });
}

/** The deepest volume has it. */
function onHost(rootfs: string, mounts: readonly GuestMount[], place: string): string {
  const mount = mounts.findLast(({ target }) => place.startsWith(`${target}/`));
  return mount === undefined
    ? path.join(rootfs, place)
    : path.join(mount.source, place.slice(mount.target.length));
}

/** Every directory of a path without links that is missing, with the guest's own ids. */
async function makeDirectory(place: string, owner: number): Promise<void> {
  if (existsSync(place)) return;
  await makeDirectory(path.dirname(place), owner);
  await mkdir(place, { mode: 0o755 });
  await chown(place, owner, owner);
}

/** A link there is replaced: it leads to where nothing is before the guest has begun, or to nowhere. */
async function writeResolvConf(
  { guest, mounts }: LxcPlan,
  shared: string,
): Promise<LxcConfigOptions['resolvConf']> {
  const { rootfs, spec, range } = guest;
  const text = guest.resolvConf ?? (spec.network === 'host' ? await hostNames() : undefined);
  if (text === undefined) return undefined;
  const directory = await resolveInRoot(rootfs, '/etc', mounts);
  const target = path.posix.join(directory, 'resolv.conf');
  const place = onHost(rootfs, mounts, target);
  await makeDirectory(path.dirname(place), range.base);
  const found = await lstat(place).catch(() => undefined);
  if (found === undefined || !found.isFile()) {
    await rm(place, { force: true });
    await writeFile(place, '', { flag: 'wx', mode: 0o644 });
    await chown(place, range.base, range.base);
  }
  const source = path.join(shared, 'resolv.conf');
  await writeFile(source, text, { mode: 0o644 });
  return { source, target };
}

const hostNames = (): Promise<string | undefined> =>
  readFile('/etc/resolv.conf', 'utf8').catch(() => undefined);
