/** Forked task workers: UPIDs, logs, ends, in virtual time. */
import { ApiFailure } from './failure.ts';
import type { Clock } from '#shared/clock.ts';
import type { FileLocks } from './locks.ts';
import type { Caller } from './caller.ts';

/** What a worker may do. All waiting is in virtual time, and ends where the worker is told to stop. */
export interface TaskControl {
  readonly task: Task;
  /** Process id: names temporary files ("…/101.conf.tmp.9120"). */
  readonly pid: number;
  log(...lines: readonly string[]): void;
  /** Logs "WARN: …" and lets the task end as "WARNINGS: n". */
  warn(line: string): void;
  /** Virtual time passes. Throws "received interrupt" when the task is aborted. */
  passes(durationMs: number): Promise<void>;
  /**
   * Runs under a lock file of the node ("trying to acquire lock..." in the log where it is held, then " OK");
   * throws "can't lock file '…' - got timeout" after ten virtual seconds, or `withinMs`.
   */
  locked<Result>(
    file: string,
    work: () => Promise<Result> | Result,
    how?: { readonly isShared?: boolean; readonly withinMs?: number },
  ): Promise<Result>;
  /** Aborted once somebody stops the task, or its node dies. */
  readonly signal: AbortSignal;
}

/**
 * The work. Returns for "OK"; what it throws is the exit status and the last line of the log
 * ("TASK ERROR: …"). Its `finally` runs on an abort, but not when the worker is killed or its node dies.
 */
export type TaskBody = (control: TaskControl) => Promise<void> | void;

export interface Task {
  readonly upid: string;
  readonly node: string;
  readonly type: string;
  readonly id: string;
  readonly caller: Caller;
  readonly pid: number;
  readonly pstart: number;
  /** Seconds since 1970. */
  readonly startTime: number;
  readonly log: string[];
  /** "OK", "WARNINGS: 1", or what it failed of. Undefined while it runs. */
  readonly exitStatus: string | undefined;
  /** Seconds since 1970. */
  readonly endTime: number | undefined;
  /** Its place among all that ended: lists begin with the last, whatever clocks say. */
  readonly endedAs: number;
}

export interface ForkOptions {
  readonly node: string;
  readonly type: string;
  readonly id: string | number;
  readonly caller: Caller;
}

export interface TaskEngine {
  /** Forks; the body begins at once, and the task runs for at least one turn. */
  fork(options: ForkOptions, body: TaskBody): Task;
  find(upid: string): Task | undefined;
  /** Newest first. */
  list(node: string): readonly Task[];
  /** Its node lists none of those any more that have ended: their lists are cut at a thousand or so. */
  forgetEnded(node: string): void;
  /** Asks it to stop. Nothing happens to one that has ended. */
  abort(task: Task): void;
  /** The worker is gone without a word: "unexpected status". */
  kill(task: Task, exitStatus?: string): void;
  /** The node dies: its workers stop where they are. They are running still until `reap`. */
  freeze(node: string): void;
  /** The node is back: what ran when it died is told as lost. */
  reap(node: string): void;
  /** Resolves when nothing runs on any node that is alive. */
  idle(): Promise<void>;
}

interface Worker {
  exitStatus: string | undefined;
  endTime: number | undefined;
  endedAs: number;
  warnings: number;
  frozen: boolean;
  /** File locks it holds: they go when its process does. */
  readonly held: Set<() => void>;
  readonly controller: AbortController;
}

const hex8 = (value: number): string => (value >>> 0).toString(16).toUpperCase().padStart(8, '0');
const never = (): Promise<never> => new Promise(() => undefined);
/** What is wrong with parameters comes too late for an answer: it is all on the one line of the end. */
function messageOf(error: unknown): string {
  if (error instanceof ApiFailure && error.errors !== undefined) {
    const faults = Object.entries(error.errors).map(([name, text]) => `${name}: ${text.trim()}`);
    return [`${error.status} ${error.message}`, ...faults].join(' ');
  }
  return error instanceof Error ? error.message : `not an error: ${typeof error}`;
}

export interface TaskSurroundings {
  readonly clock: Clock;
  readonly locks: FileLocks;
  /** What durations are multiplied with. */
  readonly pace: number;
  /** A new process id on a node. */
  nextPid(node: string): number;
  /** By the node's own clock. */
  nowMs(node: string): number;
  /** Told of every start and end, for the cluster's log. */
  onChange(task: Task, change: 'start' | 'end'): void;
}

export function createTaskEngine(surroundings: TaskSurroundings): TaskEngine {
  const { clock, locks, pace } = surroundings;
  const byUpid = new Map<string, Task>();
  const byNode = new Map<string, Task[]>();
  const workers = new WeakMap<Task, Worker>();
  const workerOf = (task: Task): Worker => workers.get(task) as Worker;
  const startedMs = clock.nowMs() - 7_000_000;
  let ended = 0;

  function newTask({ node, type, id, caller }: ForkOptions, worker: Worker): Task {
    const pid = surroundings.nextPid(node);
    const pstart = Math.floor((clock.nowMs() - startedMs) / 10);
    const startTime = Math.floor(surroundings.nowMs(node) / 1000);
    const subject = String(id).replace(/[^A-Za-z0-9_.-]/g, (char) => `\\x${char.charCodeAt(0).toString(16)}`);
    const parts = ['UPID', node, hex8(pid), hex8(pstart), hex8(startTime), type, subject, caller.authId];
    return {
      upid: `${parts.join(':')}:`,
      node,
      type,
      id: String(id),
      caller,
      pid,
      pstart,
      startTime,
      log: [],
      get exitStatus() {
        return worker.exitStatus;
      },
      get endTime() {
        return worker.endTime;
      },
      get endedAs() {
        return worker.endedAs;
      },
    };
  }

  function end(task: Task, exitStatus: string, lastLine?: string): void {
    const worker = workerOf(task);
    if (worker.exitStatus !== undefined) return;
    if (lastLine !== undefined) task.log.push(...lastLine.split('\n'));
    worker.exitStatus = exitStatus.split('\n').join(' ').trim();
    worker.endTime = Math.floor(surroundings.nowMs(task.node) / 1000);
    ended += 1;
    worker.endedAs = ended;
    worker.frozen = true;
    for (const release of worker.held) release();
    surroundings.onChange(task, 'end');
  }

  function control(task: Task, worker: Worker): TaskControl {
    const { signal } = worker.controller;
    const interrupted = (): Error => new Error('received interrupt');
    async function passes(durationMs: number): Promise<void> {
      if (worker.frozen) return never();
      if (signal.aborted) throw interrupted();
      await clock.sleep(durationMs * pace, signal).catch(() => undefined);
      if (worker.frozen) return never();
      if (signal.aborted) throw interrupted();
    }
    return {
      task,
      pid: task.pid,
      signal,
      passes,
      log: (...lines) => task.log.push(...lines),
      warn(line) {
        worker.warnings += 1;
        task.log.push(`WARN: ${line}`);
      },
      async locked(file, work, { isShared = false, withinMs } = {}) {
        let waited = false;
        const onWait = (): void => {
          waited = true;
          task.log.push('trying to acquire lock...');
        };
        const release = await (isShared
          ? locks.share(task.node, file, onWait)
          : locks.acquire(task.node, file, onWait, withinMs));
        // A process that is gone holds no file.
        if (worker.frozen) release();
        if (worker.frozen) return never();
        worker.held.add(release);
        try {
          if (signal.aborted) throw interrupted();
          if (waited) task.log.push(' OK');
          return await work();
        } finally {
          worker.held.delete(release);
          release();
        }
      },
    };
  }

  async function run(task: Task, worker: Worker, body: TaskBody): Promise<void> {
    try {
      await clock.turn();
      await body(control(task, worker));
      if (worker.frozen) return;
      const { warnings } = worker;
      if (warnings === 0) end(task, 'OK', 'TASK OK');
      else end(task, `WARNINGS: ${warnings}`, `TASK WARNINGS: ${warnings}`);
    } catch (error) {
      if (worker.frozen) return;
      const message = messageOf(error);
      end(task, message, `TASK ERROR: ${message}`);
    }
  }

  const list = (node: string): Task[] => byNode.get(node) ?? [];
  const runningOn = (node: string): Task[] => list(node).filter((task) => task.exitStatus === undefined);

  return {
    fork(options, body) {
      const worker: Worker = {
        exitStatus: undefined,
        endTime: undefined,
        endedAs: 0,
        warnings: 0,
        frozen: false,
        held: new Set(),
        controller: new AbortController(),
      };
      const task = newTask(options, worker);
      workers.set(task, worker);
      byUpid.set(task.upid, task);
      byNode.set(task.node, [task, ...list(task.node)]);
      surroundings.onChange(task, 'start');
      void run(task, worker, body);
      return task;
    },
    find: (upid) => byUpid.get(upid),
    list,
    forgetEnded: (node) => void byNode.set(node, runningOn(node)),
    abort: (task) => workerOf(task).controller.abort(),
    kill(task, exitStatus = 'unexpected status') {
      end(task, exitStatus);
      workerOf(task).controller.abort();
    },
    freeze(node) {
      for (const task of runningOn(node)) {
        workerOf(task).frozen = true;
        workerOf(task).controller.abort();
      }
    },
    reap(node) {
      for (const task of runningOn(node)) {
        task.log.splice(0);
        end(task, 'unable to read tail (got 0 bytes)');
      }
    },
    async idle() {
      const busy = (): boolean =>
        [...byUpid.values()].some((task) => task.exitStatus === undefined && !workerOf(task).frozen);
      while (busy()) await clock.sleep(100 * pace);
    },
  };
}
