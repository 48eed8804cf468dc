import { isKind } from '#shared/errors.ts';
import { rowsOf } from '../api/answer-rows.ts';
import type { TaskEnd, Tasks, WaitOptions } from '../cluster-api.ts';
import { type ClusterTools, isApart } from '../cluster-memory.ts';
import type { GuestCall, GuestPlace } from '../guests/guest-kind.ts';
import { numberOf, textOf } from '../guests/properties.ts';
import { isLost } from '../api/lost-answer.ts';
import { retryLostRaces } from './retry-lost-races.ts';

/** A write may wait for a lock of the cluster before it is refused. */
const writeTimeoutMs = 60_000;
/** How long a guest may be locked by somebody else, such as a backup, before we say so. */
const lockedForMs = 60_000;
/** What ends sooner needs no story. */
const logAfterMs = 2000;

/** 'lost': its answer was, and nothing is under way there any more. */
export type PerformEnd = 'done' | 'lost';

type Tools = Pick<ClusterTools, 'api' | 'tasks' | 'clock' | 'random' | 'relay'>;

/** Whether what was asked for is done by a task. */
export const isUpid = (answer: unknown): answer is string =>
  typeof answer === 'string' && answer.startsWith('UPID:');

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

/** They last as long as somebody looks. */
const consoles: ReadonlySet<string> = new Set(['vncproxy', 'spiceproxy']);
const copyTasks: ReadonlySet<string> = new Set(['qmclone', 'vzclone']);

type Members = Pick<ClusterTools, 'memory'>;

/** Copies are made by tasks of what they are copies of: until none of a guest is under way. */
export const settleCopies = (
  tools: Tools & Members,
  source: GuestPlace,
  signal: AbortSignal,
): Promise<void> => settleWhereKnown(tools, source, signal, copyTasks);

/** As settleTasks; but on a node that is away nothing is under way, and one that left cannot be asked. */
export async function settleWhereKnown(
  tools: Tools & Members,
  place: GuestPlace,
  signal: AbortSignal,
  types?: ReadonlySet<string>,
): Promise<void> {
  if (tools.memory.nodes.get(place.node)?.online === false) return;
  try {
    await settleTasks(tools, place, signal, types);
  } catch (error) {
    if (!isKind(error, 'not-found') || isApart(error, place.node, tools.memory)) throw error;
  }
}

/** What was asked may not have begun yet when its answer was lost. */
const beginsWithinMs = 2000;

/**
 * Waits until no task is under way for a guest; how they end is for the caller to see. unavailable: the node
 * cannot be asked.
 */
export async function settleTasks(
  { api, tasks, clock }: Tools,
  { node, vmid }: GuestPlace,
  signal: AbortSignal,
  /** Left out: of every kind. */
  types?: ReadonlySet<string>,
): Promise<void> {
  await clock.sleep(beginsWithinMs, signal);
  const answer = await api.call('GET /nodes/{node}/tasks', { node, vmid, source: 'active' }, { signal });
  const upids = rowsOf(answer)
    .filter((row) => numberOf(row['id'], vmid) === vmid)
    .map((row) => textOf(row['upid']))
    .filter(isUpid)
    .filter((upid) => {
      const type = upid.split(':')[5] ?? '';
      return types?.has(type) ?? !consoles.has(type);
    });
  for (const upid of upids) {
    try {
      await tasks.wait(upid, { signal });
    } catch (error) {
      if (signal.aborted || isKind(error, 'unauthenticated', 'permission-denied')) throw error;
    }
  }
}
