import { isDeepStrictEqual } from 'node:util';
import type { ClusterGuest, InstanceId, InstanceState, NodeName } from '#shared/model.ts';
import { guestsOfCluster } from '../../../store/cluster-guests.ts';
import { isBeingAdopted, patchGuest } from '../../../store/put-cluster-guest.ts';
import { type ClusterTools, nodeNameOf } from '../cluster-memory.ts';
import {
  type Furnishing,
  freshRun,
  furnishingBefore,
  type Run,
  type Sight,
  stateOf,
  unseen,
} from './guest-state.ts';
import { haBondsOf } from '../ha/ha-placement.ts';
import { tagOf } from '../identity/marks.ts';
import { findOwn, type GuestIndex, type GuestRow } from '../observe/listings.ts';

/** The list of all resources is this old at most: until then it does not overrule what we saw ourselves. */
export const listLagMs = 15_000;
/** The time since the start is told in whole seconds, and is old when it comes. */
const startJitterMs = 15_000;

/** One guest of ours as far as it is in memory. */
export interface OwnGuest {
  readonly id: InstanceId;
  sight: Sight;
  run: Run;
  furnishing: Furnishing;
  /** Of the order that was given last; undefined: the spec's. */
  graceMs: number | undefined;
  /** Failures in a row. */
  failures: number;
  /** While it is being made, or waits to be moved: aborted when it is not wanted any more. */
  making: AbortController | undefined;
  /** While it is asked to stop: aborted when it is to be ended sooner than that waits. */
  asking: { readonly enough: AbortController; readonly untilMs: number } | undefined;
  /** While we have it moved: where to. That is waited for, whatever is ordered meanwhile. */
  movingTo: NodeName | undefined;
  /** Monotonic: until then the list may be older than our sight. */
  ownSightUntilMs: number;
  told: { readonly node: NodeName; readonly state: InstanceState | 'absent' } | undefined;
}

export interface OwnGuests {
  /** As the store has it; undefined: none, or another cluster's. */
  record(id: InstanceId): ClusterGuest | undefined;
  /** All that are not gone. */
  records(): ClusterGuest[];
  of(id: InstanceId): OwnGuest;
  forget(id: InstanceId): void;
  /** What we saw ourselves, and when. */
  see(id: InstanceId, sight: Partial<Sight>): void;
  /** What the list says. Gives those that it does not have, or has without their tag: to be looked at. */
  take(
    index: GuestIndex,
  ): readonly { readonly record: ClusterGuest; readonly doubtful: GuestRow | undefined }[];
  state(id: InstanceId): InstanceState | undefined;
  /** Where it is, or is to be, as nodes are called in the fleet. */
  nodeOf(record: ClusterGuest): NodeName;
  /** Tells what is new of it. */
  tell(id: InstanceId): void;
  /** Tells all anew, and gives what is on each node. */
  tellAll(): Map<NodeName, Set<InstanceId>>;
}

/** Copies of ours that may bear the tag of what they were made of still, by number. */
export const youngCopies = (records: readonly ClusterGuest[]): ReadonlyMap<number, InstanceId> =>
  new Map(
    records
      .filter(({ source, appliedGeneration }) => source !== undefined && appliedGeneration === undefined)
      .map(({ vmid, instanceId }) => [vmid, instanceId]),
  );

/** A young copy is nobody else's, whatever tag it bears. */
const withoutOthers = (
  { byTag, byVmid }: GuestIndex,
  young: ReadonlyMap<number, InstanceId>,
  { instanceId }: ClusterGuest,
): GuestIndex => {
  const tag = tagOf(instanceId);
  const rows = (byTag.get(tag) ?? []).filter(({ vmid }) => (young.get(vmid) ?? instanceId) === instanceId);
  return { byTag: new Map([[tag, rows]]), byVmid };
};

export function createOwnGuests(tools: ClusterTools): OwnGuests {
  const { store, clock, memory, name: cluster, put } = tools;
  const guests = new Map<InstanceId, OwnGuest>();

  const record = (id: InstanceId): ClusterGuest | undefined => {
    const found = store.snapshot().get('cluster-guest', id);
    return found?.cluster === cluster ? found : undefined;
  };
  const records = (): ClusterGuest[] =>
    guestsOfCluster(store.snapshot(), cluster).filter(({ intent }) => intent !== 'removed');

  function of(id: InstanceId): OwnGuest {
    const known = guests.get(id);
    if (known !== undefined) return known;
    const observed = store.snapshot().get('instance', id)?.observed;
    const before = typeof observed === 'object' ? observed : undefined;
    const fresh: OwnGuest = {
      id,
      sight: unseen,
      run: { ...freshRun, restarts: before?.restarts ?? 0, exit: before?.exit },
      furnishing: furnishingBefore(observed),
      graceMs: undefined,
      failures: 0,
      making: undefined,
      asking: undefined,
      movingTo: undefined,
      ownSightUntilMs: 0,
      told: undefined,
    };
    guests.set(id, fresh);
    return fresh;
  }

  const wallMs = (atMs: number): number => clock.nowMs() + (atMs - clock.monotonicMs());

  function nodeOf({ instanceId, node }: ClusterGuest): NodeName {
    const { sight } = of(instanceId);
    return sight.node === '' ? node : nodeNameOf(tools, sight.node);
  }

  function state(id: InstanceId): InstanceState | undefined {
    const found = record(id);
    if (found === undefined) return undefined;
    const { sight, run, furnishing, movingTo } = of(id);
    const displayName =
      found.spec?.displayName ?? store.snapshot().get('instance', id)?.spec.displayName ?? '';
    const bonds = haBondsOf(tools, found, sight);
    return stateOf(found, sight, run, { furnishing, displayName, bonds, movingTo, wallMs });
  }

  /** What to tell of it; undefined: nothing is known yet, or it is not quite ours. */
  function telling(found: ClusterGuest): OwnGuest['told'] {
    if (isBeingAdopted(found)) return undefined;
    const { sight } = of(found.instanceId);
    const node = nodeOf(found);
    if (sight.presence === 'absent' && found.made === true) return { node, state: 'absent' };
    const now = state(found.instanceId);
    return now === undefined ? undefined : { node, state: now };
  }

  function tell(id: InstanceId): void {
    const found = record(id);
    const guest = guests.get(id);
    if (found === undefined || found.intent === 'removed' || guest === undefined) return;
    const now = telling(found);
    if (now === undefined || isDeepStrictEqual(now, guest.told)) return;
    guest.told = now;
    if (memory.nodes.get(guest.sight.node)?.told === 'disconnected') return;
    if (now.state === 'absent') put({ kind: 'absent', node: now.node, instanceId: id });
    else put({ kind: 'instance', node: now.node, state: now.state });
  }

  function takeRow(found: ClusterGuest, row: GuestRow): void {
    const guest = of(found.instanceId);
    if (clock.monotonicMs() < guest.ownSightUntilMs) return;
    const isSilent = memory.nodes.get(row.node)?.online === false;
    // A row without a status is of a node that says nothing, or of a guest too new to be listed.
    const isKnown = row.status !== 'unknown' && !isSilent;
    const status = isKnown ? row.status : guest.sight.status;
    guest.sight = {
      presence: 'present',
      node: row.node,
      vmid: row.vmid,
      status,
      trouble: isKnown ? row.trouble : guest.sight.trouble,
      startedAtMs: startOf(guest.sight.startedAtMs, status, isKnown ? row.uptimeS : undefined),
      haState: row.haState,
      lock: row.lock,
    };
    follow(found, row);
  }

  /** It moved, or was restored under another number: found again after a start of ours. */
  function follow(found: ClusterGuest, row: GuestRow): void {
    const node = nodeOf(found);
    if (found.made !== true || (found.node === node && found.vmid === row.vmid)) return;
    writeDown(found, { node, vmid: row.vmid });
  }

  /** Kept over a start of ours: a copy whose original goes meanwhile would pass for the restored original. */
  function noteCopies(found: ClusterGuest, rows: readonly GuestRow[]): void {
    const copies = rows.map(({ vmid }) => vmid).toSorted((one, other) => one - other);
    if (found.made !== true || isDeepStrictEqual(found.copies ?? [], copies)) return;
    writeDown(found, { copies });
  }

  function writeDown({ instanceId }: ClusterGuest, patch: Parameters<typeof patchGuest>[2]): void {
    void store
      .transact((tx) => patchGuest(tx, instanceId, patch, clock.nowMs()))
      .catch((err: unknown) => tools.log.warn({ event: 'guest.unrecorded', cluster, err }));
  }

  function startOf(beforeMs: number, status: Sight['status'], uptimeS: number | undefined): number {
    if (status !== 'running' && status !== 'paused') return 0;
    if (uptimeS === undefined) return beforeMs;
    const startMs = Math.round(clock.nowMs() - uptimeS * 1000);
    return Math.abs(startMs - beforeMs) < startJitterMs ? beforeMs : startMs;
  }

  /** What HA's rules say of others depends on where it is. */
  function correctRow({ vmid, node }: Sight): void {
    const row = memory.guests.find((each) => each.vmid === vmid);
    if (row === undefined || node === '' || row.node === node) return;
    memory.guests = memory.guests.map((each) => (each === row ? { ...row, node } : each));
  }

  return {
    record,
    records,
    of,
    forget: (id) => void guests.delete(id),
    see(id, { startedAtMs, ...sight }) {
      const guest = of(id);
      const next = { ...guest.sight, ...sight };
      const uptimeS =
        startedAtMs === undefined ? undefined : Math.max(0, (clock.nowMs() - startedAtMs) / 1000);
      guest.sight = { ...next, startedAtMs: startOf(guest.sight.startedAtMs, next.status, uptimeS) };
      correctRow(guest.sight);
      guest.ownSightUntilMs = clock.monotonicMs() + listLagMs;
    },
    take(index) {
      const copies = new Set(memory.copies.map(({ vmid }) => vmid));
      const young = youngCopies(records());
      const missing: { record: ClusterGuest; doubtful: GuestRow | undefined }[] = [];
      for (const found of records()) {
        const known = new Set([...copies, ...(found.copies ?? [])]);
        const others = withoutOthers(index, young, found);
        const { row, doubtful, copies: now } = findOwn(tagOf(found.instanceId), found.vmid, others, known);
        // What is there under its number may be it: then only is the other a copy.
        if (doubtful === undefined) noteCopies(found, now);
        if (row !== undefined) takeRow(found, row);
        else if (found.made === true && clock.monotonicMs() >= of(found.instanceId).ownSightUntilMs)
          missing.push({ record: found, doubtful });
      }
      return missing;
    },
    state,
    nodeOf,
    tell,
    tellAll() {
      const present = new Map<NodeName, Set<InstanceId>>();
      for (const found of records()) {
        const guest = of(found.instanceId);
        const now = telling(found);
        guest.told = now;
        if (now === undefined || now.state === 'absent') continue;
        const ids = present.get(now.node) ?? new Set();
        present.set(now.node, ids.add(found.instanceId));
        put({ kind: 'instance', node: now.node, state: now.state });
      }
      return present;
    },
  };
}
