import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { DroverError, isKind } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { LogLine, LogOptions } from '#shared/streams.ts';
import { createCgroups } from '../host/cgroup.ts';
import { createCrunGuest, removeGuestFiles, restoreNullDevice } from './crun-create.ts';
import { kindOfCrunMessage, messageOfCrun } from './crun-error.ts';
import { crunExecs, notRunning } from './crun-exec.ts';
import { crunFacts } from './crun-facts.ts';
import { crunFilters } from './crun-filters.ts';
import { crunLivingGuests } from './crun-living.ts';
import { waitForEnd } from './living-guests.ts';
import { planCrunGuest } from './crun-plan.ts';
import { watchCrunGuests } from './crun-watch.ts';
import type { DriverContext, GuestSpec, RuntimeDriver } from './driver.ts';
import { driverPaths, killQuietly, namesIn, processesOf, readNumberIfThere } from './guest-files.ts';
import { checkGuestId } from './guest-id.ts';
import {
  livePid,
  monitorLives,
  readGuestState,
  readRecord,
  requireRecord,
  type HostView,
} from './guest-state.ts';
import { readLog } from './logs.ts';
import { once } from './once.ts';

export interface CrunOptions {
  /** Absolute path; conmon is given it. */
  readonly runtime?: string;
  readonly seccompProfile?: string;
}

const toolTimeoutMs = 20_000;
const killTimeoutMs = 10_000;
/** How long a monitor may take to write the exit code of a guest that is dead. */
const settleMs = 3000;

/**
 * RuntimeDriver with crun, one conmon per guest. A life cycle is three spawns: conmon, crun start, crun
 * delete. What lives is read from the guest's own cgroup, how it ended from the exit file, never from crun's
 * answers.
 */
export function crunDriver(context: DriverContext, options: CrunOptions = {}): RuntimeDriver {
  const { runtime = '/usr/bin/crun', seccompProfile = '/usr/share/containers/seccomp.json' } = options;
  const { commands, clock } = context;
  const paths = driverPaths(context.stateDir, context.runDir);
  const cgroups = createCgroups({ clock, prefix: context.cgroupPrefix });
  const ending = new Set<string>();
  const host: HostView = { paths, cgroups, ending };
  const making = new Set<string>();
  const execs = crunExecs(context, host, runtime);
  const watch = watchCrunGuests(context, host);
  const ready = once(() => makeDirectories(host));
  const seccompFor = crunFilters(commands, { runtime, profileFile: seccompProfile, cacheDir: paths.seccomp });
  const swept = once(() => sweepLeftovers());

  const crun = (args: readonly string[], signal?: AbortSignal) =>
    commands.run(
      runtime,
      ['--root', paths.crunRoot, '--log-format=json', '--cgroup-manager=cgroupfs', ...args],
      {
        timeoutMs: toolTimeoutMs,
        ...(signal === undefined ? {} : { signal }),
      },
    );

  async function kill(id: InstanceId): Promise<void> {
    ending.add(id);
    await cgroups.kill(id, killTimeoutMs).finally(() => ending.delete(id));
  }

  /**
   * Ends and removes whatever there is of the id, whole or half made. Runs to its end: it hears no caller.
   */
  async function purge(id: InstanceId): Promise<void> {
    const guest = paths.of(id);
    if (readRecord(host, id) === undefined) {
      // Half made: its monitor may be at work still and would finish what we remove.
      for (const pid of processesOf(guest.directory)) killQuietly(pid);
    }
    await kill(id);
    await settle(id);
    const monitor = readNumberIfThere(guest.monitorPid);
    if (monitor !== undefined && monitorLives(host, id)) killQuietly(monitor);
    if (existsSync(guest.crunState)) {
      // It may hang, or say that all is well and lie: what counts is what is left afterwards.
      await crun(['delete', '--force', id]).catch((error: unknown) => {
        if (!isKind(error, 'deadline-exceeded', 'internal')) throw error;
      });
    }
    await kill(id);
    await cgroups.remove(id);
    await rm(guest.crunState, { recursive: true, force: true });
    await removeGuestFiles(host, id);
  }

  /** Waits until the exit code is written, or nobody is left to write it. */
  async function settle(id: InstanceId): Promise<void> {
    const endMs = clock.monotonicMs() + settleMs;
    for (let waitMs = 1; clock.monotonicMs() < endMs; waitMs = Math.min(20, waitMs * 2)) {
      if (!monitorLives(host, id)) return;
      await clock.sleep(waitMs);
    }
  }

  /** What a predecessor left half made or half removed, and cgroups of ours without a guest. */
  async function sweepLeftovers(): Promise<void> {
    await restoreNullDevice();
    const names = new Set([...namesIn(paths.guests), ...namesIn(paths.crunRoot), ...cgroups.list()]);
    for (const name of names) {
      const id = name as InstanceId;
      if (!isGuestId(name) || making.has(name) || readRecord(host, id) !== undefined) continue;
      // What cannot be killed now is found again at the next start; the other guests do not wait for it.
      await purge(id).catch((error: unknown) => {
        if (!isKind(error, 'deadline-exceeded')) throw error;
      });
    }
  }

  async function create(guest: GuestSpec, signal: AbortSignal): Promise<void> {
    checkGuestId(guest.id);
    const fault = cgroups.fault();
    // Where a hierarchy is missing, crun would make plain directories in its place, and limit nothing.
    if (fault !== '') throw new DroverError('unavailable', fault, { subject: { instance: guest.id } });
    const plan = await planCrunGuest(context, guest);
    await ready();
    const subject = { instance: guest.id };
    if (making.has(guest.id)) throw new DroverError('aborted', `${guest.id} is being made`, { subject });
    if (readRecord(host, guest.id) !== undefined) {
      throw new DroverError('already-exists', `${guest.id} is there already`, { subject });
    }
    making.add(guest.id);
    const { logDirectory } = paths.of(guest.id);
    const hasLogs = existsSync(logDirectory);
    try {
      if (hasLeftovers(host, guest.id)) await purge(guest.id);
      await createCrunGuest(
        context,
        host,
        { plan, runtime, seccomp: await seccompFor(plan.capabilities) },
        signal,
      );
    } catch (error) {
      await purge(guest.id);
      if (!hasLogs) await rm(logDirectory, { recursive: true, force: true });
      throw error;
    } finally {
      making.delete(guest.id);
    }
  }

  async function start(id: InstanceId, signal: AbortSignal): Promise<void> {
    const guest = paths.of(id);
    const { phase } = readGuestState(host, id);
    if (phase === 'running' || phase === 'paused') return;
    if (phase !== 'created') throw notRunning(id, phase);
    await restoreNullDevice();
    await writeFile(guest.started, '');
    let failure: DroverError | undefined;
    try {
      const { exitCode, stderr } = await crun(['start', id], signal);
      const words = messageOfCrun(stderr) || `exit ${exitCode}`;
      const subject = { instance: id };
      if (exitCode !== 0)
        failure = new DroverError(kindOfCrunMessage(words), `crun start: ${words}`, { subject });
    } catch (error) {
      if (!isKind(error, 'deadline-exceeded')) throw error;
      failure = error;
    }
    // The pipe is gone as soon as the guest runs, whatever crun said of it.
    if (failure !== undefined && existsSync(guest.startFifo)) throw failure;
  }

  async function stop(id: InstanceId, graceMs: number, signal: AbortSignal): Promise<void> {
    const record = requireRecord(host, id);
    const { phase } = readGuestState(host, id);
    const pid = livePid(host, id);
    if ((phase === 'running' || phase === 'paused') && pid !== undefined && graceMs > 0) {
      killQuietly(pid, record.stopSignal);
      // A frozen one hears it now.
      await cgroups.thaw(id);
      await waitForEnd({ clock, cgroups }, id, graceMs, signal);
    }
    await kill(id);
    await settle(id);
  }

  async function* logs(id: InstanceId, wanted: LogOptions, signal: AbortSignal): AsyncIterable<LogLine> {
    requireRecord(host, id);
    const isOver = (): boolean =>
      readRecord(host, id) === undefined || (cgroups.processes(id).length === 0 && !monitorLives(host, id));
    yield* readLog(paths.of(id).log, wanted, { clock, isOver, signal });
  }

  return {
    name: 'crun',
    network: 'namespace',
    ...crunLivingGuests(context, host),
    fingerprint: (signal) => crunFacts(context, runtime, cgroups.fault(), signal),
    create,
    start,
    stop,
    async remove(id, _signal, { keepLogs } = { keepLogs: false }) {
      const guest = paths.of(id);
      if (hasLeftovers(host, id)) await purge(id);
      if (!keepLogs) await rm(guest.logDirectory, { recursive: true, force: true });
    },
    inspect: async (id) => {
      if (making.has(id))
        throw new DroverError('not-found', `${id} is being made`, { subject: { instance: id } });
      return readGuestState(host, id);
    },
    async list() {
      await ready();
      await swept();
      return namesIn(paths.guests)
        .filter((name) => isGuestId(name) && !making.has(name))
        .filter((name) => readRecord(host, name as InstanceId) !== undefined)
        .map((name) => readGuestState(host, name as InstanceId));
    },
    onChange: (callback) => watch.subscribe(callback),
    exec: execs.exec,
    execExit: execs.execExit,
    logs,
    async close() {
      watch.close();
      await cgroups.leave();
    },
  };
}

async function makeDirectories({ paths }: HostView): Promise<void> {
  for (const directory of [paths.guests, paths.logs, paths.execs, paths.crunRoot, paths.exits]) {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  }
}

const hasLeftovers = ({ paths, cgroups }: HostView, id: InstanceId): boolean => {
  const guest = paths.of(id);
  return (
    [guest.directory, guest.crunState, guest.exit].some((each) => existsSync(each)) || cgroups.exists(id)
  );
};

const isGuestId = (name: string): boolean => /^[a-z0-9][a-z0-9-]{0,40}$/.test(name);
