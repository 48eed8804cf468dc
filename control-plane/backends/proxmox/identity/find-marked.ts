import { DroverError, isKind } from '#shared/errors.ts';
import type { ClusterGuest } from '#shared/model.ts';
import { patchGuest } from '../../../store/put-cluster-guest.ts';
import { type ClusterTools, isApart, nodeNameOf } from '../cluster-memory.ts';
import type { Fence } from './fence.ts';
import { textOf } from '../guests/properties.ts';
import { readConfig } from '../observe/read-guests.ts';
import { readMark, tagOf } from './marks.ts';
import type { GuestRow } from '../observe/listings.ts';
import type { OwnGuests } from '../life/own-guests.ts';

/** Guests with one mark that are looked at: there is one, and what people copied of it. */
const mostLooks = 10;

/** Looks for guests by their marks, wherever their records say that they are. */
export interface FindMarked {
  /**
   * The guest of a record under another number than it says, as after the restore of a store, or of the
   * guest: from then on the record has that one. Usually asks nothing. Undefined: there is none;
   * failed-precondition: there are several, and none of them is the first.
   */
  elsewhere(record: ClusterGuest, signal: AbortSignal): Promise<ClusterGuest | undefined>;
  /** As elsewhere, but only the first, and never a copy or a restored one. */
  first(record: ClusterGuest, signal: AbortSignal): Promise<ClusterGuest | undefined>;
}

export function createFindMarked(tools: ClusterTools, own: OwnGuests, fence: Fence): FindMarked {
  const { memory, store, clock, fleetId, log, name: cluster } = tools;

  /** 'first': it has the number it was made under; 'other': a copy, or a restored one. */
  async function whatIs(
    { instanceId }: ClusterGuest,
    row: GuestRow,
    signal: AbortSignal,
  ): Promise<'first' | 'other' | 'not ours'> {
    try {
      const config = await readConfig(tools, row, signal);
      const mark = readMark(textOf(config['description']));
      if (mark?.instanceId !== instanceId || mark.fleetId !== fleetId) return 'not ours';
      fence.check(mark, row.vmid);
      return mark.vmid === row.vmid ? 'first' : 'other';
    } catch (error) {
      if (isKind(error, 'not-found') && !isApart(error, row.node, memory)) return 'not ours';
      throw error;
    }
  }

  async function candidates(
    record: ClusterGuest,
    signal: AbortSignal,
  ): Promise<{ readonly first: GuestRow | undefined; readonly others: readonly GuestRow[] }> {
    const { instanceId, kind, vmid, copies = [] } = record;
    const tag = tagOf(instanceId);
    const known = new Set([vmid, ...copies, ...memory.copies.map((copy) => copy.vmid)]);
    const rows = memory.guests.filter(
      (row) => row.kind === kind && !row.template && !known.has(row.vmid) && row.tags.includes(tag),
    );
    const others: GuestRow[] = [];
    for (const row of rows.slice(0, mostLooks)) {
      const what = await whatIs(record, row, signal);
      if (what === 'first') return { first: row, others };
      if (what === 'other') others.push(row);
    }
    return { first: undefined, others };
  }

  async function choose(record: ClusterGuest, signal: AbortSignal): Promise<GuestRow | undefined> {
    const { first, others } = await candidates(record, signal);
    if (first !== undefined || others.length < 2) return first ?? others[0];
    const numbers = others.map((row) => row.vmid).join(', ');
    throw new DroverError('failed-precondition', `guests ${numbers} of ${cluster} all bear its mark`, {
      subject: { instance: record.instanceId, cluster },
      reason: 'copies',
      nextStep: 'take the tag and the last line of the description away from all but one',
    });
  }

  async function follow(
    { instanceId, vmid }: ClusterGuest,
    row: GuestRow | undefined,
  ): Promise<ClusterGuest | undefined> {
    if (row === undefined) return undefined;
    const found = { vmid: row.vmid, node: nodeNameOf(tools, row.node), made: true };
    log.warn({ event: 'guest.found', cluster, instance: instanceId, from: vmid, to: row.vmid });
    const { result } = await store.transact((tx) => patchGuest(tx, instanceId, found, clock.nowMs()));
    own.see(instanceId, { presence: 'present', node: row.node, vmid: row.vmid });
    return result;
  }

  return {
    elsewhere: async (record, signal) => follow(record, await choose(record, signal)),
    first: async (record, signal) => follow(record, (await candidates(record, signal)).first),
  };
}
