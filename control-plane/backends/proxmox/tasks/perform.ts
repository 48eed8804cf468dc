import type { TaskEnd, Tasks, WaitOptions } from '../cluster-api.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { GuestCall, GuestPlace } from '../guests/guest-kind.ts';
import { isLost } from '../api/lost-answer.ts';
import { retryLostRaces } from './retry-lost-races.ts';
import { settleTasks } from './settle-tasks.ts';
import { isUpid } from './upid.ts';

/** A write may wait for a lock of the cluster before it is refused. */
const writeTimeoutMs = 60_000;
/** How long a guest may be locked by somebody else, such as a backup, before we say so. */
const lockedForMs = 60_000;
/** What ends sooner needs no story. */
const logAfterMs = 2000;

/** 'lost': its answer was, and nothing is under way there any more. */
export type PerformEnd = 'done' | 'lost';

type Tools = Pick<ClusterTools, 'api' | 'tasks' | 'clock' | 'random' | 'relay'>;

/**
 * Sends a write and waits for its task. 'lost': its answer was, and nothing is under way there any more: the
 * caller looks what has come of it. Never sent a second time here, but where it was refused for a lock: a
 * function makes it anew each time, or finds that nothing is left to do. `unwanted` aborts its task, whose
 * end is waited for all the same.
 */
export async function perform(
  tools: Tools,
  call: GuestCall | (() => Promise<GuestCall | undefined>),
  place: GuestPlace,
  signal: AbortSignal,
  unwanted?: AbortSignal,
): Promise<PerformEnd> {
  const send = async (): Promise<PerformEnd> => {
    const present = typeof call === 'function' ? await call() : call;
    if (present === undefined) return 'done';
    try {
      const answer = await present.send(tools.api, { signal, timeoutMs: writeTimeoutMs });
      if (isUpid(answer)) await follow(tools, answer, place, { signal, unwanted });
      return 'done';
    } catch (error) {
      if (signal.aborted || !isLost(error)) throw error;
      await settleTasks(tools, place, signal);
      return 'lost';
    }
  };
  const { clock, random } = tools;
  return retryLostRaces(send, { clock, random, withinMs: lockedForMs, signal });
}

/** The call; before it is sent once more, for a lock, whose guest it is about is looked at again. */
export function checkedAgain(
  call: GuestCall,
  check: () => Promise<unknown>,
): () => Promise<GuestCall | undefined> {
  let isFirst = true;
  return async () => {
    if (!isFirst) await check();
    isFirst = false;
    return call;
  };
}

/** Waits for a task, also for one that is aborted since it is not wanted any more. */
export async function waitFor(
  tasks: Tasks,
  upid: string,
  options: WaitOptions,
  unwanted: AbortSignal | undefined,
): Promise<TaskEnd> {
  // One that cannot be aborted is waited for.
  const abort = (): void => void tasks.abort(upid, options.signal).catch(() => undefined);
  if (unwanted?.aborted === true) abort();
  unwanted?.addEventListener('abort', abort, { once: true });
  return tasks.wait(upid, options).finally(() => unwanted?.removeEventListener('abort', abort));
}

/** Waits for a task; what it writes, and what it warns of, is told. */
async function follow(
  { tasks, relay }: Tools,
  upid: string,
  place: GuestPlace,
  { signal, unwanted }: { readonly signal: AbortSignal; readonly unwanted: AbortSignal | undefined },
): Promise<void> {
  const onLog = (line: string): void => relay(place, line);
  const { warnings } = await waitFor(tasks, upid, { signal, onLog, logAfterMs }, unwanted);
  if (warnings > 0) relay(place, `done, with ${warnings === 1 ? 'a warning' : `${warnings} warnings`}`);
}

/** For reads, and for what has no task and may be lost: sent once. */
export async function ask(tools: Pick<Tools, 'api'>, call: GuestCall, signal: AbortSignal): Promise<unknown> {
  return call.send(tools.api, { signal });
}
