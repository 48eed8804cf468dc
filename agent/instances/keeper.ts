import type { InstanceId, InstanceState } from '#shared/model.ts';
import type { GuestState } from '../drivers/driver.ts';
import { plainAddresses } from './connect.ts';
import { look } from './guest-work.ts';
import { failureOf, type Memory, perform, type UpdateRecord } from './perform.ts';
import { isLive, present } from './present.ts';
import type { InstanceRecord } from './record.ts';
import { settle } from './settle.ts';
import { longestDelayMs, nextAction } from './supervise.ts';
import { driverOf, type Workshop } from './tools.ts';

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
  /** The driver's name, for an instance without a record. */
  readonly runtime: string;
  /** Where its root was found, for an instance without a record. Empty: nowhere. */
  readonly rootPool: string;
  /** True once nothing is left of it. */
  readonly gone: boolean;
  state(): InstanceState;
  /** Reads the host now. */
  refresh(): Promise<GuestState | 'absent'>;
  /** Reads the host, and tells whoever watches. */
  show(): Promise<InstanceState>;
  /** One change of the record at a time, durable when it resolves; undefined leaves it as it is. */
  update: UpdateRecord;
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
  readonly rootPool: string;
  /** Called whenever the state may have changed. */
  readonly onChange: (keeper: Keeper) => void;
}

export function createKeeper(shop: Workshop, options: KeeperOptions): Keeper {
  const { id, onChange } = options;
  const { clock } = shop;
  const memory = newMemory(shop, options);
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

  async function write(change: Parameters<UpdateRecord>[0]): Promise<boolean> {
    const next = change(memory.record);
    if (next === undefined || memory.gone) return false;
    await shop.act('record.write', () => shop.records.write(next));
    memory.record = next;
    memory.damage = '';
    changed();
    return true;
  }

  function wake(delayMs = 0): void {
    if (memory.gone || shop.lifetime.aborted) return;
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
    for (let passes = 0; again && !memory.gone && !shop.lifetime.aborted; passes += 1) {
      again = false;
      if (passes === mostPasses) return wake(lookAgainMs);
      const { signal } = interruption;
      try {
        const goOn = await pass(shop, keeper, memory, signal, wake);
        again ||= goOn;
        if (goOn) memory.failure = undefined;
      } catch (error) {
        if (shop.lifetime.aborted) return;
        if (signal.aborted) again = true;
        else {
          memory.failure = failureOf(shop, id, memory.failure, error);
          wake(memory.failure.dueMs - clock.monotonicMs());
        }
      }
      changed();
    }
  }

  async function refresh(): Promise<GuestState | 'absent'> {
    const runtime = memory.record?.spec.runtime ?? options.runtime;
    try {
      memory.guest = await look(shop, driverOf(shop, runtime), id);
      await readAddresses(shop, memory);
      return memory.guest;
    } catch (error) {
      memory.guest = undefined; // Unknown, which is neither as it was nor absent.
      throw error;
    }
  }

  const keeper: Keeper = {
    id,
    get record() {
      return memory.record;
    },
    runtime: options.runtime,
    rootPool: options.rootPool,
    get gone() {
      return memory.gone;
    },
    state: () => stateOf(id, memory),
    refresh,
    async show() {
      await refresh();
      changed();
      return stateOf(id, memory);
    },
    update(change) {
      const mine = writes.then(() => write(change));
      writes = mine.catch(() => undefined); // The one who asked hears of it; those behind must not.
      return mine;
    },
    interrupt() {
      memory.failure = undefined;
      memory.limitsFailure = undefined;
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

const newMemory = ({ clock }: Workshop, { record, damage }: KeeperOptions): Memory => ({
  record,
  guest: undefined,
  failure: undefined,
  limitsFailure: undefined,
  notEnforced: [],
  addresses: { pid: 0, list: [] },
  damage,
  gone: false,
  dueMs: clock.monotonicMs() + recoveredDelayMs(record, clock.nowMs()),
});

/** One look and one action. True: look again at once. */
async function pass(
  shop: Workshop,
  keeper: Keeper,
  memory: Memory,
  interrupt: AbortSignal,
  wake: (delayMs: number) => void,
): Promise<boolean> {
  const guest = await keeper.refresh();
  const { record } = memory;
  if (record === undefined) return false;
  const nowMs = shop.clock.monotonicMs();
  const waitMs = waitingMs(record, memory, nowMs);
  const action = nextAction({
    intent: record.intent,
    run: record.run,
    final: record.final,
    guest: guest === 'absent' ? 'absent' : guest.phase === 'paused' ? 'running' : guest.phase,
    rollback: record.rollback !== undefined,
    limitsDue: record.limitsPending && (memory.limitsFailure?.dueMs ?? 0) <= nowMs,
    waiting: waitMs > 0,
  });
  if (action === 'rest') return rest(memory);
  if (action === 'wait') wake(waitMs);
  else if (action === 'look-again') wake(lookAgainMs);
  // Its turn wakes it.
  else if (action === 'make' && shop.waitingTurn.has(keeper.id)) return false;
  else {
    const delayMs = await perform(action, shop, { memory, record, guest, interrupt, update: keeper.update });
    if (delayMs === undefined) return true;
    wake(delayMs);
  }
  return false;
}

function rest(memory: Memory): false {
  memory.failure = undefined;
  return false;
}

/** Once for each guest that lives: they were decided before its start. */
async function readAddresses({ networks, log }: Workshop, memory: Memory): Promise<void> {
  const { guest, record, addresses } = memory;
  if (record?.networked !== true || guest === undefined || guest === 'absent' || !isLive(guest)) return;
  if (addresses.pid === guest.pid) return;
  try {
    const list = plainAddresses(await networks.addressesOf(record.id));
    memory.addresses = { pid: guest.pid, list };
  } catch (error) {
    // They are for people; whether the guest lives is known without them.
    log.warn({ event: 'addresses.unknown', instanceId: record.id, err: error });
  }
}

function waitingMs(record: InstanceRecord, { failure, dueMs }: Memory, nowMs: number): number {
  const { intent, run, final, rollback } = record;
  const isRestart = intent === 'run' && run === 'ended' && !final && rollback === undefined;
  const restartMs = isRestart ? Math.max(0, dueMs - nowMs) : 0;
  return failure === undefined ? restartMs : Math.max(restartMs, failure.dueMs - nowMs, 0);
}

/** The wall clock may have jumped while nobody looked: never longer than the longest back-off. */
function recoveredDelayMs(record: InstanceRecord | undefined, nowMs: number): number {
  if (record === undefined || record.nextStartAtMs === 0) return 0;
  return Math.min(Math.max(record.nextStartAtMs - nowMs, 0), longestDelayMs);
}

const stateOf = (id: InstanceId, memory: Memory): InstanceState =>
  present({
    ...memory,
    id,
    limitsFailure: memory.limitsFailure?.message ?? '',
    addresses: memory.addresses.list,
  });
