import { asDroverError, DroverError, isKind } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import { quotaUsOf } from '../host/cgroup-control.ts';
import type { DriverContext } from './driver.ts';
import { killQuietly, removeFile } from './guest-files.ts';
import { startEnvironment } from './lxc-facts.ts';
import { lxcError } from './lxc-log.ts';
import type { LxcRecord } from './lxc-paths.ts';
import { firstProcess, markStarted, readRun, readTail, startersOf, type LxcView } from './lxc-state.ts';

const startTimeoutMs = 30_000;
const killTimeoutMs = 10_000;

/**
 * One lxc-start. It says 0 for a guest that runs already, so the caller has looked before; what it says
 * afterwards is held against the host. Where it fails nothing is left, and the guest is created still.
 */
export async function startLxcGuest(
  { commands }: DriverContext,
  view: LxcView,
  start: { readonly record: LxcRecord; readonly tool: string },
  signal: AbortSignal,
): Promise<void> {
  const { record, tool } = start;
  const { id } = record;
  const paths = view.paths.of(id);
  // With anything of these left, LXC would take other groups, or fail.
  await clearGroups(view, id);
  for (const file of [paths.monitorLog, paths.memoryEvents]) await removeFile(file);
  markStarted(view, id);
  const args = ['-P', view.paths.lxcPath, '-n', id, '-f', paths.config, '--', ...record.command];
  const options = { signal, timeoutMs: startTimeoutMs, env: startEnvironment };
  let failure: unknown;
  try {
    const { exitCode } = await commands.run(tool, args, options);
    if (exitCode !== 0) failure = lxcError('lxc-start', readTail(paths.monitorLog), exitCode, id);
  } catch (error) {
    failure = error;
  }
  try {
    if (hasBegun(view, id)) {
      checkLimits(view, record);
      await addRoutes(commands, view, record);
      return;
    }
    if (failure !== undefined) throw asDroverError(failure);
    throw new DroverError('internal', 'lxc-start says that it has started, and nothing runs');
  } catch (error) {
    await undoStart(view, id);
    await removeFile(paths.started);
    throw isKind(error, 'internal') ? asOutOfTime(error, failure) : error;
  }
}

const asOutOfTime = (error: unknown, failure: unknown): unknown =>
  isKind(failure, 'deadline-exceeded') ? failure : error;

/** It may have ended again by now. */
function hasBegun(view: LxcView, id: InstanceId): boolean {
  return readRun(view, id).kind !== 'none';
}

async function undoStart(view: LxcView, id: InstanceId): Promise<void> {
  for (const pid of startersOf(view, id)) killQuietly(pid);
  await clearGroups(view, id);
}

/** The payload before its monitor, which says how it ended as long as it can. */
export async function clearGroups({ payload, monitors }: LxcView, id: InstanceId): Promise<void> {
  for (const groups of [payload, monitors]) {
    if (!groups.exists(id)) continue;
    await groups.kill(id, killTimeoutMs);
    await groups.remove(id);
  }
}

/** The groups of a guest that has ended. */
export async function removeGroups(view: LxcView, id: InstanceId): Promise<void> {
  try {
    await Promise.all([view.payload.remove(id), view.monitors.remove(id)]);
  } catch (error) {
    if (!isKind(error, 'unavailable')) throw error;
    // In some hierarchy something of it lives.
    await clearGroups(view, id);
  }
}

/** LXC takes keys of another version of cgroups without a word, and limits nothing. */
function checkLimits({ payload }: LxcView, { id, limits }: LxcRecord): void {
  if (firstProcess(payload.processes(id)) === undefined) return;
  const found = payload.limits(id);
  const { cpuMillicores, memoryMib, pids } = limits;
  const cpu = cpuMillicores === 0 ? 0 : Math.round(quotaUsOf(cpuMillicores) / 100);
  const isAsWanted = found?.memoryMib === memoryMib && found.pids === pids && found.cpuMillicores === cpu;
  // Gone while we looked.
  if (isAsWanted || firstProcess(payload.processes(id)) === undefined) return;
  const message = `wanted the limits ${JSON.stringify(limits)}, the kernel says ${JSON.stringify(found)}`;
  throw new DroverError('internal', message, { subject: { instance: id } });
}

/** LXC has no words for routes inside. */
async function addRoutes(
  commands: DriverContext['commands'],
  { payload }: LxcView,
  { id, routes }: LxcRecord,
): Promise<void> {
  const pid = routes.length === 0 ? undefined : firstProcess(payload.processes(id));
  if (pid === undefined) return;
  for (const { interface: name, destination, via } of routes) {
    const route = ['ip', 'route', 'replace', destination, 'via', via, 'dev', name];
    const args = ['-t', `${pid}`, '-n', '--', ...route];
    const { exitCode, stderr } = await commands.run('nsenter', args, { timeoutMs: 5000 });
    if (exitCode === 0 || firstProcess(payload.processes(id)) !== pid) continue;
    const words = stderr
      .trim()
      .replaceAll(/\p{Cc}/gu, ' ')
      .slice(0, 300);
    throw new DroverError('failed-precondition', `route to ${destination}: ${words}`, {
      subject: { instance: id },
    });
  }
}
