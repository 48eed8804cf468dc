import type { Clock } from '#shared/clock.ts';
import { DroverError, asDroverError, isKind } from '#shared/errors.ts';
import { rowOf, rowsOf } from '../api/answer-rows.ts';
import type { ClusterApi, TaskEnd, Tasks } from '../cluster-api.ts';
import { endOf, lostTask, nameOf, subjectOf } from './task-end.ts';
import { type TaskLog, createTaskLog } from './task-log.ts';
import { type Upid, parseUpid } from './upid.ts';

const firstIntervalMs = 100;
const longIntervalMs = 2000;
const longestIntervalMs = 5000;
const longTaskMs = 60_000;
/** Above that many, one list tells which of them run. */
const fewTasks = 3;
const listLimit = 500;
const readsAtOnce = 8;

interface Waiter {
  readonly resolve: (end: TaskEnd) => void;
  readonly reject: (error: Error) => void;
  readonly onLog: ((line: string) => void) | undefined;
  readonly logAfterMs: number;
}

interface Followed {
  readonly upid: Upid;
  readonly sinceMs: number;
  readonly waiters: Set<Waiter>;
  readonly log: TaskLog;
  nextAtMs: number;
  /** Undefined while its node answers. */
  silentSinceMs: number | undefined;
}

/** The tasks of one node that somebody waits for. */
interface NodeTasks {
  readonly name: string;
  readonly followed: Map<string, Followed>;
  readonly leaving: AbortController;
  looking: boolean;
  takeBack: () => void;
}

/** A node's silence that is longer than this will tell nothing of a task any more. */
const lostAfterMs = 5 * 60_000;

/** A fifth of the time it has run: what is waited too long stays small beside the work itself. */
const intervalOf = (ranMs: number): number =>
  ranMs > longTaskMs
    ? longestIntervalMs
    : Math.min(longIntervalMs, Math.max(firstIntervalMs, Math.round(ranMs / 5)));

export function createTasks(options: {
  readonly cluster: string;
  readonly api: ClusterApi;
  readonly clock: Clock;
}): Tasks {
  const { cluster, api, clock } = options;
  const nodes = new Map<string, NodeTasks>();

  function nodeOf(name: string): NodeTasks {
    const known = nodes.get(name);
    if (known !== undefined) return known;
    const leaving = new AbortController();
    const made = { name, followed: new Map(), leaving, looking: false, takeBack: () => undefined };
    nodes.set(name, made);
    return made;
  }

  function follow(upid: Upid): Followed {
    const node = nodeOf(upid.node);
    const known = node.followed.get(upid.text);
    if (known !== undefined) return known;
    const nowMs = clock.monotonicMs();
    const task = {
      upid,
      sinceMs: nowMs,
      waiters: new Set<Waiter>(),
      log: createTaskLog(api, upid, node.leaving.signal),
      nextAtMs: nowMs + firstIntervalMs,
      silentSinceMs: undefined,
    };
    node.followed.set(upid.text, task);
    schedule(node);
    return task;
  }

  const wantsLog = ({ waiters, sinceMs }: Followed): boolean =>
    waiters
      .values()
      .some(({ onLog, logAfterMs }) => onLog !== undefined && clock.monotonicMs() - sinceMs >= logAfterMs);

  function schedule(node: NodeTasks): void {
    node.takeBack();
    if (node.looking || node.followed.size === 0) return;
    const nextAtMs = Math.min(...node.followed.values().map((task) => task.nextAtMs));
    node.takeBack = clock.after(Math.max(0, nextAtMs - clock.monotonicMs()), () => void look(node));
  }

  /** Those that are due, and those that soon would be: one list serves all. */
  async function look(node: NodeTasks): Promise<void> {
    const nowMs = clock.monotonicMs();
    const due = [...node.followed.values()].filter(
      (task) => task.nextAtMs - nowMs <= intervalOf(nowMs - task.sinceMs) / 2,
    );
    node.looking = true;
    try {
      const listed = due.length > fewTasks ? await listRunning(node) : new Set<string>();
      if (listed instanceof DroverError) for (const task of due) noteSilent(task, listed);
      else await readAll(node, due, listed);
    } finally {
      node.looking = false;
      schedule(node);
    }
  }

  async function readAll(
    node: NodeTasks,
    due: readonly Followed[],
    listed: ReadonlySet<string>,
  ): Promise<void> {
    const runs = ({ upid }: Followed): boolean => listed.has(upid.text);
    for (const task of due) if (runs(task)) noteRunning(task);
    const queue = due.filter((task) => !runs(task) || wantsLog(task)).values();
    const readers = Array.from({ length: readsAtOnce }, async () => {
      for (const task of queue) await (runs(task) ? task.log.read() : read(task, node));
    });
    await Promise.all(readers);
  }

  /** The error where nobody there answers; an empty list where it is not for us to see. */
  async function listRunning(node: NodeTasks): Promise<ReadonlySet<string> | DroverError> {
    try {
      const parameters = { node: node.name, source: 'active', limit: listLimit } as const;
      const { signal } = node.leaving;
      return runningIn(await api.call('GET /nodes/{node}/tasks', parameters, { signal, via: node.name }));
    } catch (error) {
      const known = asDroverError(error);
      return isKind(known, 'unavailable', 'deadline-exceeded') ? known : new Set();
    }
  }

  async function read(task: Followed, { name, leaving }: NodeTasks): Promise<void> {
    const parameters = { node: name, upid: task.upid.text };
    try {
      const status = parseStatus(
        await api.call('GET /nodes/{node}/tasks/{upid}/status', parameters, {
          signal: leaving.signal,
          via: name,
        }),
      );
      noteRunning(task);
      if (wantsLog(task) || (status !== undefined && status !== 'OK')) await task.log.read();
      if (status !== undefined) settle(task, () => endOf(task.upid, status, task.log.lines(), cluster));
    } catch (error) {
      noteSilent(task, asDroverError(error));
    }
  }

  function noteRunning(task: Followed): void {
    const nowMs = clock.monotonicMs();
    task.silentSinceMs = undefined;
    task.nextAtMs = nowMs + intervalOf(nowMs - task.sinceMs);
  }

  function noteSilent(task: Followed, error: DroverError): void {
    const nowMs = clock.monotonicMs();
    task.silentSinceMs ??= nowMs;
    task.nextAtMs = nowMs + Math.max(longIntervalMs, intervalOf(nowMs - task.silentSinceMs));
    const passing = isKind(error, 'unavailable', 'deadline-exceeded', 'aborted', 'resource-exhausted');
    if (passing && error.reason !== 'closed' && nowMs - task.silentSinceMs < lostAfterMs) return;
    const end = lostTask(task.upid, error.message, cluster, error);
    settle(task, () => {
      throw end;
    });
  }

  function settle(task: Followed, end: () => TaskEnd): void {
    forget(task);
    for (const { resolve, reject } of task.waiters) {
      try {
        resolve(end());
      } catch (error) {
        reject(error as Error);
      }
    }
  }

  function forget(task: Followed): void {
    const node = nodes.get(task.upid.node);
    // It may be waited for anew by now.
    if (node?.followed.get(task.upid.text) !== task) return;
    node.followed.delete(task.upid.text);
    if (node.followed.size > 0) return;
    node.takeBack();
    nodes.delete(node.name);
    node.leaving.abort();
  }

  return {
    wait(text, { signal, onLog, logAfterMs = 0 }) {
      return new Promise((resolve, reject) => {
        const upid = parseUpid(text);
        if (signal.aborted) return reject(gaveUp(upid, signal, cluster));
        const task = follow(upid);
        const leave = (): void => {
          task.waiters.delete(waiter);
          takeBackLog();
          if (task.waiters.size === 0) forget(task);
          const silent = task.silentSinceMs !== undefined;
          reject(
            silent ? lostTask(upid, 'its node does not answer', cluster) : gaveUp(upid, signal, cluster),
          );
        };
        const takeBackLog = onLog === undefined ? () => undefined : task.log.listen(onLog);
        const stay = (): void => signal.removeEventListener('abort', leave);
        const waiter: Waiter = {
          onLog,
          logAfterMs,
          resolve: (end) => (stay(), resolve(end)),
          reject: (error) => (stay(), reject(error)),
        };
        task.waiters.add(waiter);
        signal.addEventListener('abort', leave, { once: true });
      });
    },
    async abort(text, signal) {
      const upid = parseUpid(text);
      const parameters = { node: upid.node, upid: text };
      try {
        await api.call('DELETE /nodes/{node}/tasks/{upid}', parameters, { signal, via: upid.node });
      } catch (error) {
        if (!isKind(error, 'not-found')) throw error;
      }
    },
  };
}

/** Undefined while it runs. */
function parseStatus(data: unknown): string | undefined {
  const { status, exitstatus } = rowOf(data);
  if (status === 'running') return undefined;
  if (status === 'stopped') return typeof exitstatus === 'string' ? exitstatus : 'unexpected status';
  throw new DroverError('internal', `wanted a task's status, found ${typeof status}`, { reason: 'garbage' });
}

function runningIn(data: unknown): ReadonlySet<string> {
  const rows = rowsOf(data);
  return new Set(
    rows.flatMap(({ upid, endtime }) => (typeof upid === 'string' && endtime === undefined ? [upid] : [])),
  );
}

/** The waiting ended, not the task. */
function gaveUp(upid: Upid, { reason }: AbortSignal, cluster: string): DroverError {
  if (reason instanceof DroverError) return reason;
  const late = (reason as Error | undefined)?.name === 'TimeoutError';
  return new DroverError(
    late ? 'deadline-exceeded' : 'unavailable',
    `${nameOf(upid)} was not waited for to its end`,
    {
      reason: late ? 'timeout' : 'cancelled',
      subject: subjectOf(upid, cluster),
      nextStep: 'it runs on: look at the guest, or at the task, later',
      cause: reason,
    },
  );
}
