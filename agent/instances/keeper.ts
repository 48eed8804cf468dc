import { asDroverError } from '#shared/errors.ts';
import type { InstanceId, InstanceState } from '#shared/model.ts';
import type { GuestState } from '../drivers/driver.ts';
import { look, makeGuest, removeAll, startGuest, stopGuest } from './guest-work.ts';
import { present, type Sight } from './present.ts';
import type { InstanceRecord } from './record.ts';
import { settle } from './settle.ts';
import { type Action, backoffMs, longestDelayMs, nextAction } from './supervise.ts';
import { driverOf, type Workshop } from './tools.ts';
import { adopted, exited, started, stopped } from './transitions.ts';

const lookAgainMs = 5000;
/** More than any honest way from one state to another takes. */
const mostPasses = 20;

/**
 * Keeps one instance as it was ordered: one piece of work at a time, woken by orders, by the host and by
 * time. It reads the host, asks nextAction, does that, and looks again.
 */
export interface Keeper {
  readonly id: InstanceId;
  readonly record: InstanceRecord | undefined;
  /** True once nothing is left of it. */
  readonly gone: boolean;
  state(): InstanceState;
  /** Reads the host now. */
  refresh(): Promise<GuestState | 'absent'>;
  /** One change of the record at a time, durable when it resolves; undefined leaves it as it is. */
  update(change: (record: InstanceRecord | undefined) => InstanceRecord | undefined): Promise<boolean>;
  /** Ends what another order has made pointless, forgets back-offs, and wakes. */
  interrupt(): void;
  wake(): void;
  /** Resolves when the condition holds; looked at after every piece of work. */
  settled(condition: () => boolean, signal: AbortSignal): Promise<void>;
  /** Resolves when no work is under way; only after the lifetime's end. */
  idle(): Promise<void>;
}

export interface KeeperOptions {
  readonly id: InstanceId;
  readonly record: InstanceRecord | undefined;
  readonly damage: string;
  /** The driver's name, for an instance without a record. */
  readonly runtime: string;
  /** Called whenever the state may have changed. */
  readonly onChange: (keeper: Keeper) => void;
}

interface Mutable {
  record: InstanceRecord | undefined;
  guest: GuestState | 'absent' | undefined;
  failure: { message: string; nextAtMs: number; dueMs: number; attempts: number } | undefined;
  notEnforced: readonly string[];
  damage: string;
  gone: boolean;
  /** Monotonic time before which a restart waits. */
  dueMs: number;
}

export function createKeeper(shop: Workshop, options: KeeperOptions): Keeper {
  const { id, onChange } = options;
  const { clock } = shop;
  const own: Mutable = {
    record: options.record,
    guest: undefined,
    failure: undefined,
    notEnforced: [],
    damage: options.damage,
    gone: false,
    dueMs: clock.monotonicMs() + recoveredDelayMs(options.record, clock.nowMs()),
  };
  const waiters = new Set<() => void>();
  let interruption = new AbortController();
  let working: Promise<void> | undefined;
  let again = false;
  let cancelTimer = (): void => {};
  let writes: Promise<unknown> = Promise.resolve();

  const changed = (): void => {
    onChange(keeper);
    for (const waiter of waiters) waiter();
  };

  async function write(change: Parameters<Keeper['update']>[0]): Promise<boolean> {
    const next = change(own.record);
    if (next === undefined || own.gone) return false;
    await shop.act('record.write', () => shop.records.write(next));
    own.record = next;
    own.damage = '';
    changed();
    return true;
  }

  function wake(delayMs = 0): void {
    if (own.gone || shop.lifetime.aborted) return;
    if (delayMs > 0) {
      cancelTimer();
      cancelTimer = clock.after(delayMs, () => wake());
      return;
    }
    again = true;
    working ??= work().finally(() => {
      working = undefined;
      if (again) wake();
    });
  }

  async function work(): Promise<void> {
    for (let passes = 0; again && !own.gone && !shop.lifetime.aborted; passes += 1) {
      again = false;
      if (passes === mostPasses) return wake(lookAgainMs);
      const { signal } = interruption;
      try {
        const goOn = await pass(shop, keeper, own, signal, wake);
        again ||= goOn;
        if (goOn) own.failure = undefined;
      } catch (error) {
        if (shop.lifetime.aborted) return;
        if (signal.aborted) again = true;
        else wake(fail(shop, id, own, error));
      }
      changed();
    }
  }

  const keeper: Keeper = {
    id,
    get record() {
      return own.record;
    },
    get gone() {
      return own.gone;
    },
    state: () => present(sightOf(id, own)),
    async refresh() {
      const runtime = own.record?.spec.runtime ?? options.runtime;
      try {
        own.guest = await look(shop, driverOf(shop, runtime), id);
        return own.guest;
      } catch (error) {
        own.guest = undefined; // Unknown, which is neither as it was nor absent.
        throw error;
      }
    },
    update(change) {
      const mine = writes.then(() => write(change));
      writes = mine.catch(() => undefined); // The one who asked hears of it; those behind must not.
      return mine;
    },
    interrupt() {
      own.failure = undefined;
      interruption.abort(new DOMException('another order came', 'AbortError'));
      interruption = new AbortController();
      wake();
    },
    wake: () => wake(),
    settled: (condition, signal) => settle(waiters, condition, AbortSignal.any([signal, shop.lifetime])),
    idle: async () => {
      cancelTimer();
      await working;
    },
  };
  return keeper;
}

/** One look and one action. True: look again at once. */
async function pass(
  shop: Workshop,
  keeper: Keeper,
  own: Mutable,
  interrupt: AbortSignal,
  wake: (delayMs: number) => void,
): Promise<boolean> {
  const guest = await keeper.refresh();
  const { record } = own;
  if (record === undefined) return false;
  const waitMs = waitingMs(record, own, shop.clock.monotonicMs());
  const action = nextAction({
    intent: record.intent,
    run: record.run,
    final: record.final,
    guest: guest === 'absent' ? 'absent' : guest.phase === 'paused' ? 'running' : guest.phase,
    waiting: waitMs > 0,
  });
  if (action === 'rest') return rest(own);
  if (action === 'wait') wake(waitMs);
  else if (action === 'look-again') wake(lookAgainMs);
  else return perform(action, shop, { keeper, own, record, guest, interrupt });
  return false;
}

interface Scene {
  readonly keeper: Keeper;
  readonly own: Mutable;
  readonly record: InstanceRecord;
  readonly guest: GuestState | 'absent';
  readonly interrupt: AbortSignal;
}

async function perform(
  action: Exclude<Action, 'rest' | 'wait' | 'look-again'>,
  shop: Workshop,
  { keeper, own, record, guest, interrupt }: Scene,
): Promise<boolean> {
  const { clock, bootId } = shop;
  // An order may have come while the host was read: then this action is for a world that is no more.
  const same = (current: InstanceRecord | undefined): current is InstanceRecord =>
    current?.generation === record.generation && current.intent === record.intent;

  if (action === 'make') {
    const { notEnforced } = await makeGuest(shop, record, guest, AbortSignal.any([interrupt, shop.lifetime]));
    own.notEnforced = notEnforced;
    const mark = (current: InstanceRecord | undefined): InstanceRecord | undefined =>
      same(current) ? started(current, bootId, clock.nowMs()) : undefined;
    if (await keeper.update(mark)) await startGuest(shop, record);
  } else if (action === 'start') await startGuest(shop, record);
  else if (action === 'stop') await stopGuest(shop, record);
  else if (action === 'adopt') {
    await keeper.update((now) => (same(now) && guest !== 'absent' ? adopted(now, guest, bootId) : undefined));
  } else if (action === 'note-stop') {
    await keeper.update((now) => (same(now) ? stopped(now, guest, clock.nowMs()) : undefined));
  } else if (action === 'note-exit') await noteExit(shop, keeper, own, guest, same);
  else {
    await removeAll(shop, record, guest);
    own.gone = true;
    shop.log.info({ event: 'instance.removed', instanceId: record.id });
  }
  return true;
}

async function noteExit(
  shop: Workshop,
  keeper: Keeper,
  own: Mutable,
  guest: GuestState | 'absent',
  same: (current: InstanceRecord | undefined) => current is InstanceRecord,
): Promise<void> {
  const { clock, bootId, random, log } = shop;
  await keeper.update((current) => {
    if (!same(current)) return undefined;
    const now = { bootId, atMs: clock.nowMs(), fraction: random.fraction() };
    const { record, decision } = exited(current, guest, now);
    own.dueMs = clock.monotonicMs() + decision.delayMs;
    log.info({ event: 'instance.exited', instanceId: record.id, exit: record.exit, ...decision });
    return record;
  });
}

function rest(own: Mutable): false {
  own.failure = undefined;
  return false;
}

/** Keeps the failure for people and the next attempt; gives the delay. */
function fail(shop: Workshop, id: InstanceId, own: Mutable, error: unknown): number {
  const err = asDroverError(error);
  const attempts = own.failure === undefined ? 0 : own.failure.attempts + 1;
  const delayMs = backoffMs(attempts, shop.random.fraction());
  const message = err.nextStep === '' ? err.message : `${err.message}; ${err.nextStep}`;
  const { clock } = shop;
  own.failure = {
    message,
    attempts,
    nextAtMs: clock.nowMs() + delayMs,
    dueMs: clock.monotonicMs() + delayMs,
  };
  shop.log.warn({ event: 'instance.failed', instanceId: id, err, delayMs });
  return delayMs;
}

function waitingMs(record: InstanceRecord, { failure, dueMs }: Mutable, nowMs: number): number {
  const restartMs =
    record.intent === 'run' && record.run === 'ended' && !record.final ? Math.max(0, dueMs - nowMs) : 0;
  return failure === undefined ? restartMs : Math.max(restartMs, failure.dueMs - nowMs, 0);
}

/** The wall clock may have jumped while nobody looked: never longer than the longest back-off. */
function recoveredDelayMs(record: InstanceRecord | undefined, nowMs: number): number {
  if (record === undefined || record.nextStartAtMs === 0) return 0;
  return Math.min(Math.max(record.nextStartAtMs - nowMs, 0), longestDelayMs);
}

const sightOf = (id: InstanceId, own: Mutable): Sight => ({ ...own, id });
