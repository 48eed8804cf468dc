import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { InstanceId } from '#shared/model.ts';
import { createUnderMonitor } from './conmon.ts';
import { guestCommand, type GuestPlan } from './crun-plan.ts';
import type { DriverContext } from './driver.ts';
import { makeDeviceFiles } from './guest-devices.ts';
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
  options: { readonly plan: GuestPlan; readonly runtime: string; readonly seccomp: Seccomp },
  signal: AbortSignal,
): Promise<void> {
  const { plan, runtime, seccomp } = options;
  const { id, range, resolvConf } = plan.guest;
  const paths = host.paths.of(id);
  const compiled = await seccomp.compiled();
  const { record, config } = await describe(host, plan, { profile: seccomp.profile, compiled });
  await mkdir(paths.persist, { recursive: true, mode: 0o700 });
  await mkdir(paths.logDirectory, { recursive: true, mode: 0o700 });
  await writeFile(paths.record, JSON.stringify(record), { mode: 0o600 });
  if (resolvConf !== undefined) await writeFile(paths.resolvConf, resolvConf, { mode: 0o644 });
  await makeDeviceFiles(context.commands, paths.devices, plan.devices, range, signal);
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
  plan: GuestPlan,
  seccomp: { readonly profile: Seccomp['profile']; readonly compiled: string | undefined },
): Promise<{ readonly record: GuestRecord; readonly config: object }> {
  const { guest, capabilities, mounts, devices, resolvConfTarget } = plan;
  const { id, spec, image, rootfs, range } = guest;
  const paths = host.paths.of(id);
  const user = spec.user === '' ? image.user : spec.user;
  const cwd = spec.workingDir === '' ? image.workingDir : spec.workingDir;
  const env = { ...image.env, ...spec.env };
  const hostNames = ['/etc/resolv.conf']
    .filter((file) => spec.network === 'host' && existsSync(file))
    .map((file) => ({ source: file, target: file }));
  const config = ociConfig({
    process: { args: guestCommand(guest), env, cwd, user: await resolveUser(user, rootfs), capabilities },
    rootfs,
    hostname: spec.displayName,
    cgroupPath: host.cgroups.path(id),
    range,
    resources: spec.resources,
    network: spec.network,
    seccomp,
    limitsSwap: host.cgroups.limitsSwap,
    volumes: mounts,
    files:
      resolvConfTarget === undefined ? hostNames : [{ source: paths.resolvConf, target: resolvConfTarget }],
    devices: devices.map((device, place) => ({ ...device, source: path.join(paths.devices, `${place}`) })),
  });
  const record = { id, rootfs, stopSignal: image.stopSignal, env, user, workingDir: cwd, capabilities };
  return { record: { ...record, network: spec.network }, config };
}

/**
 * crun 1.8 gives the standard streams of a first process to its user, and conmon's standard input is the
 * host's own /dev/null: without this, root of any guest could close it for the whole host. Said after create,
 * and again before start, for an agent may have been killed between the two.
 */
export async function restoreNullDevice(): Promise<void> {
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
