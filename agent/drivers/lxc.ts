import { existsSync } from 'node:fs';
import { mkdir, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { DroverError, isKind } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { LogLine, LogOptions } from '#shared/streams.ts';
import { createCgroups } from '../host/cgroup.ts';
import { checkSignal, notRunning } from './crun-exec.ts';
import type { DriverContext, GuestSpec, RuntimeDriver } from './driver.ts';
import { killQuietly, namesIn, removeFile } from './guest-files.ts';
import { checkGuestId } from './guest-id.ts';
import { innerCgroup } from './lxc-config.ts';
import { lxcConsoles } from './lxc-console.ts';
import { createLxcGuest, planLxcGuest } from './lxc-create.ts';
import { lxcExecs } from './lxc-exec.ts';
import { lxcFacts, probeLxcHost, type LxcTools } from './lxc-facts.ts';
import { livingGuests, type LivingView, waitForEnd } from './living-guests.ts';
import { createLxcOutput } from './lxc-output.ts';
import { lxcPaths } from './lxc-paths.ts';
import { removeGroups, startLxcGuest } from './lxc-start.ts';
import {
  firstProcess,
  monitorLives,
  readLxcState,
  readRecord,
  readRun,
  requireRecord,
  startersOf,
  writeEnd,
  type LxcView,
} from './lxc-state.ts';
import { watchLxcGuests } from './lxc-watch.ts';
import { once } from './once.ts';

export interface LxcOptions {
  readonly tools?: Partial<LxcTools>;
  readonly seccompProfile?: string;
}

const defaultTools: LxcTools = {
  start: '/usr/bin/lxc-start',
  attach: '/usr/bin/lxc-attach',
  console: '/usr/bin/lxc-console',
};
const killTimeoutMs = 10_000;
/** How long a monitor may take to say how a guest ended, and to end itself. */
const settleMs = 5000;
const cgroupRoot = '/sys/fs/cgroup';

/**
 * RuntimeDriver with LXC. A life cycle is one spawn, lxc-start: it leaves one monitor for each guest, which
 * writes the guest's output and, in its log, how it ended, whether an agent runs or not. What lives is read
 * from the guest's own cgroup, and stopping is a signal. Standard output and error are one: the guest's
 * terminal. Guests that reboot are started again by their monitor.
 */
export function lxcDriver(context: DriverContext, options: LxcOptions = {}): RuntimeDriver {
  const { clock } = context;
  const tools = { ...defaultTools, ...options.tools };
  const view = openView(context, options.seccompProfile ?? '/usr/share/lxc/config/common.seccomp');
  const { paths, payload, monitors, output, host } = view;
  const making = new Set<string>();
  const execs = lxcExecs(context, view, tools);
  const consoles = lxcConsoles(context, view, tools);
  const watch = watchLxcGuests(context, view);
  const swept = once(() => sweepLeftovers());

  async function ready(): Promise<void> {
    for (const directory of [paths.shared, paths.lxcPath])
      await mkdir(directory, { recursive: true, mode: 0o711 });
    for (const directory of [paths.guests, paths.execs, paths.monitorLogs])
      await mkdir(directory, { recursive: true, mode: 0o700 });
    output.begin();
  }
  const prepared = once(ready);

  /**
   * Ends and removes whatever there is of the id, whole or half made. Runs to its end: it hears no caller.
   */
  async function purge(id: InstanceId): Promise<void> {
    const guest = paths.of(id);
    for (const pid of readRecord(view, id) === undefined ? startersOf(view, id) : []) killQuietly(pid);
    await endAll(id);
    await removeGroups(view, id);
    for (const file of [guest.monitorLog, guest.memoryEvents, guest.record]) await removeFile(file);
    await rm(guest.shared, { recursive: true, force: true });
    await rm(guest.directory, { recursive: true, force: true });
  }

  /** Nothing of it lives, nor is about to. */
  const isOver = (id: InstanceId): boolean =>
    !monitorLives(view, id) &&
    payload.processes(id).length === 0 &&
    (readRun(view, id).kind === 'ended' || startersOf(view, id).length === 0);

  /** Kills what lives and gives its monitor time to say how it ended and to go. */
  async function endAll(id: InstanceId): Promise<void> {
    if (isOver(id)) return;
    const first = firstProcess(payload.processes(id));
    // The rest of its pid namespace ends with it, and this is soon done.
    if (first !== undefined && !payload.isFrozen(id)) killQuietly(first);
    else await payload.kill(id, killTimeoutMs);
    const endMs = clock.monotonicMs() + settleMs;
    for (let waitMs = 1; clock.monotonicMs() < endMs; waitMs += 1) {
      if (isOver(id)) return;
      // It may be about to boot the guest again.
      if (waitMs % 20 === 0 && payload.processes(id).length > 0) await payload.kill(id, killTimeoutMs);
      await clock.sleep(Math.min(waitMs, 20));
    }
    for (const pid of startersOf(view, id)) killQuietly(pid);
    await monitors.kill(id, killTimeoutMs);
    await payload.kill(id, killTimeoutMs);
  }

  /** What a predecessor left half made or half removed, and cgroups of ours without a guest. */
  async function sweepLeftovers(): Promise<void> {
    const names = new Set([...namesIn(paths.guests), ...payload.list(), ...monitors.list()]);
    for (const name of names) {
      const id = name as InstanceId;
      if (!isGuestId(name) || making.has(name) || readRecord(view, id) !== undefined) continue;
      // What cannot be killed now is found again at the next start; the other guests do not wait for it.
      await purge(id).catch((error: unknown) => {
        if (!isKind(error, 'deadline-exceeded')) throw error;
      });
    }
  }

  async function create(guest: GuestSpec, signal: AbortSignal): Promise<void> {
    const { id } = guest;
    checkGuestId(id);
    const subject = { instance: id };
    const fault = payload.fault();
    if (fault !== '') throw new DroverError('unavailable', fault, { subject });
    const plan = await planLxcGuest(context, view, guest);
    await prepared();
    if (making.has(id)) throw new DroverError('aborted', `${id} is being made`, { subject });
    if (readRecord(view, id) !== undefined)
      throw new DroverError('already-exists', `${id} is there already`, { subject });
    making.add(id);
    try {
      // Groups in which nothing lives go before the start.
      if (existsSync(paths.of(id).directory) || payload.processes(id).length > 0) await purge(id);
      await createLxcGuest(context, view, plan, signal);
    } catch (error) {
      await purge(id);
      throw error;
    } finally {
      making.delete(id);
    }
  }
  const hasLeftovers = (id: InstanceId): boolean =>
    existsSync(paths.of(id).directory) || payload.exists(id) || monitors.exists(id);

  async function start(id: InstanceId, signal: AbortSignal): Promise<void> {
    const record = requireRecord(view, id);
    const { phase } = readLxcState(view, id);
    if (phase === 'running' || phase === 'paused') return;
    if (phase !== 'created') throw notRunning(id, phase);
    await prepared();
    await startLxcGuest(context, view, { record, tool: tools.start }, signal);
  }

  async function stop(id: InstanceId, graceMs: number, signal: AbortSignal): Promise<void> {
    const record = requireRecord(view, id);
    const { phase, pid } = readLxcState(view, id);
    if (phase === 'created') {
      writeEnd(view, id, { exit: undefined, message: '' });
      return;
    }
    if ((phase === 'running' || phase === 'paused') && graceMs > 0) {
      // A frozen process hears nothing.
      if (phase === 'paused') await payload.thaw(id);
      killQuietly(pid, record.stopSignal);
      await waitForEnd({ clock, cgroups: payload }, id, graceMs, signal);
    }
    await endAll(id);
  }

  async function* logs(id: InstanceId, wanted: LogOptions, signal: AbortSignal): AsyncIterable<LogLine> {
    requireRecord(view, id);
    const isOver = (): boolean =>
      readRecord(view, id) === undefined || (payload.processes(id).length === 0 && !monitorLives(view, id));
    yield* output.read(id, wanted, { isOver, signal });
  }

  return {
    name: 'lxc',
    network: 'native',
    ...livingGuests(livingView(context, view)),
    fingerprint: (signal) => lxcFacts(context, tools, host, payload.fault(), signal),
    create,
    start,
    stop,
    async signal(id, signalNumber) {
      requireRecord(view, id);
      const { phase } = readLxcState(view, id);
      const pid = firstProcess(payload.processes(id));
      if (pid === undefined) throw notRunning(id, phase);
      killQuietly(pid, checkSignal(signalNumber));
      // In version 1 of cgroups even this one waits for the thaw.
      if (signalNumber === 9 && phase === 'paused') await endAll(id);
    },
    async remove(id, _signal, { keepLogs } = { keepLogs: false }) {
      checkGuestId(id);
      if (hasLeftovers(id)) await purge(id);
      if (!keepLogs) output.remove(id);
    },
    inspect: async (id) => {
      if (!making.has(id)) return readLxcState(view, id);
      throw new DroverError('not-found', `${id} is being made`, { subject: { instance: id } });
    },
    async list() {
      await prepared();
      await swept();
      return namesIn(paths.guests)
        .filter((name) => isGuestId(name) && !making.has(name))
        .filter((name) => readRecord(view, name as InstanceId) !== undefined)
        .map((name) => readLxcState(view, name as InstanceId));
    },
    onChange: (callback) => watch.subscribe(callback),
    exec: execs.exec,
    execExit: execs.execExit,
    console: consoles.open,
    logs,
    async close() {
      consoles.close();
      watch.close();
      output.close();
      await payload.leave();
      await monitors.leave();
      await removeLocks(paths.lxcPath);
    },
  };
}

function openView(context: DriverContext, seccompProfile: string): LxcView {
  const { clock, cgroupPrefix, stateDir, runDir } = context;
  const paths = lxcPaths(stateDir, runDir);
  const payload = createCgroups({ clock, prefix: `${cgroupPrefix}-lxc` });
  const host = probeLxcHost(payload, seccompProfile, cgroupRoot);
  return {
    paths,
    payload,
    monitors: createCgroups({ clock, prefix: `${cgroupPrefix}-lxc-monitor` }),
    output: createLxcOutput(paths.output, clock),
    host,
    stopHookOf(id) {
      const [controller, file] =
        host.cgroupVersion === 2 ? ['', 'memory.events'] : ['memory', 'memory.oom_control'];
      const inner = host.cgroupVersion === 2 ? '' : innerCgroup;
      const source = path.join(cgroupRoot, controller, payload.path(id), inner, file);
      const target = paths.of(id).memoryEvents;
      // A shell reads it.
      return /^[A-Za-z0-9/._-]+$/.test(target) ? `/bin/cp ${source} ${target}` : undefined;
    },
  };
}

/** LXC makes a directory for each path of guests and never removes it. */
async function removeLocks(lxcPath: string): Promise<void> {
  const top = '/run/lxc/lock';
  for (let place = path.join(top, lxcPath); place.startsWith(top); place = path.dirname(place)) {
    // Others may have theirs beside it, and stay.
    const removed = await rmdir(place)
      .then(() => true)
      .catch(() => false);
    if (!removed) return;
  }
}

const isGuestId = (name: string): boolean => /^[a-z0-9][a-z0-9-]{0,40}$/.test(name);

const livingView = ({ clock }: DriverContext, view: LxcView): LivingView => ({
  clock,
  cgroups: view.payload,
  state: (id) => readLxcState(view, id),
  firstProcess: (id) => firstProcess(view.payload.processes(id)),
  isOnHostNetwork: (id) => requireRecord(view, id).network === 'host',
});
