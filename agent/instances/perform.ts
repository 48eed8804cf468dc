import { asDroverError, isKind, wordsOf } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { GuestState } from '../drivers/driver.ts';
import { makeGuest, removeAll, setBack, setLimits, startGuest, stopGuest } from './guest-work.ts';
import type { InstanceRecord } from './record.ts';
import { type Action, backoffMs } from './supervise.ts';
import type { Workshop } from './tools.ts';
import { adopted, exited, rolledBack, started, stopped } from './transitions.ts';

export interface Failure {
  readonly message: string;
  /** Wall clock, for people. */
  readonly nextAtMs: number;
  /** Monotonic: no attempt before. */
  readonly dueMs: number;
  readonly attempts: number;
}

/** What is known of one instance in one life of the agent. */
export interface Memory {
  record: InstanceRecord | undefined;
  guest: GuestState | 'absent' | undefined;
  failure: Failure | undefined;
  /** Of new limits: the guest goes on, and so does all other work on it. */
  limitsFailure: Failure | undefined;
  notEnforced: readonly string[];
  /** Of the guest with this pid. */
  addresses: { readonly pid: number; readonly list: readonly string[] };
  damage: string;
  gone: boolean;
  /** Monotonic time before which a restart waits. */
  dueMs: number;
}

export type UpdateRecord = (
  change: (record: InstanceRecord | undefined) => InstanceRecord | undefined,
) => Promise<boolean>;

/** One instance at the moment of an action. */
export interface Scene {
  readonly memory: Memory;
  readonly record: InstanceRecord;
  readonly guest: GuestState | 'absent';
  readonly update: UpdateRecord;
  readonly interrupt: AbortSignal;
}

/** Does it, and keeps what came of it. Undefined: look again at once; else the time to the next attempt. */
export async function perform(
  action: Exclude<Action, 'rest' | 'wait' | 'look-again'>,
  shop: Workshop,
  scene: Scene,
): Promise<number | undefined> {
  const { memory, record, guest, update } = scene;
  const { clock, bootId } = shop;
  const same = sameOrder(record);

  if (action === 'make') await make(shop, scene);
  else if (action === 'start') await startGuest(shop, record);
  else if (action === 'stop') await stopGuest(shop, record);
  else if (action === 'set-limits') return adjust(shop, scene);
  else if (action === 'roll-back') await rollBack(shop, scene);
  else if (action === 'adopt') {
    await update((now) => (same(now) && guest !== 'absent' ? adopted(now, guest, bootId) : undefined));
  } else if (action === 'note-stop') {
    await update((now) => (same(now) ? stopped(now, guest, clock.nowMs()) : undefined));
  } else if (action === 'note-exit') await noteExit(shop, scene);
  else {
    await removeAll(shop, record, guest);
    memory.gone = true;
    shop.log.info({ event: 'instance.removed', instanceId: record.id });
  }
  return undefined;
}

/** An order may have come while the host was read: then the action is for a world that is no more. */
const sameOrder =
  (record: InstanceRecord) =>
  (current: InstanceRecord | undefined): current is InstanceRecord =>
    current?.generation === record.generation && current.intent === record.intent;

async function make(shop: Workshop, { memory, record, guest, update, interrupt }: Scene): Promise<void> {
  const { clock, bootId } = shop;
  const same = sameOrder(record);
  const made = await makeGuest(shop, record, guest, AbortSignal.any([interrupt, shop.lifetime]));
  memory.notEnforced = made.notEnforced;
  memory.limitsFailure = undefined;
  const { imageDigest } = made;
  const written = await update((now) =>
    same(now) ? started(now, { bootId, atMs: clock.nowMs(), imageDigest }) : undefined,
  );
  if (!written) return;
  shop.imagesInUse.free(record.id);
  await startGuest(shop, record);
}

/**
 * A refusal ends the attempt, and a new guest goes on with the volumes as they are; else it is tried again.
 */
async function rollBack(shop: Workshop, { record, guest, update, interrupt }: Scene): Promise<void> {
  const { rollback } = record;
  if (rollback === undefined) return;
  let message = '';
  try {
    await setBack(shop, record, guest, rollback, AbortSignal.any([interrupt, shop.lifetime]));
  } catch (error) {
    if (shop.lifetime.aborted || !isKind(error, 'not-found', 'failed-precondition')) throw error;
    message = wordsOf(error);
  }
  await update((now) => (now?.rollback === rollback ? rolledBack(now, rollback, message) : undefined));
}

async function adjust(shop: Workshop, { memory, record, update }: Scene): Promise<number | undefined> {
  const same = sameOrder(record);
  try {
    memory.notEnforced = await setLimits(shop, record);
    await update((now) => (same(now) ? { ...now, limitsPending: false } : undefined));
    memory.limitsFailure = undefined;
    return undefined;
  } catch (error) {
    // Not the failure of the instance: its end must be seen whether it has its limits or not.
    if (shop.lifetime.aborted) throw error;
    memory.limitsFailure = failureOf(shop, record.id, memory.limitsFailure, error);
    return memory.limitsFailure.dueMs - shop.clock.monotonicMs();
  }
}

async function noteExit(shop: Workshop, { memory, record, guest, update }: Scene): Promise<void> {
  const { clock, bootId, random, log } = shop;
  const same = sameOrder(record);
  await update((current) => {
    if (!same(current)) return undefined;
    const now = { bootId, atMs: clock.nowMs(), fraction: random.fraction() };
    const { record: next, decision } = exited(current, guest, now);
    memory.dueMs = clock.monotonicMs() + decision.delayMs;
    log.info({ event: 'instance.exited', instanceId: next.id, exit: next.exit, ...decision });
    return next;
  });
}

/** For people, and for the next attempt. */
export function failureOf(
  { clock, random, log }: Workshop,
  id: InstanceId,
  before: Failure | undefined,
  error: unknown,
): Failure {
  const err = asDroverError(error);
  const attempts = before === undefined ? 0 : before.attempts + 1;
  const delayMs = backoffMs(attempts, random.fraction());
  log.warn({ event: 'instance.failed', instanceId: id, err, delayMs });
  return {
    message: wordsOf(err),
    attempts,
    nextAtMs: clock.nowMs() + delayMs,
    dueMs: clock.monotonicMs() + delayMs,
  };
}
