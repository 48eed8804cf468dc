import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync, writeFileSync } from 'node:fs';
import { DroverError } from '#shared/errors.ts';
import type { ExitStatus, InstanceId } from '#shared/model.ts';
import type { Cgroups } from '../host/cgroup.ts';
import type { GuestState } from './driver.ts';
import { changedAtMs, processesOf, readTextIfThere } from './guest-files.ts';
import type { LxcHost } from './lxc-config.ts';
import { readLxcRun, type LxcRun } from './lxc-log.ts';
import type { LxcOutput } from './lxc-output.ts';
import type { LxcPaths, LxcRecord } from './lxc-paths.ts';

export interface LxcView {
  readonly paths: LxcPaths;
  /** What lives in guests. */
  readonly payload: Cgroups;
  /** One LXC monitor for each guest that lives. */
  readonly monitors: Cgroups;
  readonly output: LxcOutput;
  readonly host: LxcHost;
  /** Keeps what the kernel says of a guest's memory when its cgroup goes; undefined where it cannot. */
  stopHookOf(id: InstanceId): string | undefined;
}

const lostMessage = 'its monitor died: output and exit code of this run are lost';

/** What create wrote down, once all of it was done; undefined for what is not there or half there. */
export function readRecord({ paths }: LxcView, id: InstanceId): LxcRecord | undefined {
  return parseIfThere<LxcRecord>(paths.of(id).record);
}

/** Undefined also for what a power failure cut short: as good as never written. */
function parseIfThere<T>(file: string): T | undefined {
  const text = readTextIfThere(file);
  try {
    return text === undefined ? undefined : (JSON.parse(text) as T);
  } catch {
    return undefined;
  }
}

export function requireRecord(view: LxcView, id: InstanceId): LxcRecord {
  const record = readRecord(view, id);
  if (record === undefined)
    throw new DroverError('not-found', `no guest ${id}`, { subject: { instance: id } });
  return record;
}

/**
 * The first process among those of a guest: in a pid namespace below ours it is number 1, and in no other
 * below that.
 */
export const firstProcess = (processes: readonly number[]): number | undefined =>
  processes.find((pid) => {
    const numbers = numbersOf(pid);
    return numbers.length === 2 && numbers[1] === '1';
  });

/** What a process is called in each pid namespace, ours first; empty when it has ended. */
function numbersOf(pid: number): readonly string[] {
  const text = readTextIfThere(`/proc/${pid}/status`) ?? '';
  if (/^State:\s*[ZX]/m.test(text)) return [];
  return /^NSpid:\s*(.*)$/m.exec(text)?.[1]?.split(/\s+/) ?? [];
}

/**
 * The first process of a guest whose monitor was killed before it let it go on waits for ever, beside where
 * the monitor was.
 */
const isOutside = (pid: number): boolean => numbersOf(pid).length === 1;

export const monitorLives = ({ monitors }: LxcView, id: InstanceId): boolean =>
  monitors.processes(id).some(isOutside);

/**
 * lxc-start before it calls itself a monitor, and the monitor itself: it is in no group of its own while it
 * boots its guest again.
 */
export function startersOf({ paths }: LxcView, id: InstanceId): number[] {
  const title = `[lxc monitor] ${paths.lxcPath} ${id}`;
  return [...processesOf(paths.of(id).directory), ...processesOf(title)].filter(isOutside);
}

const bootId = (): string => (readTextIfThere('/proc/sys/kernel/random/boot_id') ?? '').trim();

/** Said before lxc-start is, so that a crash between the two shows. */
export const markStarted = ({ paths }: LxcView, id: InstanceId): void =>
  writeFileSync(paths.of(id).started, bootId());

/** How a guest is, from cgroups and what LXC has said: nothing is spawned and nobody is asked. not-found. */
export function readLxcState(view: LxcView, id: InstanceId): GuestState {
  requireRecord(view, id);
  const guest = view.paths.of(id);
  const base = { id, pid: 0, startedAtMs: 0, exit: undefined, limits: undefined, message: '' } as const;
  const processes = view.payload.processes(id);
  if (processes.length > 0) {
    const pid = firstProcess(processes);
    if (pid === undefined) return { ...base, phase: 'unknown', message: 'it is beginning or ending' };
    const phase = view.payload.isFrozen(id) ? 'paused' : 'running';
    const message = monitorLives(view, id) ? '' : lostMessage;
    const limits = { diskMib: 0, cpuMillicores: 0, memoryMib: 0, pids: 0, ...view.payload.limits(id) };
    return { ...base, phase, pid, startedAtMs: Math.round(changedAtMs(guest.started) ?? 0), limits, message };
  }
  const known = parseIfThere<{ readonly exit?: ExitStatus; readonly message: string }>(guest.exit);
  if (known !== undefined) return { ...base, phase: 'stopped', exit: known.exit, message: known.message };
  if (!existsSync(guest.started)) return { ...base, phase: 'created' };
  return readEnd(view, id);
}

function readEnd(view: LxcView, id: InstanceId): GuestState {
  const base = { id, pid: 0, startedAtMs: 0, limits: undefined } as const;
  const guest = view.paths.of(id);
  // Before the log: what a monitor writes last, it has written before it goes.
  let isBusy = monitorLives(view, id);
  let run = readRun(view, id);
  // To look for them is to read of every process of the host; who has ended has none.
  if (!isBusy && run.kind !== 'ended') {
    isBusy = startersOf(view, id).length > 0;
    run = readRun(view, id);
  }
  const isCounting = isBusy && run.kind === 'ended' && run.code !== 0 && isMemoryAwaited(view, id);
  if (run.kind === 'ended' && !isCounting)
    return { ...base, phase: 'stopped', ...keepEnd(view, id, run.code) };
  if (isBusy) {
    const message = run.kind === 'rebooting' ? 'it is rebooting' : 'it is beginning or ending';
    return { ...base, phase: 'unknown', exit: undefined, message };
  }
  const isThisBoot = readTextIfThere(guest.started) === bootId();
  // The agent died before it came to lxc-start, or lxc-start before it came to the guest.
  if (run.kind === 'none' && isThisBoot && !view.monitors.exists(id))
    return { ...base, phase: 'created', exit: undefined, message: '' };
  return { ...base, phase: 'stopped', ...keepEnd(view, id, undefined) };
}

/** The first look decides, so that later ones say the same, also after a reboot. */
function keepEnd(
  view: LxcView,
  id: InstanceId,
  code: number | undefined,
): { readonly exit: ExitStatus; readonly message: string } {
  const guest = view.paths.of(id);
  if (code === undefined) writeFileSync(guest.lost, '', { flag: 'a' });
  const exit = {
    code: code ?? 0,
    unknown: code === undefined,
    outOfMemory: wasOutOfMemory(view, id),
    atMs: Math.round(changedAtMs(code === undefined ? guest.lost : guest.monitorLog) ?? 0),
  };
  return writeEnd(view, id, { exit, message: code === undefined ? lostMessage : '' });
}

/** `exit` undefined: it never ran. */
export function writeEnd<T extends { readonly exit: ExitStatus | undefined; readonly message: string }>(
  { paths }: LxcView,
  id: InstanceId,
  end: T,
): T {
  const { exit } = paths.of(id);
  writeFileSync(`${exit}.new`, JSON.stringify(end));
  renameSync(`${exit}.new`, exit);
  return end;
}

/** The end is said first, what it did to memory some milliseconds later. */
const isMemoryAwaited = (view: LxcView, id: InstanceId): boolean =>
  requireRecord(view, id).limits.memoryMib > 0 &&
  view.stopHookOf(id) !== undefined &&
  (readTextIfThere(view.paths.of(id).memoryEvents) ?? '') === '';

function wasOutOfMemory({ paths, payload }: LxcView, id: InstanceId): boolean {
  const kept = /^oom_kill (\d+)$/m.exec(readTextIfThere(paths.of(id).memoryEvents) ?? '')?.[1];
  return kept === undefined ? payload.outOfMemory(id) : Number(kept) > 0;
}

const tailBytes = 256 * 1024;

/** The end of the log; a guest that reboots often makes it long. */
export function readTail(file: string): string {
  let handle: number;
  try {
    handle = openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
  try {
    const { size } = fstatSync(handle);
    const buffer = Buffer.alloc(Math.min(size, tailBytes));
    const length = readSync(handle, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString('latin1', 0, length);
  } finally {
    closeSync(handle);
  }
}

export const readRun = ({ paths }: LxcView, id: InstanceId): LxcRun =>
  readLxcRun(readTail(paths.of(id).monitorLog));
