import type { Clock } from '#shared/clock.ts';
import type { InstanceId, InstanceState } from '#shared/model.ts';
import type { Keeper } from './keeper.ts';
import type { InstanceRecord } from './record.ts';

/** One that neither runs nor fails after this long keeps those behind it no longer. */
const longestTurnMs = 60_000;

/**
 * After a reboot instances are started in the order of their specs: lower numbers first, equal ones together.
 * The next begin once those before run, have failed once, or rest. After a restart of the agent alone nobody
 * waits.
 */
export function orderStarts(
  keepers: readonly Keeper[],
  waitingTurn: Set<InstanceId>,
  {
    clock,
    bootId,
    lifetime,
  }: { readonly clock: Clock; readonly bootId: string; readonly lifetime: AbortSignal },
): Promise<void> {
  const groups = startGroups(keepers, bootId);
  for (const keeper of groups.slice(1).flat()) waitingTurn.add(keeper.id);
  return takeTurns(groups, waitingTurn, clock, lifetime);
}

function startGroups(keepers: readonly Keeper[], bootId: string): Keeper[][] {
  const records = keepers.flatMap(({ record }) => record ?? []);
  if (!records.some((record) => record.bootId !== '' && record.bootId !== bootId)) return [];
  const waiting = keepers.filter(({ record }) => record?.intent === 'run' && !record.final);
  const groups = Map.groupBy(waiting, ({ record }) => record?.spec.startOrder ?? 0);
  return [...groups].toSorted(([one], [other]) => one - other).map(([, group]) => group);
}

async function takeTurns(
  groups: readonly Keeper[][],
  waitingTurn: Set<InstanceId>,
  clock: Clock,
  lifetime: AbortSignal,
): Promise<void> {
  for (const group of groups) {
    for (const keeper of group) {
      waitingTurn.delete(keeper.id);
      keeper.wake();
    }
    const limit = clock.timeout(longestTurnMs, lifetime);
    // Too long is an end like any other: those behind must not suffer for it.
    await Promise.allSettled(group.map((keeper) => keeper.settled(() => isDone(keeper, clock), limit)));
    if (lifetime.aborted) return;
  }
}

const isDone = (keeper: Keeper, clock: Clock): boolean =>
  keeper.gone || keeper.record?.intent !== 'run' || hasSettled(keeper.state(), keeper.record, clock);

function hasSettled(state: InstanceState, record: InstanceRecord, clock: Clock): boolean {
  if (state.phase === 'backing-off') return record.nextStartAtMs > clock.nowMs();
  return !['preparing', 'unknown'].includes(state.phase);
}
