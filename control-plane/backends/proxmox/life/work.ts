import { asDroverError, DroverError, isKind, wordsOf } from '#shared/errors.ts';
import type { ClusterGuest, InstanceId } from '#shared/model.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { checkHolder } from '../identity/fence.ts';
import { nextGuestStep } from './guest-state.ts';
import { createSteps, type DoableStep, type StepParts } from './guest-steps.ts';
import { createTurns } from './turns.ts';

const firstRetryMs = 5000;
const longestRetryMs = 300_000;
/** More steps than any guest needs at once: one that needs more goes in a circle. */
const mostSteps = 30;

/** Does what is to be done for each guest, one thing after another; different guests at the same time. */
export interface Work {
  /** Looks what is to be done for it, soon. */
  kick(id: InstanceId): void;
  kickAll(): void;
  /** Resolves when nothing can be done now; throws what kept it from being done. */
  finish(id: InstanceId): Promise<void>;
  /** Alone with the guest; what is to be done waits. */
  alone<Result>(id: InstanceId, act: () => Promise<Result>): Promise<Result>;
  /** Something is being done. */
  isBusy(): boolean;
  /** What waited for a half-made guest that is gone, or is none any more, is tried anew. */
  retryUnlocked(): void;
  /** The cluster takes orders again: what failed is tried anew. */
  retryAll(): void;
}

export function createWork(tools: ClusterTools, parts: StepParts): Work {
  const { clock, random, memory, log, signal, name: cluster } = tools;
  const { own, look } = parts;
  const doStep = createSteps(tools, parts);
  const turns = createTurns<InstanceId>();
  const queued = new Map<InstanceId, Promise<void>>();
  const timers = new Map<InstanceId, () => void>();

  /** One pass at most waits for its turn: it will see all that was asked until then. */
  function finish(id: InstanceId): Promise<void> {
    const waiting = queued.get(id);
    if (waiting !== undefined) return waiting;
    const pass = turns.alone(id, async () => {
      queued.delete(id);
      await workOn(id);
    });
    queued.set(id, pass);
    return pass;
  }

  function kick(id: InstanceId): void {
    if (signal.aborted) return;
    finish(id).catch((err: unknown) => log.debug({ event: 'guest.waiting', cluster, instance: id, err }));
  }

  async function workOn(id: InstanceId): Promise<void> {
    timers.get(id)?.();
    timers.delete(id);
    for (let steps = 0; steps < mostSteps && !signal.aborted; steps += 1) {
      const record = own.record(id);
      // Of what is gone only its record is kept.
      if (record === undefined || record.intent === 'removed') return own.forget(id);
      const guest = own.of(id);
      const step = nextGuestStep(record, guest.sight, guest.run, clock.monotonicMs());
      if (step === 'rest' || step === 'look' || step === 'wait') return waitFor(id);
      if (!memory.connected || !memory.quorate) throw away();
      checkHolder(tools);
      own.tell(id);
      await take(step, record);
      own.tell(id);
    }
  }

  const away = (): DroverError =>
    new DroverError('unavailable', memory.connected ? 'the cluster has no quorum' : memory.message, {
      subject: { cluster, acted: 'no' },
      reason: memory.connected ? 'no-quorum' : 'connection',
    });

  /** Wakes when the time has come that something waits for; throws what failed. */
  function waitFor(id: InstanceId): void {
    const { run } = own.of(id);
    const atMs = run.failure?.retryAtMs ?? run.startAtMs;
    const waitMs = atMs - clock.monotonicMs();
    if (waitMs > 0)
      timers.set(
        id,
        clock.after(waitMs, () => kick(id)),
      );
    own.tell(id);
  }

  async function take(step: DoableStep, record: ClusterGuest): Promise<void> {
    const { instanceId: id } = record;
    const guest = own.of(id);
    try {
      await doStep(record, step);
      guest.failures = 0;
      guest.run = { ...guest.run, failure: undefined };
    } catch (error) {
      if (signal.aborted) throw error;
      // Ended because it is to go: that is the next step.
      if (record.intent !== 'remove' && own.record(id)?.intent === 'remove') return;
      if (isKind(error, 'not-found') && step !== 'remove') await noteGone(record);
      fail(record, error);
      throw error;
    }
  }

  /** It was there and is not: whoever reads us decides what then. */
  async function noteGone(record: ClusterGuest): Promise<void> {
    if (record.made !== true) return;
    try {
      await look.config(record, signal);
    } catch (error) {
      if (isKind(error, 'not-found')) own.see(record.instanceId, { presence: 'absent', status: 'unknown' });
    }
  }

  function fail({ instanceId: id }: ClusterGuest, error: unknown): void {
    const guest = own.of(id);
    const waitMs = Math.min(firstRetryMs * 2 ** Math.min(guest.failures, 20), longestRetryMs);
    guest.failures += 1;
    const retryAtMs = clock.monotonicMs() + Math.round(waitMs * (0.8 + 0.4 * random.fraction()));
    const err = asDroverError(error);
    guest.run = { ...guest.run, failure: { message: wordsOf(err), retryAtMs, reason: err.reason } };
    log.warn({ event: 'guest.failed', cluster, instance: id, err });
    waitFor(id);
  }

  function retry(isDue: (record: ClusterGuest, reason: string) => boolean): void {
    for (const record of own.records()) {
      const guest = own.of(record.instanceId);
      if (!isDue(record, guest.run.failure?.reason ?? '')) continue;
      guest.failures = 0;
      if (guest.run.failure !== undefined) guest.run = { ...guest.run, failure: undefined };
    }
  }

  return {
    kick,
    kickAll() {
      for (const { instanceId } of own.records()) {
        const record = own.record(instanceId);
        const { sight, run } = own.of(instanceId);
        if (record === undefined || queued.has(instanceId)) continue;
        const step = nextGuestStep(record, sight, run, clock.monotonicMs());
        if (step !== 'rest' && step !== 'wait' && step !== 'look') kick(instanceId);
      }
    },
    finish,
    alone: turns.alone,
    isBusy: turns.isBusy,
    retryUnlocked: () =>
      retry(
        ({ vmid }, reason) => reason === 'half-made' && !memory.halfMade.some((each) => each.vmid === vmid),
      ),
    retryAll: () => retry(() => true),
  };
}
