import { isKind } from '#shared/errors.ts';
import { type Row, rowsOf } from '../api/answer-rows.ts';
import { type ClusterTools, isApart } from '../cluster-memory.ts';
import type { GuestPlace } from '../guests/guest-kind.ts';
import { numberOf, textOf } from '../guests/properties.ts';
import { isUpid } from './upid.ts';

type Tools = Pick<ClusterTools, 'api' | 'tasks' | 'clock'>;
type Members = Pick<ClusterTools, 'memory'>;

/** They last as long as somebody looks. */
const consoles: ReadonlySet<string> = new Set(['vncproxy', 'spiceproxy']);
const copyTasks: ReadonlySet<string> = new Set(['qmclone', 'vzclone']);

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
  tools: Tools,
  { node, vmid }: GuestPlace,
  signal: AbortSignal,
  /** Left out: of every kind. */
  types?: ReadonlySet<string>,
): Promise<void> {
  await tools.clock.sleep(beginsWithinMs, signal);
  const isMeant = (row: Row): boolean => {
    const type = textOf(row['type']);
    return numberOf(row['id'], vmid) === vmid && (types?.has(type) ?? !consoles.has(type));
  };
  await settleRunning(tools, { node, vmid }, isMeant, signal);
}

/** As settleTasks, now, of any tasks of a node. */
export async function settleRunning(
  { api, tasks }: Pick<Tools, 'api' | 'tasks'>,
  among: { readonly node: string; readonly vmid?: number; readonly typefilter?: string },
  isMeant: (row: Row) => boolean,
  signal: AbortSignal,
): Promise<void> {
  const rows = rowsOf(await api.call('GET /nodes/{node}/tasks', { ...among, source: 'active' }, { signal }));
  const upids = rows.filter(isMeant).map((row) => textOf(row['upid']));
  for (const upid of upids.filter(isUpid)) {
    try {
      await tasks.wait(upid, { signal });
    } catch (error) {
      if (signal.aborted || isKind(error, 'unauthenticated', 'permission-denied')) throw error;
    }
  }
}
