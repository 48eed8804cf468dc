import { existsSync } from 'node:fs';
import { chmod, chown, lstat, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import { createUnderMonitor } from './conmon.ts';
import type { DriverContext, GuestSpec } from './driver.ts';
import type { GuestRecord } from './guest-files.ts';
import type { HostView } from './guest-state.ts';
import { resolveUser } from './guest-user.ts';
import { ociConfig } from './oci-config.ts';
import type { Seccomp } from './seccomp.ts';

/** conmon's own limit loses what is above it, so rotation comes long before. */
const monitorLogBytes = 256 * 1024 * 1024;

/** Writes down a guest and makes it under its monitor. What a failure leaves is the caller's to purge. */
export async function createCrunGuest(
  context: DriverContext,
  host: HostView,
  options: { readonly guest: GuestSpec; readonly runtime: string; readonly seccomp: Seccomp },
  signal: AbortSignal,
): Promise<void> {
  const { guest, runtime, seccomp } = options;
  const { id } = guest;
  const paths = host.paths.of(id);
  const compiled = await seccomp.compiled();
  const { record, config } = await describe(host, guest, { profile: seccomp.profile, compiled });
  await mkdir(paths.persist, { recursive: true, mode: 0o700 });
  await mkdir(paths.logDirectory, { recursive: true, mode: 0o700 });
  await writeFile(paths.record, JSON.stringify(record), { mode: 0o600 });
  await writeFile(paths.config, JSON.stringify(config), { mode: 0o600 });
  try {
    await createUnderMonitor(
      context,
      {
        runtime,
        id,
        crunRoot: host.paths.crunRoot,
        bundle: paths.directory,
        pidFile: paths.pid,
        monitorPidFile: paths.monitorPid,
        exitDirectory: host.paths.exits,
        logFile: paths.log,
        persist: paths.persist,
        maxLogBytes: monitorLogBytes,
        extra: [],
      },
      signal,
    );
  } finally {
    await restoreNullDevice();
  }
  if (compiled === undefined) await seccomp.keep(path.join(paths.crunState, 'seccomp.bpf'));
}

async function describe(
  host: HostView,
  guest: GuestSpec,
  seccomp: { readonly profile: Seccomp['profile']; readonly compiled: string | undefined },
): Promise<{ readonly record: GuestRecord; readonly config: object }> {
  const { id, spec, image, rootfs, range } = guest;
  const user = spec.user === '' ? image.user : spec.user;
  const cwd = spec.workingDir === '' ? image.workingDir : spec.workingDir;
  const env = { ...image.env, ...spec.env };
  const config = ociConfig({
    process: { args: guestCommand(guest), env, cwd, user: await resolveUser(user, rootfs) },
    rootfs,
    hostname: spec.displayName,
    cgroupPath: host.cgroups.path(id),
    range,
    resources: spec.resources,
    network: spec.network,
    seccomp,
    limitsSwap: host.cgroups.limitsSwap,
    hostFiles: spec.network === 'host' ? ['/etc/resolv.conf'].filter((file) => existsSync(file)) : [],
  });
  return { record: { id, rootfs, stopSignal: image.stopSignal, env, user, workingDir: cwd }, config };
}

const guestCommand = ({ spec, image }: GuestSpec): readonly string[] =>
  spec.command.length > 0 ? spec.command : [...image.entrypoint, ...image.command];

/** Everything that can be refused before the host is touched. invalid-argument. */
export async function checkGuestSpec(guest: GuestSpec): Promise<void> {
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

/**
 * crun 1.8 gives the standard streams of a first process to its user, and conmon's standard input is the
 * host's own /dev/null: without this, root of any guest could close it for the whole host.
 */
async function restoreNullDevice(): Promise<void> {
  const { uid, gid, mode } = await stat('/dev/null');
  if (uid !== 0 || gid !== 0) await chown('/dev/null', 0, 0);
  if ((mode & 0o777) !== 0o666) await chmod('/dev/null', 0o666);
}

/**
 * Removes the files of a guest of which nothing lives any more; the record last but one, so that a crash
 * shows.
 */
export async function removeGuestFiles(host: HostView, id: InstanceId): Promise<void> {
  const paths = host.paths.of(id);
  await rm(paths.exit, { force: true });
  await rm(paths.record, { force: true });
  await rm(paths.directory, { recursive: true, force: true });
}
