import { DroverError } from '#shared/errors.ts';
import { rowsOf } from '../api/answer-rows.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { GuestCall, GuestPlace } from '../guests/guest-kind.ts';
import { textOf } from '../guests/properties.ts';
import { isUpid, perform } from './perform.ts';
import { parseUpid } from './upid.ts';

/** Of one guest and kind, the newest first: more are not made while one is waited for. */
const tasksListed = 20;
/** Answers may be lost again and again. */
const mostTries = 3;

type Tools = Pick<ClusterTools, 'api' | 'tasks' | 'clock' | 'random' | 'relay'>;

/** Tasks of a guest on one node, under way and ended. `type`: "vzrollback". */
export async function tasksOf(
  { api }: Pick<Tools, 'api'>,
  place: GuestPlace,
  type: string,
  signal: AbortSignal,
): Promise<string[]> {
  const wanted = { ...place, typefilter: type, source: 'all', limit: tasksListed } as const;
  const rows = rowsOf(await api.call('GET /nodes/{node}/tasks', wanted, { signal }));
  return rows.map((row) => textOf(row['upid'])).filter(isUpid);
}

/** The newest that is not among those of before; its node's clock tells. Undefined: nothing was begun. */
export function begunSince(before: readonly string[], now: readonly string[]): string | undefined {
  const startOf = (upid: string): number => parseUpid(upid).startedAtMs;
  const lastMs = Math.max(0, ...before.map(startOf));
  return now
    .filter((upid) => !before.includes(upid) && startOf(upid) >= lastMs)
    .toSorted((a, b) => startOf(b) - startOf(a))[0];
}

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
  const before = await tasksOf(tools, place, type, signal);
  for (let tries = 0; tries < mostTries; tries += 1) {
    if ((await perform(tools, call, place, signal)) === 'done') return;
    const begun = begunSince(before, await tasksOf(tools, place, type, signal));
    if (begun !== undefined) return void (await tools.tasks.wait(begun, { signal }));
  }
  throw new DroverError('unavailable', `${mostTries} answers in a row were lost, and nothing was begun`, {
    reason: 'answer-lost',
  });
}
