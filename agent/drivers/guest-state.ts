import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { ExitStatus, InstanceId } from '#shared/model.ts';
import type { Cgroups } from '../host/cgroup.ts';
import type { GuestState } from './driver.ts';
import {
  changedAtMs,
  isMonitor,
  readNumberIfThere,
  readTextIfThere,
  type DriverPaths,
  type GuestPaths,
  type GuestRecord,
} from './guest-files.ts';

export interface HostView {
  readonly paths: DriverPaths;
  readonly cgroups: Cgroups;
  /** Those that are being killed: frozen for a moment, so that nothing forks meanwhile. */
  readonly ending: ReadonlySet<string>;
}

const lostMessage = 'its monitor died: output and exit code of this run are lost';

/** What create wrote down, once all of it was done; undefined for what is not there or half there. */
export function readRecord({ paths }: HostView, id: InstanceId): GuestRecord | undefined {
  const guest = paths.of(id);
  const text = readTextIfThere(guest.record);
  if (text === undefined || readNumberIfThere(guest.pid) === undefined) return undefined;
  try {
    return JSON.parse(text) as GuestRecord;
  } catch {
    return undefined; // Cut short by a power failure: as good as never made.
  }
}

export function requireRecord(host: HostView, id: InstanceId): GuestRecord {
  const record = readRecord(host, id);
  if (record === undefined)
    throw new DroverError('not-found', `no guest ${id}`, { subject: { instance: id } });
  return record;
}

/**
 * The first process, if it lives and is in the guest's own cgroup: a pid from a file may be anybody's by
 * now.
 */
export function livePid({ paths, cgroups }: HostView, id: InstanceId): number | undefined {
  const pid = readNumberIfThere(paths.of(id).pid);
  return pid !== undefined && cgroups.processes(id).includes(pid) ? pid : undefined;
}

export const monitorLives = ({ paths }: HostView, id: InstanceId): boolean => {
  const guest = paths.of(id);
  return isMonitor(readNumberIfThere(guest.monitorPid), guest.directory);
};

/**
 * How a guest is, from pid file, cgroup, exit file and monitor: nothing is spawned and nobody is asked.
 * not-found.
 */
export function readGuestState(host: HostView, id: InstanceId): GuestState {
  requireRecord(host, id);
  const guest = host.paths.of(id);
  const base = { id, pid: 0, startedAtMs: 0, exit: undefined, limits: undefined, message: '' } as const;
  const processes = host.cgroups.processes(id);
  const pid = readNumberIfThere(guest.pid) ?? 0;
  if (processes.includes(pid)) {
    const message = monitorLives(host, id) ? '' : lostMessage;
    if (existsSync(guest.startFifo)) return { ...base, phase: 'created', pid, message };
    const limits = { diskMib: 0, cpuMillicores: 0, memoryMib: 0, pids: 0, ...host.cgroups.limits(id) };
    const phase = host.cgroups.isFrozen(id) && !host.ending.has(id) ? 'paused' : 'running';
    return { ...base, phase, pid, startedAtMs: startOf(guest), limits, message };
  }
  if (processes.length > 0) return { ...base, phase: 'unknown', message: 'it is ending' };
  const exit = readExit(host, id);
  if (exit !== undefined) return { ...base, phase: 'stopped', exit };
  if (monitorLives(host, id)) {
    // The monitor may have written and gone between our two looks.
    const late = readExit(host, id);
    if (late !== undefined) return { ...base, phase: 'stopped', exit: late };
    return { ...base, phase: 'unknown', message: 'it has ended; its exit code is being written' };
  }
  const written = readExit(host, id);
  if (written !== undefined) return { ...base, phase: 'stopped', exit: written };
  const lost = { code: 0, unknown: true, outOfMemory: host.cgroups.outOfMemory(id), atMs: lostSince(guest) };
  return { ...base, phase: 'stopped', exit: lost, message: lostMessage };
}

const startOf = (guest: GuestPaths): number =>
  Math.round(changedAtMs(guest.started) ?? changedAtMs(guest.crunState) ?? 0);

function readExit({ paths, cgroups }: HostView, id: InstanceId): ExitStatus | undefined {
  const guest = paths.of(id);
  // The second one is on disk, and outlives a reboot.
  const file = [guest.exit, path.join(guest.persist, 'exit')].find(
    (each) => readNumberIfThere(each) !== undefined,
  );
  if (file === undefined) return undefined;
  const outOfMemory = [guest.directory, guest.persist].some((each) => existsSync(path.join(each, 'oom')));
  return {
    code: readNumberIfThere(file) ?? 0,
    unknown: false,
    outOfMemory: outOfMemory || cgroups.outOfMemory(id),
    atMs: Math.round(changedAtMs(file) ?? 0),
  };
}

/** The first look decides, so that later ones say the same. */
function lostSince(guest: GuestPaths): number {
  if (!existsSync(guest.lost)) writeFileSync(guest.lost, '');
  return Math.round(changedAtMs(guest.lost) ?? 0);
}
