import { isDeepStrictEqual } from 'node:util';
import type { ClusterGuest, InstanceId } from '#shared/model.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { Look } from './look.ts';
import type { OwnGuests } from './own-guests.ts';
import { ask } from '../tasks/perform.ts';
import type { Settle } from './settle.ts';

/** Systems boot, and ask DHCP, after their guest runs. */
const firstWaitMs = 5000;
/** Addresses change seldom; many a machine has no agent that tells any. */
const longestWaitMs = 300_000;
const mostAtOnce = 10;
/** Who started so lately has no address yet, as a rule. */
const freshForMs = 600_000;
/** Of all others one: with it, and what it may take to know a guest, a poll costs three requests or less. */
const othersEveryMs = 20_000;

interface Turn {
  /** Of its guest: another start is another turn. */
  readonly startedAtMs: number;
  nextAtMs: number;
  waitMs: number;
  hadAny: boolean;
}

/** Keeps up with the addresses that guests got from elsewhere, while they run. */
export interface RefreshAddresses {
  /**
   * Asks those whose time has come: a few that started lately, and now and then one of the others, however
   * many these are. Nobody waits for it: a silent agent takes seconds.
   */
  refresh(): void;
}

export function createRefreshAddresses(
  tools: Pick<ClusterTools, 'api' | 'tasks' | 'clock' | 'random' | 'relay' | 'kinds' | 'signal'>,
  { own, look, settle }: { readonly own: OwnGuests; readonly look: Look; readonly settle: Settle },
): RefreshAddresses {
  const { clock, kinds, signal } = tools;
  const turns = new Map<InstanceId, Turn>();
  let isBusy = false;
  let othersAtMs = Number.NEGATIVE_INFINITY;

  function turnOf(id: InstanceId): Turn {
    const { furnishing, sight } = own.of(id);
    const known = turns.get(id);
    // Started anew, by whomever: what it had counts no more.
    const isAsBefore =
      known?.startedAtMs === sight.startedAtMs && !(known.hadAny && furnishing.addresses.length === 0);
    if (known !== undefined && isAsBefore) return known;
    const fresh = { startedAtMs: sight.startedAtMs, nextAtMs: 0, waitMs: firstWaitMs, hadAny: false };
    turns.set(id, fresh);
    return fresh;
  }

  /** Of those that were there when we started, nobody knows yet whether there is anything to ask. */
  const isFresh = ({ instanceId }: ClusterGuest): boolean => {
    const { startedAtMs, hadAny } = turnOf(instanceId);
    const { areFixed } = own.of(instanceId).furnishing;
    return areFixed === false && !hadAny && clock.nowMs() - startedAtMs < freshForMs;
  };

  function isDue({ instanceId, appliedGeneration }: ClusterGuest, nowMs: number): boolean {
    const { sight, furnishing } = own.of(instanceId);
    if (appliedGeneration === undefined || sight.status !== 'running') return false;
    return furnishing.areFixed !== true && turnOf(instanceId).nextAtMs <= nowMs;
  }

  async function refreshOne(record: ClusterGuest): Promise<void> {
    const guest = own.of(record.instanceId);
    // After a start of ours nobody knows yet whether they were set by hand.
    if (guest.furnishing.areFixed === undefined)
      await settle.furnish(record, await look.config(record, signal), signal);
    else {
      const { node, vmid } = guest.sight;
      const kind = kinds[record.kind];
      const addresses = kind.seenAddresses(await ask(tools, kind.calls({ node, vmid }).addresses(), signal));
      if (addresses.length > 0 && !isDeepStrictEqual(addresses, guest.furnishing.addresses))
        guest.furnishing = { ...guest.furnishing, addresses };
    }
  }

  async function take(record: ClusterGuest): Promise<void> {
    const { instanceId: id } = record;
    const turn = turnOf(id);
    try {
      await refreshOne(record);
    } catch {
      // It may have no agent, or is on its way to another node: it is asked again, ever more seldom.
    }
    // Gone meanwhile: nothing is to be kept of it.
    if ((own.record(id)?.intent ?? 'removed') === 'removed') return;
    const { furnishing } = own.of(id);
    turn.hadAny = furnishing.addresses.length > 0;
    const waitMs = turn.hadAny ? longestWaitMs : turn.waitMs;
    turn.waitMs = Math.min(2 * turn.waitMs, longestWaitMs);
    turn.nextAtMs = clock.monotonicMs() + waitMs;
    if (!signal.aborted) own.tell(id);
  }

  async function round(): Promise<void> {
    const nowMs = clock.monotonicMs();
    const records = own.records();
    const there = new Set(records.map(({ instanceId }) => instanceId));
    for (const id of turns.keys()) if (!there.has(id)) turns.delete(id);
    const due = records
      .filter((record) => isDue(record, nowMs))
      .toSorted((a, b) => turnOf(a.instanceId).nextAtMs - turnOf(b.instanceId).nextAtMs);
    const next = due.filter(isFresh).slice(0, mostAtOnce);
    const other = nowMs - othersAtMs < othersEveryMs ? undefined : due.find((record) => !isFresh(record));
    if (other !== undefined) othersAtMs = nowMs;
    await Promise.all([...next, ...(other === undefined ? [] : [other])].map(take));
  }

  return {
    refresh() {
      if (isBusy || signal.aborted) return;
      isBusy = true;
      void round().finally(() => (isBusy = false));
    },
  };
}
