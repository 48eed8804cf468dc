import { DroverError, isKind } from '#shared/errors.ts';
import type { ClusterGuest } from '#shared/model.ts';
import { putGuestRemoved } from '../../../store/put-cluster-guest.ts';
import type { Transaction } from '../../../store/store.ts';
import { type ClusterTools, nodeCalled } from '../cluster-memory.ts';
import { freshRun, type GuestStep, unknownExit } from './guest-state.ts';
import { halfMadeError, isHalfMade, leaveHalfMade } from './half-made.ts';
import type { Look } from './look.ts';
import type { FindMarked } from '../identity/find-marked.ts';
import type { Marking } from '../identity/marking.ts';
import type { OwnGuests } from './own-guests.ts';
import { checkedAgain, perform } from '../tasks/perform.ts';
import { settleCopies, settleTasks } from '../tasks/settle-tasks.ts';
import type { Power } from './power.ts';
import { afterEnd } from './restarts.ts';
import type { Settle } from './settle.ts';

export type DoableStep = Exclude<GuestStep, 'rest' | 'look' | 'wait'>;

/** What steps are made with. */
export interface StepParts {
  readonly own: OwnGuests;
  readonly look: Look;
  readonly findMarked: FindMarked;
  readonly marking: Marking;
  readonly power: Power;
  readonly settle: Settle;
}

/** One executor for each kind of step: a new kind does not compile until it has one. */
export function createSteps(
  tools: ClusterTools,
  parts: StepParts,
): (record: ClusterGuest, step: DoableStep) => Promise<void> {
  const { store, clock, random, memory, signal, kinds, name: cluster } = tools;
  const { own, look, findMarked, marking, power, settle } = parts;

  const graceOf = (record: ClusterGuest): number =>
    own.of(record.instanceId).graceMs ?? record.spec?.stopGraceMs ?? 0;

  async function remove(record: ClusterGuest): Promise<void> {
    const { instanceId: id, node, generation, vmid } = record;
    const found = await ownConfig(record);
    // A store that was restored may name a number that it gave up, or never had.
    const moved = found === undefined ? await findMarked.first(record, signal) : undefined;
    if (moved !== undefined) return remove(moved);
    const isSpared = record.adopted && record.mayDestroy !== true;
    if (found !== undefined && isSpared) await marking.clear(record, signal);
    else if (found !== undefined) {
      await power.stop(record, graceOf(record), signal);
      const { place } = await look.config(record, signal);
      const destroy = checkedAgain(kinds[record.kind].calls(place).destroy(), () =>
        look.config(record, signal),
      );
      await perform(tools, destroy, place, signal);
      // What is left of it after a lost answer or half a removal is seen here, and removed in the next try.
      if ((await ownConfig(record)) !== undefined)
        throw new DroverError('unavailable', `guest ${vmid} is there still`, { subject: { instance: id } });
    }
    const told = own.nodeOf(record);
    const gone = { instanceId: id, cluster, node, generation };
    await store.transact((tx) => {
      putGuestRemoved(tx, gone, clock.nowMs());
      if (found !== undefined && isSpared) tellSpared(tx, record, clock.nowMs());
    });
    own.forget(id);
    tools.put({ kind: 'absent', node: told, instanceId: id });
  }

  /** Undefined: there is none. What was begun before a crash may be under way yet. */
  async function ownConfig(record: ClusterGuest) {
    const node = nodeCalled(memory, record.node);
    if (record.made !== true && node?.online === true)
      await settleTasks(tools, { node: node.node, vmid: record.vmid }, signal);
    if (record.made !== true && record.source !== undefined) await settleCopies(tools, record.source, signal);
    try {
      return await look.config(record, signal);
    } catch (error) {
      if (!isKind(error, 'not-found')) throw error;
      if (record.made !== true && record.begunVmid === record.vmid) await lookForHalf(record);
      return undefined;
    }
  }

  /** What was cut off has no mark yet, and is not forgotten for that. Of copies alone somebody waits. */
  async function lookForHalf(record: ClusterGuest): Promise<void> {
    const found = await look.atItsNumber(record, signal);
    if (found === undefined || found.kind !== record.kind || !isHalfMade(found)) return;
    if (record.source !== undefined) throw halfMadeError(record, found);
    await leaveHalfMade(tools, record, found);
  }

  /** A guest has no exit code there: that it ended is all there is. */
  async function noteEnd(record: ClusterGuest): Promise<void> {
    const guest = own.of(record.instanceId);
    // The list may be old: a guest that was started meanwhile has not ended.
    await look.status(record, signal);
    if (guest.sight.status !== 'stopped') return;
    const stored = store.snapshot().get('instance', record.instanceId);
    const restart = record.spec?.restart ?? stored?.spec.restart ?? { policy: 'never', maxAttempts: 0 };
    const nowMs = clock.nowMs();
    const ranMs = guest.run.runningSinceMs === 0 ? 0 : nowMs - guest.run.runningSinceMs;
    const decision = afterEnd(restart, ranMs, guest.run.attempts, random.fraction());
    guest.run = {
      ...guest.run,
      exit: unknownExit(nowMs),
      final: decision.final,
      attempts: decision.attempts,
      startAtMs: decision.final ? 0 : clock.monotonicMs() + decision.delayMs,
    };
  }

  async function startAgain(record: ClusterGuest): Promise<void> {
    const guest = own.of(record.instanceId);
    await power.start(record, signal);
    const runningSinceMs = clock.nowMs();
    guest.run = { ...guest.run, restarts: guest.run.restarts + 1, startAtMs: 0, runningSinceMs };
    await settle.furnish(record, await look.config(record, signal), signal);
  }

  async function settleAnew(record: ClusterGuest): Promise<void> {
    const guest = own.of(record.instanceId);
    await settle.run(record, signal);
    guest.run = { ...freshRun, runningSinceMs: clock.nowMs() };
  }

  const steps: Readonly<Record<DoableStep, (record: ClusterGuest) => Promise<void>>> = {
    settle: settleAnew,
    start: startAgain,
    'note-end': noteEnd,
    stop: (record) => power.stop(record, graceOf(record), signal),
    remove,
  };
  return (record, step) => steps[step](record);
}

/** Whatever made its instance go, nobody said that it should: its data is not ours. */
function tellSpared(tx: Transaction, { instanceId, cluster, node, vmid }: ClusterGuest, nowMs: number): void {
  tx.event({
    atMs: nowMs,
    type: 'guest.released',
    severity: 'info',
    subject: { instanceId, cluster, node },
    message: `${vmid} of ${cluster} was adopted and runs on by itself: nobody said that it was to be removed`,
  });
}
