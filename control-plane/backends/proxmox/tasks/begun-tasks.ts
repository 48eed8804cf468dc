import { DroverError } from '#shared/errors.ts';
import { rowsOf } from '../api/answer-rows.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { GuestCall, GuestPlace } from '../guests/guest-kind.ts';
import { textOf } from '../guests/properties.ts';
import { perform } from './perform.ts';
import { isUpid, parseUpid } from './upid.ts';

/** Of one guest and kind, the newest first: more are not made while one is waited for. */
const tasksListed = 20;
const tasksOfASecond = 500;
/** Answers may be lost again and again. */
const mostTries = 3;

type Tools = Pick<ClusterTools, 'api' | 'tasks' | 'clock' | 'random' | 'relay'>;

export interface ListedTask {
  readonly upid: string;
  readonly isRunning: boolean;
}

/** Tasks of a guest on one node: under way, then ended, the last that ended first. `type`: "vzrollback". */
export async function tasksOf(
  { api }: Pick<Tools, 'api'>,
  place: GuestPlace,
  type: string,
  signal: AbortSignal,
): Promise<ListedTask[]> {
  const wanted = { ...place, typefilter: type, source: 'all', limit: tasksListed } as const;
  const rows = rowsOf(await api.call('GET /nodes/{node}/tasks', wanted, { signal }));
  return rows
    .map((row) => ({ upid: textOf(row['upid']), isRunning: row['endtime'] === undefined }))
    .filter(({ upid }) => isUpid(upid));
}

export const upidsOf = (tasks: readonly ListedTask[]): string[] => tasks.map(({ upid }) => upid);

/**
 * The newest that is not among those of before. By its place in the list: the clock of a node may be set back
 * meanwhile. Undefined: nothing was begun.
 */
export function begunSince(before: readonly string[], now: readonly ListedTask[]): string | undefined {
  const isNew = ({ upid }: ListedTask): boolean => !before.includes(upid);
  const running = now.filter(({ isRunning }) => isRunning);
  const ended = now.filter(({ isRunning }) => !isRunning);
  const lastKnown = ended.findLastIndex((task) => !isNew(task));
  const since = lastKnown < 0 ? ended : ended.slice(0, lastKnown);
  return (running.findLast(isNew) ?? since.find(isNew))?.upid;
}

/**
 * By which is told later whether a node has its tasks from then on still, of which it keeps a thousand: the
 * last that ended there by now. Undefined: none has.
 */
export async function lastEnded(
  { api }: Pick<Tools, 'api'>,
  node: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const [row] = rowsOf(await api.call('GET /nodes/{node}/tasks', { node, limit: 1 }, { signal }));
  return textOf(row?.['upid']) || undefined;
}

/** Whether that task is listed still, and so all that came after it. */
export async function isKept(
  { api }: Pick<Tools, 'api'>,
  upid: string,
  signal: AbortSignal,
): Promise<boolean> {
  const { node, startedAtMs } = parseUpid(upid);
  const atS = startedAtMs / 1000;
  const asked = { node, since: atS, until: atS, limit: tasksOfASecond } as const;
  return upidsOfRows(await api.call('GET /nodes/{node}/tasks', asked, { signal })).includes(upid);
}

const upidsOfRows = (answer: unknown): string[] => rowsOf(answer).map((row) => textOf(row['upid']));

/**
 * Has something done once that cannot be seen from the guest afterwards, and that would be something else the
 * second time: where an answer is lost, the tasks of the node tell whether it was begun, and how it ended.
 */
export async function performOnce(
  tools: Tools,
  call: GuestCall | (() => Promise<GuestCall | undefined>),
  { place, type }: { readonly place: GuestPlace; readonly type: string },
  signal: AbortSignal,
): Promise<void> {
  const before = upidsOf(await tasksOf(tools, place, type, signal));
  for (let tries = 0; tries < mostTries; tries += 1) {
    if ((await perform(tools, call, place, signal)) === 'done') return;
    const begun = begunSince(before, await tasksOf(tools, place, type, signal));
    if (begun !== undefined) return void (await tools.tasks.wait(begun, { signal }));
  }
  throw new DroverError('unavailable', `${mostTries} answers in a row were lost, and nothing was begun`, {
    reason: 'answer-lost',
  });
}
